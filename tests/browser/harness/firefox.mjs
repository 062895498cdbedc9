// Firefox by WebDriver BiDi, with the part of Playwright's interface that the tests use: Playwright
// itself drives only a Firefox of its own making.

import fs from 'node:fs';
import os from 'node:os';
import puppeteer from 'puppeteer-core';

const PREFERENCES = {
  // A camera and a microphone that nobody has to allow.
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  // For a machine that has no other address; where there is one, 127.0.0.1 is no candidate all the same.
  'media.peerconnection.ice.loopback': true,
  // Nothing is looked up or downloaded: no codec (H264 by OpenH264 is such a download), no update.
  'media.gmp-manager.updateEnabled': false,
  'media.gmp-provider.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.trr.mode': 5,
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.topsites.contile.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.update.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.enabled': false,
};

/**
 * Where Firefox can send media to: it pairs 127.0.0.1 with nothing. What a machine sends to an address
 * of its own goes through its loopback interface as well.
 */
export function ownAddress() {
  const all = Object.values(os.networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

export async function launchFirefox() {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    headless: true,
    extraPrefsFirefox: PREFERENCES,
    protocolTimeout: 60_000,
  });
  const version = await browser.version();
  return {
    name: 'firefox',
    version: () => version,
    close: () => browser.close(),
    async newContext() {
      const context = await browser.createBrowserContext();
      return {
        newPage: async () => new Page(await context.newPage()),
        close: () => context.close(),
      };
    },
  };
}

/** A page as Playwright has it. It acts in front: a tab that nobody sees gets no camera and no frames. */
class Page {
  constructor(page) {
    this.page = page;
    this.timeout = 15_000;
  }

  setDefaultTimeout(ms) {
    this.timeout = ms;
    this.page.setDefaultTimeout(ms);
  }

  on(event, listener) {
    if (event === 'console') this.page.on('console', (message) => listener(message));
    if (event === 'pageerror') this.page.on('pageerror', listener);
  }

  addInitScript({ path }) {
    return this.page.evaluateOnNewDocument(fs.readFileSync(path, 'utf8'));
  }

  goto(url) {
    return this.page.goto(url, { waitUntil: 'load' });
  }

  /** Types a text in place of what is there, as the page's own listeners see it. */
  async fill(selector, text) {
    await this.page.bringToFront();
    await this.page.locator(selector).setTimeout(this.timeout).fill(text);
  }

  async click(selector, { timeout = this.timeout } = {}) {
    await this.page.bringToFront();
    await this.page.locator(selector).setTimeout(timeout).click();
  }

  evaluate(script, argument) {
    return this.page.evaluate(script, argument);
  }

  screenshot({ path }) {
    return this.page.screenshot({ path });
  }

  isClosed() {
    return this.page.isClosed();
  }

  close() {
    return this.page.close();
  }
}
