// Free TCP ports below the range that the system hands out for outgoing connections, so that
// nothing takes a server's port while the server is down.

import net from 'node:net';

const FIRST = 20_000;
const COUNT = 10_000;
const given = new Set();

const isFree = (port) => new Promise((resolve) => {
  const server = net.createServer();
  server.once('error', () => resolve(false));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
});

/** A free port that was not given out before. */
export async function freePort() {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}
