// One Holdfast in front of a simulator.

import fs from 'node:fs';
import { INNER } from './media_relay.mjs';
import { Child, untilListening } from './processes.mjs';
import { freePort } from './ports.mjs';
import { until } from './wait.mjs';

export class Proxy {
  /** `outer`: the address to send media to, if it is another one than the proxy's; `relayed`: what is
   * sent there passes a relay. */
  static async start({ program, logFile, upstream, media, mode, settings, outer, relayed }) {
    const port = await freePort();
    const args = ['run', '--listen', `127.0.0.1:${port}`, '--upstream', upstream, '--media', media,
      '--restore-mode', mode, '--log-format', 'json', '--log-level', 'debug', '--admin', 'off'];
    if (media === 'anchor') args.push('--media-listen', `${outer && !relayed ? outer : INNER}:0`);
    if (outer) args.push('--media-advertise', outer);
    if (settings) {
      const file = `${logFile}.toml`;
      fs.writeFileSync(file, settings);
      args.push('--config', file);
    }
    const proxy = new Proxy(port, new Child(program, args, logFile));
    await untilListening(proxy.child, port, 'the proxy');
    return proxy;
  }

  constructor(port, child) {
    this.port = port;
    this.child = child;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Its UDP ports for clients, one per worker, as its log tells. */
  async mediaPorts() {
    const addresses = await until('the proxy says where its media ports are', () => {
      const line = this.child.text.split('\n').slice(0, -1).find((text) => text.includes('"media is anchored here"'));
      return line && JSON.parse(line).addresses;
    });
    return addresses.map((address) => Number(address.split(':').at(-1)));
  }

  /** Asks it to end and waits for that; returns how it ended. */
  async stop() {
    this.child.signal('SIGTERM');
    const timer = setTimeout(() => this.child.signal('SIGKILL'), 10_000);
    const outcome = await this.child.exited;
    clearTimeout(timer);
    return outcome;
  }

  kill() {
    return this.child.kill();
  }
}
