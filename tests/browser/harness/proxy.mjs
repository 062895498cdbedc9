// One Holdfast in front of a simulator.

import fs from 'node:fs';
import { Child, untilListening } from './processes.mjs';
import { freePort } from './ports.mjs';

export class Proxy {
  static async start({ program, logFile, upstream, media, mode, settings }) {
    const port = await freePort();
    const args = ['run', '--listen', `127.0.0.1:${port}`, '--upstream', upstream, '--media', media,
      '--restore-mode', mode, '--log-format', 'json', '--log-level', 'debug', '--admin', 'off'];
    if (media === 'anchor') args.push('--media-listen', '127.0.0.1:0');
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
