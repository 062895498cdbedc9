// The network between browsers and a proxy's media port: it can lose packets, hold them back, or
// be gone altogether, while the signaling sockets know nothing of it.
//
// It binds another address of the loopback network on the same port number, and the proxy is told to
// advertise that address (`--media-advertise`). So it needs no rights and leaves nothing behind.

import dgram from 'node:dgram';

/** Where the proxy listens, and where browsers are told to send. */
export const INNER = '127.0.0.1';
export const OUTER = '127.0.0.2';

/** Packets that may wait at the same time; what comes on top is lost, as in a router. */
const HELD_MAX = 4_096;

const bound = (socket, ...address) => new Promise((resolve, reject) => {
  socket.once('error', reject);
  socket.bind(...address, () => {
    socket.off('error', reject);
    // An address that refuses packets while something restarts ends nothing.
    socket.on('error', () => {});
    socket.setRecvBufferSize(1 << 20);
    resolve(socket);
  });
});

/** Starts the relay to UDP ports of the proxy, under the address `outer`. */
export async function startMediaRelay(ports, outer = OUTER) {
  const sockets = [];
  const counts = { toProxy: 0, toBrowser: 0, lost: 0 };
  let conditions = { gone: false, lossPercent: 0, jitterMs: 0 };
  let held = 0;

  async function open(port, address) {
    const socket = await bound(dgram.createSocket('udp4'), port, address);
    sockets.push(socket);
    return socket;
  }

  function pass(direction, send) {
    const { gone, lossPercent, jitterMs } = conditions;
    if (gone || Math.random() * 100 < lossPercent || held >= HELD_MAX) {
      counts.lost += 1;
      return;
    }
    counts[direction] += 1;
    if (jitterMs === 0) {
      send();
      return;
    }
    held += 1;
    setTimeout(() => {
      held -= 1;
      if (!conditions.closed) send();
    }, Math.random() * jitterMs);
  }

  async function relay(port) {
    const outside = await open(port, outer);
    // The proxy sees each browser's port as one of its own.
    const insides = new Map();
    const insideOf = async (browser) => {
      const inside = await open(0, INNER);
      inside.on('message', (packet) => {
        pass('toBrowser', () => outside.send(packet, browser.port, browser.address));
      });
      return inside;
    };
    outside.on('message', async (packet, browser) => {
      const key = `${browser.address}:${browser.port}`;
      if (!insides.has(key)) insides.set(key, insideOf(browser));
      const inside = await insides.get(key);
      pass('toProxy', () => inside.send(packet, port, INNER));
    });
  }

  for (const port of ports) await relay(port);
  return {
    counts,
    /** Changes what happens to packets from now on: gone, lossPercent, jitterMs (at most). */
    set(changes) { conditions = { ...conditions, ...changes }; },
    close() {
      conditions = { closed: true, gone: true };
      for (const socket of sockets) socket.close();
    },
  };
}
