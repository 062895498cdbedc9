// One host as config/in-place-of-wcs.toml describes it: Holdfast has the ports by which clients know WCS, on an address
// of the loopback network of its own; behind it are a simulated server and its web root.

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePort } from './ports.mjs';
import { Child, untilListening } from './processes.mjs';
import { check } from './wait.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const CONFIGURATION = path.join(HERE, '..', '..', '..', 'config', 'in-place-of-wcs.toml');
const WEB_ROOT = path.join(HERE, 'web_root.mjs');

/** What pages of the vendor take for WCS's ports, unless they are told others. */
export const PORTS = { ws: 8080, wss: 8443, http: 8081, https: 8444, hls: 8082, hlsTls: 8445 };

const ADDRESSES_TRIED_MAX = 50;

const isFree = (address, port) => new Promise((resolve) => {
  const server = net.createServer();
  server.once('error', () => resolve(false));
  server.listen(port, address, () => server.close(() => resolve(true)));
});

/** An address of the loopback network on which all of these ports are free. Linux has all of 127.0.0.0/8. */
async function freeAddress() {
  for (let tried = 0; tried < ADDRESSES_TRIED_MAX; tried += 1) {
    const [b, c, d] = [0, 0, 0].map(() => 1 + Math.floor(Math.random() * 254));
    const address = `127.${b}.${c}.${d}`;
    const free = await Promise.all(Object.values(PORTS).map((port) => isFree(address, port)));
    if (free.every(Boolean)) return address;
  }
  throw new Error(`one of the ports ${Object.values(PORTS)} is taken on all addresses: ss -ltnp says by what`);
}

export class OneHost {
  /** The web root runs afterwards; Holdfast, with `file` for its configuration, does not yet. */
  static async start({ program, directory, simulator }) {
    const host = new OneHost(directory, await freeAddress());
    host.ports = [await freePort(), await freePort(), simulator.port];
    await promisify(execFile)(program, ['certificate', '--directory', directory, '--name', host.address]);
    host.#configure();
    await host.boot();
    return host;
  }

  constructor(directory, address) {
    Object.assign(this, { directory, address });
    this.file = path.join(directory, 'holdfast.toml');
    this.playlists = path.join(directory, 'hls');
  }

  /** The example with the ports of this machine in place of its own. */
  #configure() {
    const [web, hls, ws] = this.ports;
    const own = [
      ['0.0.0.0:', `${this.address}:`], ['/etc/holdfast/tls/', `${this.directory}/`],
      ['127.0.0.1:18080', `127.0.0.1:${ws}`], ['127.0.0.1:18081', `127.0.0.1:${web}`], ['127.0.0.1:18082', `127.0.0.1:${hls}`],
    ];
    let text = fs.readFileSync(CONFIGURATION, 'utf8');
    for (const [example, here] of own) {
      check(text.includes(example), `${CONFIGURATION} has this`, example);
      text = text.replaceAll(example, here);
    }
    fs.writeFileSync(this.file, text);
  }

  /** Where clients find what is at this port of the host. */
  url(scheme, port, rest = '') {
    return `${scheme}://${this.address}:${port}${rest}`;
  }

  async boot() {
    const [web, hls] = this.ports;
    this.web = new Child(process.execPath, [WEB_ROOT, ...this.ports.map(String), this.playlists], path.join(this.directory, 'web_root.log'));
    for (const port of [web, hls]) await untilListening(this.web, port, 'the web root');
  }

  /** What the present web root was asked. */
  asked() {
    return this.web.text.split('\n').slice(0, -1).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  /** A stream as HLS: one segment of fragmented MP4, and its playlist. */
  publishHls(name, mp4, seconds) {
    const begin = firstFragment(mp4);
    const directory = path.join(this.playlists, name);
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(path.join(directory, 'init.mp4'), mp4.subarray(0, begin));
    fs.writeFileSync(path.join(directory, '0.m4s'), mp4.subarray(begin));
    fs.writeFileSync(path.join(directory, `${name}.m3u8`), ['#EXTM3U', '#EXT-X-VERSION:7', `#EXT-X-TARGETDURATION:${Math.ceil(seconds)}`,
      '#EXT-X-MAP:URI="init.mp4"', `#EXTINF:${seconds.toFixed(3)},`, '0.m4s', '#EXT-X-ENDLIST', ''].join('\n'));
  }

  async kill() {
    await this.web?.kill();
  }
}

/** Where the first box `moof` begins: what is before describes what is behind (ISO/IEC 14496-12). */
function firstFragment(mp4) {
  let at = 0;
  while (at + 8 <= mp4.length && mp4.toString('latin1', at + 4, at + 8) !== 'moof') {
    const bytes = mp4.readUInt32BE(at);
    check(bytes >= 8, 'the recording is fragmented MP4', { at, bytes });
    at += bytes;
  }
  check(at + 8 <= mp4.length, 'the recording has a fragment', mp4.length);
  return at;
}
