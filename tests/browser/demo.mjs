// The demo's page in a browser: node demo.mjs [--shot FILE]. Kills its server with the page's own
// button; the viewer behind Holdfast must see new pictures without an event, the one straight at the
// server must stand still. Once with the page's own client and once with the vendor's SDK. `--shot`
// keeps the screenshot that the README shows.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launchBrowser } from './harness/browser.mjs';
import { check, until } from './harness/wait.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({ options: { shot: { type: 'string' } } });

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
      ['demo', () => show(url, browser, options.shot)],
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

async function show(url, browser, shot) {
  const page = await browser.newPage({ viewport: { width: 1150, height: 900 } });
  await page.goto(url);
  const sdk = url.includes('client=sdk');
  await until('the page has its clients', () => page.evaluate(() => window.demoReady === true), { withinMs: 20_000 });
  check(await page.evaluate(() => 'Flashphoner' in window) === sdk, 'which client it is');
  const status = (who) => page.evaluate((who) => document.getElementById(`${who}-status`).textContent, who);
  const all = () => Promise.all(['publisher', 'held', 'bare'].map(status));
  await until('both viewers see a picture', async () => (
    (await status('held')).includes('picture moves') && (await status('bare')).includes('picture moves')
  ), { seen: all });
  const events = () => page.evaluate(() => (
    window.demoEvents.filter((event) => event.kind === 'status' && !event.text.startsWith('bare')).length));
  const before = await events();
  await page.click('[data-action=kill-2]');
  await until('the picture behind Holdfast stands still', async () => (await status('held')).includes('no picture'), {
    seen: all, everyMs: 20,
  });
  await until('the picture behind Holdfast moves again', async () => (await status('held')).includes('picture moves'), {
    withinMs: 20_000, seen: all,
  });
  // Long enough for the other one to come back as well, if it could.
  await until('the picture straight at the server is dead', async () => (
    /no picture for ([5-9]|\d\d)/.test(await status('bare'))), { seen: all });
  check(await events() === before, 'neither publisher nor viewer behind Holdfast was told anything');
  check((await status('held')).includes('picture moves'), 'the picture behind Holdfast still moves');
  if (shot) {
    fs.mkdirSync(path.dirname(shot), { recursive: true });
    await page.screenshot({ path: shot });
  }
  await page.close();
}
