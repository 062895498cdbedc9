// One Holdfast in front of a simulator.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { INNER } from './media_relay.mjs';
import { PORTS } from './one_host.mjs';
import { Child, untilListening } from './processes.mjs';
import { freePort } from './ports.mjs';
import { until } from './wait.mjs';

export class Proxy {
  /** `outer`: the address to send media to, if it is another one than the proxy's; `relayed`: what is
   * sent there passes a relay; `operated`: an operator gives it orders; `token`: what lets others change things;
   * `host`: the one whose configuration it has, ports and servers included. */
  static async start({ program, logFile, upstream, media, mode, settings, outer, relayed, operated, token, host }) {
    const [address, port] = host ? [host.address, PORTS.ws] : ['127.0.0.1', await freePort()];
    const admin = operated ? `127.0.0.1:${await freePort()}` : 'off';
    const place = host ? ['--config', host.file] : ['--listen', `${address}:${port}`, ...upstream.map((one) => `--upstream=${one}`)];
    const args = ['run', ...place, '--media', media, '--restore-mode', mode, '--log-format', 'json', '--log-level', 'debug',
      '--admin', admin];
    if (media === 'anchor') args.push('--media-listen', `${host?.address ?? (outer && !relayed ? outer : INNER)}:0`);
    if (outer) args.push('--media-advertise', outer);
    if (settings) {
      const file = `${logFile}.toml`;
      fs.writeFileSync(file, settings);
      args.push('--config', file);
    }
    // Its admin socket is in a folder of its own, whose name is short: that of a socket has to be.
    const environment = operated ? { XDG_RUNTIME_DIR: fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-')) } : {};
    const own = token ? { ...environment, HOLDFAST_ADMIN_TOKEN: token } : environment;
    const proxy = new Proxy(address, port, () => new Child(program, args, logFile, own));
    Object.assign(proxy, { program, admin, environment });
    await proxy.begin();
    return proxy;
  }

  constructor(address, port, spawn) {
    this.address = address;
    this.port = port;
    this.spawn = spawn;
  }

  /** Starts its process, with the same ports each time. */
  async begin() {
    this.child = this.spawn();
    await untilListening(this.child, this.port, 'the proxy', this.address);
  }

  /** Ends its process as a crash does. */
  async end() {
    await this.child.kill();
  }

  get url() {
    return `ws://${this.address}:${this.port}`;
  }

  /** Its UDP ports for clients, one per worker, as its log tells. */
  async mediaPorts() {
    const addresses = await until('the proxy says where its media ports are', () => {
      const line = this.child.text.split('\n').slice(0, -1).find((text) => text.includes('"media is anchored here"'));
      return line && JSON.parse(line).addresses;
    });
    return addresses.map((address) => Number(address.split(':').at(-1)));
  }

  /** An order of an operator, by the command for it: how that ended, and what it said in JSON. */
  async order(...words) {
    const { code, out, err } = await new Promise((resolve) => {
      execFile(this.program, [...words, '--json', '--admin', this.admin], { env: { ...process.env, ...this.environment } },
        (error, stdout, stderr) => resolve({ code: error?.code ?? 0, out: stdout, err: stderr }));
    });
    return { code, err, json: out ? JSON.parse(out) : null };
  }

  /** Waits until the drain of a node is as wanted. */
  untilDrain(node, wanted) {
    const ask = async () => (await fetch(`http://${this.admin}/v1/nodes/${node}/drain`)).json();
    return until(`the drain of ${node}`, async () => {
      const drain = await ask();
      return wanted(drain) && drain;
    }, { seen: ask });
  }

  /** Asks it to end and waits for that; returns how it ended. */
  async stop() {
    this.child.signal('SIGTERM');
    const timer = setTimeout(() => this.child.signal('SIGKILL'), 10_000);
    const outcome = await this.child.exited;
    clearTimeout(timer);
    return outcome;
  }

  async kill() {
    await this.child.kill();
    const { XDG_RUNTIME_DIR: folder } = this.environment;
    if (folder) fs.rmSync(folder, { recursive: true });
  }
}
