// Sessions in an outage against the gaps that viewers saw, second by second.

import { find, make, span } from './dom.js';

const SECONDS = 300;
/** Fewer are not drawn wider than this many would be. */
const SECONDS_LEAST = 60;
const WIDTH = 600;
const HEIGHT = 96;
const SVG = 'http://www.w3.org/2000/svg';

/** The last samples, the newest last. */
let samples = [];

const shape = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

export function add(sample) {
  // Most sessions are back before the next sample: those that lost their upstream since the last one count as well.
  const lost = Math.max(0, sample.sessions_lost - (samples.at(-1)?.lost ?? sample.sessions_lost));
  samples.push({
    at: sample.unix_ms, now: sample.sessions_in_outage, outage: Math.max(sample.sessions_in_outage, lost),
    lost: sample.sessions_lost, gaps: sample.gaps,
  });
  samples = samples.filter(({ at }) => at > sample.unix_ms - SECONDS * 1_000);
  draw(sample.unix_ms);
}

/** What was seen of gaps in all of that time. */
export function gaps() {
  const seen = samples.map((sample) => sample.gaps).filter((one) => one.count > 0);
  return {
    count: seen.reduce((sum, one) => sum + one.count, 0),
    max: Math.max(0, ...seen.map((one) => one.max_ms)),
    last: seen.at(-1),
  };
}

function draw(now) {
  const shownMs = Math.max(SECONDS_LEAST * 1_000, now - samples[0].at);
  const x = (at) => (WIDTH - ((now - at) / shownMs) * WIDTH).toFixed(1);
  const most = Math.max(1, ...samples.map((sample) => sample.outage));
  const longest = Math.max(1, gaps().max);
  const y = (share) => (HEIGHT - 2 - share * (HEIGHT - 8)).toFixed(1);
  const first = samples[0];
  const line = samples.map((sample, index) => {
    // A step, for the number held until the next look.
    const before = samples[Math.max(0, index - 1)];
    return `${x(sample.at)},${y(before.outage / most)} ${x(sample.at)},${y(sample.outage / most)}`;
  }).join(' ');
  const outage = shape('polygon', { class: 'outage', points: `${x(first.at)},${y(0)} ${line} ${WIDTH},${y(0)}` });
  const bars = samples.filter((sample) => sample.gaps.count > 0).map((sample) => shape('line', {
    class: 'gap', x1: x(sample.at), x2: x(sample.at), y1: y(0), y2: y(sample.gaps.max_ms / longest),
  }));
  find('spark').replaceChildren(outage, ...bars);
  const { count, max } = gaps();
  const worst = Math.max(...samples.map((sample) => sample.outage));
  find('spark-text').replaceChildren(
    make('span', { class: 'key outage' }, `sessions in an outage: ${samples.at(-1).now} now, ${worst} at most`), ' · ',
    make('span', { class: 'key gap' }, count === 0 ? 'media gaps: none' : `media gaps: ${count}, the longest ${span(max)}`),
  );
}
