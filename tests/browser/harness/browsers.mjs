// The browsers of one lane, started when a case first needs them.

import { launchBrowser } from './browser.mjs';
import { launchFirefox } from './firefox.mjs';

const LAUNCH = { chromium: launchBrowser, firefox: launchFirefox };

export class Browsers {
  constructor() {
    this.running = new Map();
  }

  async get(name) {
    if (!this.running.has(name)) this.running.set(name, LAUNCH[name]());
    return this.running.get(name);
  }

  /** Ends them all; what they were. */
  async close() {
    const versions = [];
    for (const [name, launched] of this.running) {
      const browser = await launched;
      versions.push(`${name} ${browser.version().replace(/^\D*/, '')}`);
      await browser.close();
    }
    return versions;
  }
}
