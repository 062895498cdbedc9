// One session: what its client wants, and what befell it, as a timeline.

import { badge, clock, count, find, make, say, show, span } from './dom.js';
import { get } from './api.js';
import { stream } from './sessions.js';

const OUTCOMES = { restored: 'good', moved: 'good', given_up: 'bad', refused: 'warn', returned: 'warn' };
const STEPS = {
  connected: (step) => [`connected to ${step.about}`, ''],
  lost: (step) => [`lost ${step.about} again: ${step.cause}`, 'bad'],
  refused: (step) => [`the server refused the session: ${step.cause}`, 'bad'],
  restored: () => ['the session stands again', 'good'],
  stream_retry: (step) => [`${step.about} was refused and is tried again: ${step.cause}`, 'warn'],
  room_lost: (step) => [`room ${step.about} does not take the client back: ${step.cause}`, 'bad'],
  given_up: (step) => [`given up: ${step.cause}`, 'bad'],
};

/** The session that is looked at; none: the list is. */
export const looked = () => {
  const hash = location.hash.match(/^#session\/(.+)$/);
  return hash ? decodeURIComponent(hash[1]) : null;
};

export async function refresh(ask) {
  const id = looked();
  show(find('one'), Boolean(id));
  show(find('list'), !id);
  if (!id) return;
  try {
    const one = await get(`/v1/sessions/${encodeURIComponent(id)}`, ask);
    if (looked() === id) draw(one);
  } catch (refused) {
    if (looked() !== id || refused.status === 0) return;
    say(find('one-title'), `Session ${id}`);
    find('one-body').replaceChildren(make('p', { class: 'empty' }, refused.message));
  }
}

function draw(one) {
  say(find('one-title'), `Session ${one.id}`);
  const fact = (name, value) => (value ? make('div', {}, make('dt', {}, name), make('dd', {}, value)) : null);
  const isOut = one.outage_ms !== null;
  const facts = make('dl', { class: 'facts' },
    fact('state', badge(isOut ? `${one.state}, ${span(one.outage_ms)}` : one.state, isOut ? 'bad' : 'good')),
    fact('node', one.node), fact('client', one.client), fact('appKey', one.app_key),
    fact('mode', one.mode), fact('rooms', one.room_names.join(', ')), fact('since', span(Math.floor(one.age_ms / 1_000) * 1_000)));
  const streams = make('div', { class: 'streams' }, ...one.streams.map(stream));
  const chapters = [...one.timeline].reverse().map(chapter);
  if (chapters.length === 0) chapters.push(make('p', { class: 'empty' }, 'Neither an outage nor a move so far.'));
  find('one-body').replaceChildren(facts, streams, ...chapters);
}

function chapter(one) {
  const isOutage = one.what === 'outage';
  const title = isOutage ? `Outage of ${one.from}` : `Move from ${one.from} to ${one.to}`;
  const times = one.times > 1 ? ` ${one.times} times` : '';
  const outcome = one.outcome ? `${one.outcome.replace('_', ' ')}${times}` : 'goes on';
  const lasted = one.lasted_ms === null ? null : make('span', {}, `${isOutage ? 'session away for' : 'took'} ${span(one.lasted_ms)}`);
  const entries = [...steps(one), ...verdicts(one)].sort((a, b) => a.at - b.at);
  return make('article', { class: 'chapter' },
    make('header', {}, make('h3', {}, title), badge(outcome, OUTCOMES[one.outcome] ?? 'bad'),
      make('span', { class: 'dim' }, clock(one.began_unix_ms)), lasted),
    make('ol', { class: 'steps' }, ...entries.map(({ at, text, kind }) => make('li', { class: kind },
      make('time', {}, at === 0 ? clock(one.began_unix_ms) : `+${span(at)}`), make('span', {}, text)))),
    one.left_out > 0 ? make('p', { class: 'empty' }, `${count(one.left_out, 'entry', 'entries')} more than are kept`) : null);
}

function steps(one) {
  const told = one.steps.map((step) => {
    const [text, kind] = (STEPS[step.what] ?? (() => [step.what, '']))(step);
    return { at: step.after_ms, text, kind };
  });
  if (one.what === 'outage') {
    told.unshift({ at: 0, text: `${one.from} lost: ${one.cause} (${count(one.streams_lost, 'stream')})`, kind: 'bad' });
    if (one.dials_failed > 0) {
      const before = one.steps[0]?.after_ms ?? 0;
      told.splice(1, 0, { at: before, text: `${count(one.dials_failed, 'dial')} failed: ${one.dial_error}`, kind: 'warn' });
    }
  } else if (one.cause) {
    told.unshift({ at: 0, text: one.cause, kind: 'warn' });
  }
  return told;
}

function verdicts(one) {
  const kinds = { restored: 'good', reported: 'bad', cancelled: '' };
  return one.streams.map((stream) => {
    const gap = stream.gap_ms === null ? '' : `; media stood still for ${span(stream.gap_ms)}`;
    const outcome = stream.outcome ? ` ${stream.outcome}` : '';
    return { at: stream.after_ms ?? one.lasted_ms ?? 0, text: `${stream.kind} ${stream.name}${outcome}${gap}`, kind: kinds[stream.outcome] ?? '' };
  });
}
