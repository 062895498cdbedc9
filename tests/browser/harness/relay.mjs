// A TCP relay that counts connections, lets them go silent without ending, as when a client's
// network changes, and holds everything back for a while, as when it is gone.

import net from 'node:net';

/** Starts a relay to a port of 127.0.0.1. */
export async function startRelay(target) {
  const pairs = new Set();
  const counts = { opened: 0, closed: 0 };
  const sockets = new Set();
  let silent = false;
  let held = false;
  const server = net.createServer((client) => {
    const upstream = net.connect(target, '127.0.0.1');
    pairs.add(client);
    counts.opened += 1;
    if (held) for (const socket of [client, upstream]) socket.pause();
    sockets.add(client).add(upstream);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.on('data', (chunk) => { if (!silent) to.write(chunk); });
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        if (!silent) to.destroy();
      });
    }
    client.on('close', () => {
      pairs.delete(client);
      counts.closed += 1;
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    /** Connections of the page, those of its workers included. */
    counts,
    goSilent() { silent = true; },
    /** Nothing passes while it is held; nothing is lost either. */
    hold(wanted) {
      held = wanted;
      for (const socket of sockets) {
        if (held) socket.pause();
        else socket.resume();
      }
    },
    close() {
      server.close();
      for (const client of pairs) client.destroy();
    },
  };
}
