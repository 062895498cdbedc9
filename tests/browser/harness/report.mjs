// The table of results that is kept in the repository.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { OUTAGES } from '../outages.mjs';

const MODULES = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', 'node_modules');
const versionOf = (name) => JSON.parse(fs.readFileSync(path.join(MODULES, name, 'package.json'), 'utf8')).version;

const mark = (result) => {
  if (!result) return '–';
  const gaps = result.notes.gapsMs ?? [];
  const gap = result.ok && gaps.length > 0 ? ` (${Math.max(...gaps)} ms)` : '';
  return `${result.ok ? 'ok' : 'FAILED'}${gap}${result.case.control ? ' + control' : ''}`;
};

export function table(results, { program, version, media }) {
  const holdfast = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const matrix = results.filter((result) => result.case.outage);
  const pages = [...new Set(matrix.map((result) => result.case.page))];
  const outages = OUTAGES.filter((outage) => matrix.some((result) => result.case.outage === outage.name));
  const find = (page, outage) => matrix.find((result) => result.case.page === page && result.case.outage === outage.name);
  const failed = results.filter((result) => !result.ok);
  return [
    '# Results of the browser tests',
    '',
    `${new Date().toISOString().slice(0, 10)} · ${holdfast} · media ${media} · Chromium ${version} · `
      + `@flashphoner/websdk ${versionOf('@flashphoner/websdk')} · playwright-core ${versionOf('playwright-core')}`,
    '',
    `${results.length - failed.length} passed, ${failed.length} failed. "control": beside it the same page straight at the server, whose stream died (frozen server: stood still all the time).`,
    '',
    ...(media === 'anchor' ? ['In brackets: from the server being ready to the first new frame, the longest of a case.', ''] : []),
    `| outage | ${pages.join(' | ')} |`,
    `|---|${pages.map(() => '---|').join('')}`,
    ...outages.map((outage) => `| ${outage.title} | ${pages.map((page) => mark(find(page, outage))).join(' | ')} |`),
    '',
    ...(results.length > matrix.length ? [
      '| other cases | result |',
      '|---|---|',
      ...results.filter((result) => !result.case.outage).map((result) => `| ${result.case.title ?? result.case.name} | ${mark(result)} |`),
      '',
    ] : []),
    ...failed.map((result) => `- ${result.case.name}: ${result.error?.message}`),
    '',
  ].join('\n');
}
