// Runs the browser tests: node run.mjs [--full] [--only PART]... [--jobs N] [--media direct|anchor]
// [--like TRANSCRIPT] [--table FILE] [--list]. Needs Chromium (/usr/bin/chromium or $CHROMIUM), Firefox
// (/usr/bin/firefox-esr or $FIREFOX) and a built Holdfast (target/debug/holdfast or $HOLDFAST).

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Browsers } from './harness/browsers.mjs';
import { run } from './harness/cases.mjs';
import { killAll } from './harness/processes.mjs';
import { table } from './harness/report.mjs';
import { startSite } from './harness/site.mjs';
import { select } from './selection.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ARTIFACTS = path.join(HERE, 'artifacts');
/** A case that takes longer is stuck. */
const CASE_MS_MAX = 240_000;

const { values: options } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    jobs: { type: 'string', default: '2' },
    media: { type: 'string' },
    like: { type: 'string' },
    table: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});

// Other cases choose their server themselves.
const cases = select(options)
  .filter((one) => options.only.every((part) => one.name.includes(part)))
  .filter((one) => !options.like || one.outage);
if (options.list) {
  for (const one of cases) console.log(`${one.name}${one.control ? ' + control' : ''}`);
  process.exit(0);
}
process.exitCode = await main();

async function main() {
  const program = process.env.HOLDFAST ?? path.join(HERE, '..', '..', 'target', 'debug', 'holdfast');
  if (!fs.existsSync(program)) {
    console.error(`${program} is missing: cargo build, or name another one in HOLDFAST`);
    return 1;
  }
  const like = options.like && path.resolve(options.like);
  if (like && !fs.existsSync(like)) {
    console.error(`${like} is missing: holdfast probe --upstream URL --publish NAME --patient --save FILE`);
    return 1;
  }
  if (cases.length === 0) {
    console.error('no case has that name; see --list');
    return 1;
  }
  fs.rmSync(ARTIFACTS, { recursive: true, force: true });
  const began = Date.now();
  const site = await startSite();
  const queue = cases.map((one, index) => ({ one, index }));
  const results = [];
  const lanes = Array.from({ length: Math.min(Number(options.jobs), cases.length) }, async () => {
    const browsers = new Browsers();
    const environment = { program, like, site: site.url, browser: (name) => browsers.get(name) };
    for (let next = queue.shift(); next; next = queue.shift()) {
      const directory = path.join(ARTIFACTS, next.one.name.replaceAll(/[^\w.-]+/g, '_'));
      const result = await Promise.race([run(environment, next.one, directory), stuck(next.one)]);
      results[next.index] = result;
      if (result.ok) fs.rmSync(directory, { recursive: true, force: true });
      report(result);
    }
    return browsers.close();
  });
  const version = [...new Set((await Promise.all(lanes)).flat())].sort().join(', ');
  site.close();
  const failed = results.filter((result) => !result.ok);
  for (const result of failed) console.log(`\nFAILED ${result.case.name}\n${result.error?.stack ?? result.error}`);
  if (failed.length > 0) console.log(`\nLogs, screenshots and page consoles: ${path.relative(process.cwd(), ARTIFACTS)}`);
  if (options.table) fs.writeFileSync(options.table, table(results, { program, version, media: options.media ?? 'direct and anchor' }));
  console.log(`\n${results.length - failed.length} passed, ${failed.length} failed in ${Math.round((Date.now() - began) / 1_000)} s`);
  killAll();
  return failed.length === 0 ? 0 : 1;
}

function stuck(one) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve({ case: one, ok: false, error: new Error(`stuck for ${CASE_MS_MAX} ms`), seconds: CASE_MS_MAX / 1_000, notes: {} });
    }, CASE_MS_MAX);
    timer.unref();
  });
}

function report(result) {
  const line = `${result.ok ? 'ok    ' : 'FAILED'} ${result.case.name}${result.case.control ? ' + control' : ''}`;
  const gaps = result.notes.gapsMs?.length > 0 ? `, gaps ${result.notes.gapsMs.join(', ')} ms` : '';
  console.log(`${line} (${result.seconds.toFixed(1)} s${gaps})${result.ok ? '' : `: ${result.error?.message}`}`);
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    killAll();
    process.exit(130);
  });
}
