// Where one case plays: a simulator, a proxy in front of it, a browser context, and the tabs.

import fs from 'node:fs';
import path from 'node:path';
import { Tab } from './browser.mjs';
import { ownAddress } from './firefox.mjs';
import { OUTER, startMediaRelay } from './media_relay.mjs';
import { OneHost } from './one_host.mjs';
import { Proxy } from './proxy.mjs';
import { startRelay } from './relay.mjs';
import { Simulator } from './simulator.mjs';

let streams = 0;

export class Stage {
  /** `wanted`: browser, media, mode, simulator (settings), proxy (text of a configuration), first and again (more
   * settings of the simulator's first life, or of those after it), network (media passes a relay: `stage.network`),
   * pool (two nodes, `a` and `b` = `stage.second`, and an operator: `stage.proxy.order`), token (of the admin side),
   * host (Holdfast has WCS's ports and the pages behind it: `stage.host`). */
  static async set(environment, directory, wanted) {
    fs.mkdirSync(directory, { recursive: true });
    const stage = new Stage(environment, directory, wanted);
    const outer = wanted.browser === 'firefox' ? ownAddress() : wanted.network ? OUTER : undefined;
    try {
      stage.simulator = await Simulator.start({
        program: environment.program, like: environment.like, logFile: path.join(directory, 'simulator.log'),
        settings: { ...wanted.simulator, ...wanted.first },
      });
      if (wanted.pool) {
        stage.second = await Simulator.start({
          program: environment.program, like: environment.like, logFile: path.join(directory, 'second.log'),
          settings: wanted.simulator,
        });
      }
      if (wanted.host) {
        stage.host = await OneHost.start({ program: environment.program, directory, simulator: stage.simulator });
      }
      stage.proxy = await Proxy.start({
        program: environment.program, logFile: path.join(directory, 'proxy.log'),
        upstream: stage.second ? [`a=${stage.simulator.url}`, `b=${stage.second.url}`] : [stage.simulator.url],
        operated: Boolean(wanted.pool), token: wanted.token, media: wanted.media, mode: wanted.mode, settings: wanted.proxy,
        outer, relayed: wanted.network, host: stage.host,
      });
      if (wanted.network) stage.network = await startMediaRelay(await stage.proxy.mediaPorts(), outer);
      const browser = await environment.browser(wanted.browser ?? 'chromium');
      // The certificate of a host is signed by nobody.
      stage.context = await browser.newContext(stage.host ? { ignoreHTTPSErrors: true } : {});
    } catch (error) {
      await stage.strike();
      throw error;
    }
    return stage;
  }

  constructor(environment, directory, wanted) {
    Object.assign(this, { environment, directory, wanted });
    this.tabs = [];
    this.relays = [];
    this.notes = {};
  }

  /** Opens a page of the package, or at a URL; `through` says where its sockets go. */
  async open(name, page, through) {
    const tab = await Tab.open(this.context, name, new URL(page, this.environment.site).href);
    tab.server = through === 'proxy' ? this.proxy.url : this.simulator.url;
    tab.through = through;
    this.tabs.push(tab);
    return tab;
  }

  /** A relay in front of the proxy or the server. */
  async relay(through) {
    const relay = await startRelay(through === 'proxy' ? this.proxy.port : this.simulator.port);
    this.relays.push(relay);
    return relay;
  }

  /** A stream name that nobody else uses. */
  name(prefix = 's') {
    streams += 1;
    return `${prefix}${streams}`;
  }

  restart(downMs) {
    return this.simulator.restart({ downMs, settings: { ...this.wanted.simulator, ...this.wanted.again } });
  }

  /** Keeps what helps to understand a failure. */
  async keep() {
    for (const tab of this.tabs) {
      const file = path.join(this.directory, tab.name.replaceAll(/[^\w-]/g, '_'));
      fs.writeFileSync(`${file}.console.log`, tab.console.join('\n'));
      if (tab.page.isClosed()) continue;
      try {
        fs.writeFileSync(`${file}.json`, JSON.stringify({ watch: await tab.watch(), media: await tab.media() }, null, 1));
        await tab.page.screenshot({ path: `${file}.png`, timeout: 5_000 });
      } catch (error) {
        fs.writeFileSync(`${file}.error.log`, String(error));
      }
    }
    try {
      const lives = await this.simulator?.lives();
      fs.writeFileSync(path.join(this.directory, 'simulator.json'), JSON.stringify(lives, null, 1));
    } catch (error) {
      fs.writeFileSync(path.join(this.directory, 'simulator.error.log'), String(error));
    }
  }

  async strike() {
    await this.context?.close();
    for (const relay of this.relays) relay.close();
    this.network?.close();
    await this.proxy?.kill();
    await this.simulator?.stop();
    await this.second?.stop();
    await this.host?.kill();
  }
}
