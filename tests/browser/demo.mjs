// The demo's page in a browser: node demo.mjs [--shot FILE] [--shots DIRECTORY]. Kills and drains its servers with the
// page's own buttons; the viewer behind Holdfast must see new pictures without an event, the one straight at the
// server must stand still. Once with the page's own client and once with the vendor's SDK. `--shot` keeps the
// screenshot that the README shows, `--shots` those of a wide and a narrow screen after each step.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launchBrowser } from './harness/browser.mjs';
import { check, until } from './harness/wait.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({ options: { shot: { type: 'string' }, shots: { type: 'string' } } });

const WIDE = { width: 1280, height: 980 };
const NARROW = { width: 390, height: 844 };

/** What a page shows. */
class Scene {
  constructor(page) {
    this.page = page;
  }

  text(id) {
    return this.page.evaluate((id) => document.getElementById(id).textContent, id);
  }

  async all() {
    return Promise.all(['result', 'control', 'publisher-status', 'held-status', 'bare-status'].map((id) => this.text(id)));
  }

  /** Waits until a viewer's status, or another text of the page, has this in it. */
  async until(who, wanted, withinMs = 20_000) {
    const id = ['held', 'bare'].includes(who) ? `${who}-status` : who;
    const isThere = (text) => (wanted instanceof RegExp ? wanted.test(text) : text.includes(wanted));
    await until(`${who}: ${wanted}`, async () => isThere(await this.text(id)), { withinMs, everyMs: 20, seen: () => this.all() });
  }

  press(action) {
    return this.page.click(`[data-action=${action}]`);
  }

  /** Events that clients behind Holdfast were told. */
  eventsOfOthers() {
    return this.page.evaluate(() => (
      window.demoEvents.filter((event) => event.kind === 'status' && !event.text.startsWith('bare')).length));
  }

  /** Pauses of the picture behind Holdfast since `since`, in ms. */
  pauses(since) {
    return this.page.evaluate((since) => (
      window.demoEvents.filter((event) => event.who === 'held' && event.at >= since).map((event) => event.gap)), since);
  }

  now() {
    return this.page.evaluate(() => Date.now());
  }

  isGray(who) {
    return this.page.evaluate((who) => (
      getComputedStyle(document.getElementById(who)).filter.includes('grayscale(1)')
      && getComputedStyle(document.getElementById(`${who}-frozen`)).display !== 'none'), who);
  }
}

process.exitCode = await main();

async function main() {
  const program = process.env.HOLDFAST ?? path.join(HERE, '..', '..', 'target', 'debug', 'holdfast');
  const sdk = path.join(HERE, 'node_modules', '@flashphoner', 'websdk');
  const demo = spawn(program, ['demo', '--listen', '127.0.0.1:0', '--sdk', sdk], { stdio: ['ignore', 'pipe', 'inherit'] });
  const browser = await launchBrowser();
  let failed = 0;
  try {
    const url = await address(demo);
    const cases = [
      ['demo', () => show(url, browser, options)],
      ['demo with the SDK', () => show(`${url}?client=sdk`, browser)],
      ['nothing but the SDK is served', () => serveNothingElse(url)],
    ];
    for (const [name, run] of cases) {
      try {
        await run();
        console.log(`ok     ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED ${name}\n${error.stack ?? error}`);
      }
    }
    console.log(`\n${cases.length - failed} passed, ${failed} failed`);
  } finally {
    await browser.close();
    demo.kill('SIGTERM');
  }
  return failed > 0 ? 1 : 0;
}

async function serveNothingElse(url) {
  const status = async (target, method = 'GET') => (await fetch(new URL(target, url), { method })).status;
  check(await status('/sdk/flashphoner-webrtc-only.js') === 200, 'the SDK is there');
  for (const target of ['/sdk/package.json', '/sdk/..%2fpackage.json', '/sdk/%2e%2e/%2e%2e/package.json', '/sdk/src/constants.js', '/sdk/']) {
    check(await status(target) === 404, target);
  }
  check(await status('/sdk/flashphoner-webrtc-only.js', 'POST') === 404, 'it is only read');
}

/** The page's URL, as the demo says it. */
async function address(demo) {
  for await (const line of readline.createInterface({ input: demo.stdout })) {
    const url = line.match(/http:\/\/\S+/)?.[0];
    if (url) return url;
  }
  throw new Error('the demo ended without saying where its page is');
}

async function show(url, browser, { shot, shots } = {}) {
  const page = await browser.newPage({ viewport: WIDE });
  await page.goto(url);
  const sdk = url.includes('client=sdk');
  await until('the page has its clients', () => page.evaluate(() => window.demoReady === true), { withinMs: 20_000 });
  check(await page.evaluate(() => 'Flashphoner' in window) === sdk, 'which client it is');
  const scene = new Scene(page);
  await scene.until('held', 'picture moves');
  await scene.until('bare', 'picture moves');
  const before = await scene.eventsOfOthers();
  const keep = async (name) => {
    for (const size of shots ? [WIDE, NARROW] : []) {
      await page.setViewportSize(size);
      await page.evaluate(() => new Promise((drawn) => { setTimeout(drawn, 300); }));
      await page.screenshot({ path: path.join(shots, `${name}-${size.width}.png`), fullPage: size === NARROW });
    }
    await page.setViewportSize(WIDE);
  };
  await killBoth(scene);
  if (shot) {
    fs.mkdirSync(path.dirname(shot), { recursive: true });
    await page.screenshot({ path: shot });
  }
  await keep('kill');
  await killOne(scene);
  await keep('kill-one');
  await drain(scene);
  await keep('drain');
  check(await scene.eventsOfOthers() === before, 'neither publisher nor viewer behind Holdfast was told anything');
  await fitsNarrowScreens(page);
  await page.close();
}

async function killBoth(scene) {
  await scene.press('kill-both');
  await scene.until('held', 'frozen for');
  check(await scene.isGray('held'), 'a frozen picture looks frozen');
  await scene.until('result', 'No picture for');
  await scene.until('held', 'picture moves');
  await scene.until('result', /^Back \d+\.\d s after the server$/);
  check(!await scene.isGray('held'), 'a picture that moves does not');
  // Long enough for the other one to come back as well, if it could.
  await scene.until('bare', /frozen for ([5-9]|\d\d)/);
  await scene.until('control', 'Viewer straight at the server: dead');
  check(await scene.isGray('bare'), 'the dead picture looks dead');
  check((await scene.text('held-status')).includes('picture moves'), 'the picture behind Holdfast still moves');
  check(/dial failed .*\(×\d+\)/.test(await scene.text('log')), 'dials that fail are folded');
  check(await scene.page.evaluate(() => document.querySelectorAll('#timeline .band').length) === 1, 'the outage is shaded');
}

async function connectAgain(scene) {
  await scene.page.click('#again');
  await scene.until('bare', 'picture moves');
}

/** The other server takes over while the dead one is away. */
async function killOne(scene) {
  await connectAgain(scene);
  await scene.press('kill');
  await scene.until('result', /^Back \d+\.\d s after the server was lost$/);
  check(!(await scene.text('log')).trimEnd().endsWith('listens again'), 'its server is still away');
  await scene.until('bare', 'frozen for');
  await scene.until('log', /killed, back in 5 s[^]*listens again/);
}

/** The server in use is emptied: the picture goes on, whoever is straight at it loses it. */
async function drain(scene) {
  await connectAgain(scene);
  const since = await scene.now();
  await scene.press('drain');
  await scene.until('result', /^Server [ab] drained with no gap$/);
  await scene.until('bare', /frozen for [2-9]/);
  check(await scene.isGray('bare'), 'the picture of a drained server looks frozen');
  check((await scene.text('held-status')).includes('picture moves'), 'the picture behind Holdfast goes on');
  check((await scene.pauses(since)).length === 0, 'without a pause');
  await scene.until('log', /session moved/);
}

async function fitsNarrowScreens(page) {
  await page.setViewportSize(NARROW);
  const { overflow, headline, largest } = await page.evaluate(() => {
    const size = (element) => parseFloat(getComputedStyle(element).fontSize);
    const others = [...document.querySelectorAll('body *:not(svg *)')].filter((element) => !element.closest('#headline'));
    return {
      overflow: document.documentElement.scrollWidth - window.innerWidth,
      headline: size(document.getElementById('result')),
      largest: Math.max(...others.map(size)),
    };
  });
  check(overflow <= 0, `nothing sticks out at ${NARROW.width} px: ${overflow}`);
  check(headline > largest, `the headline is the largest text: ${headline}, ${largest}`);
}
