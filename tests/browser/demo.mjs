// The demo's page in a browser: node demo.mjs [--shot FILE]. Kills its server with the page's own
// button; the viewer behind Holdfast must see new pictures without an event, the one straight at the
// server must stand still. `--shot` keeps the screenshot that the README shows.

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
  const demo = spawn(program, ['demo', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const browser = await launchBrowser();
  try {
    await show(await address(demo), browser);
    console.log('ok     demo\n\n1 passed, 0 failed');
    return 0;
  } catch (error) {
    console.log(`FAILED demo\n${error.stack ?? error}\n\n0 passed, 1 failed`);
    return 1;
  } finally {
    await browser.close();
    demo.kill('SIGTERM');
  }
}

/** The page's URL, as the demo says it. */
async function address(demo) {
  for await (const line of readline.createInterface({ input: demo.stdout })) {
    const url = line.match(/http:\/\/\S+/)?.[0];
    if (url) return url;
  }
  throw new Error('the demo ended without saying where its page is');
}

async function show(url, browser) {
  const page = await browser.newPage({ viewport: { width: 1150, height: 900 } });
  await page.goto(url);
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
  if (options.shot) {
    fs.mkdirSync(path.dirname(options.shot), { recursive: true });
    await page.screenshot({ path: options.shot });
  }
}
