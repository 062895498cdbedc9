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

/** The value that a share of the sorted ones does not exceed. */
const quantile = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

const distribution = (title, gaps) => {
  const sorted = [...gaps].sort((one, other) => one - other);
  return `| ${title} | ${sorted.length} | ${quantile(sorted, 0.5)} | ${quantile(sorted, 0.9)} | ${sorted.at(-1)} |`;
};

/** How long pictures stood still after the server was back: all together, and per outage. */
export function distributions(results) {
  const gapsOf = (of) => of.flatMap((result) => (result.ok ? result.notes.gapsMs ?? [] : []));
  const matrix = results.filter((result) => result.case.outage && result.case.media === 'anchor');
  const timed = (result) => !OUTAGES.find((outage) => outage.name === result.case.outage).neverReady;
  const all = gapsOf(matrix.filter(timed));
  if (all.length === 0) return [];
  const rows = OUTAGES.map((outage) => [outage, gapsOf(matrix.filter((result) => result.case.outage === outage.name))])
    .filter(([, gaps]) => gaps.length > 0);
  return [
    '| from the server being ready to the first new frame, ms | videos | median | p90 | worst |',
    '|---|---|---|---|---|',
    ...rows.map(([outage, gaps]) => distribution(`${outage.title}${outage.neverReady ? ' (the whole pause)' : ''}`, gaps)),
    distribution('all', all),
    '',
    'Pauses under 250 ms are not noted and count as 0. FIN, RST and close frames: from the moment of the loss.',
    '',
  ];
}

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
    `${new Date().toISOString().slice(0, 10)} · ${holdfast} · media ${media} · ${version} · `
      + `@flashphoner/websdk ${versionOf('@flashphoner/websdk')} · playwright-core ${versionOf('playwright-core')}`,
    '',
    `${results.length - failed.length} passed, ${failed.length} failed. "control": beside it the same page straight at the server, whose stream died (frozen server: stood still all the time).`,
    '',
    ...(media === 'anchor' ? ['In brackets: from the server being ready to the first new frame, the longest of a case.', ''] : []),
    `| outage | ${pages.join(' | ')} |`,
    `|---|${pages.map(() => '---|').join('')}`,
    ...outages.map((outage) => `| ${outage.title} | ${pages.map((page) => mark(find(page, outage))).join(' | ')} |`),
    '',
    ...distributions(results),
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
