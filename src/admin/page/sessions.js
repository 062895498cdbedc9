// Sessions and their streams, worst first, a page at a time.

import { get } from './api.js';
import { badge, cell, count, find, head, keyed, make, say, show, span } from './dom.js';

const PAGE = 25;
const TYPING_MS = 300;

/** Where the page begins, and where those before it began. */
let at = 0;
let ask;
let timer;
let asked = 0;

export function start(askToken) {
  ask = askToken;
  const again = () => {
    at = 0;
    refresh();
  };
  find('search').addEventListener('submit', (event) => {
    event.preventDefault();
    if (find('search-by').value === 'id' && find('search-for').value) {
      location.hash = `session/${find('search-for').value.trim()}`;
    } else {
      again();
    }
  });
  find('search-for').addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(again, TYPING_MS);
  });
  find('search-by').addEventListener('change', again);
  find('search-outage').addEventListener('change', again);
  find('page-back').addEventListener('click', () => {
    at = Math.max(0, at - PAGE);
    refresh();
  });
  find('page-next').addEventListener('click', () => {
    at += PAGE;
    refresh();
  });
}

function query() {
  const wanted = new URLSearchParams({ order: 'worst', limit: PAGE, after: at });
  const [by, what] = [find('search-by').value, find('search-for').value.trim()];
  if (what && by !== 'id') wanted.set(by, what);
  if (find('search-outage').checked) wanted.set('outage', 'true');
  return `/v1/sessions?${wanted}`;
}

/** Asks for the page that is looked at and draws it. */
export async function refresh() {
  asked += 1;
  const turn = asked;
  let page;
  let error = '';
  try {
    page = await get(query(), ask);
  } catch (refused) {
    error = refused.status > 0 ? refused.message : '';
  }
  // Another question has been asked meanwhile.
  if (turn !== asked) return;
  say(find('search-error'), error);
  show(find('search-error'), Boolean(error));
  if (page) draw(page);
}

function draw({ sessions, next }) {
  const parent = find('sessions');
  if (!parent.firstChild) {
    parent.append(make('div', { class: 'rows' }, head(['session'], ['state'], ['node'], ['client'], ['streams'])));
  }
  show(parent.firstChild.firstChild, sessions.length > 0);
  show(find('no-sessions'), sessions.length === 0);
  keyed(parent.firstChild, sessions, (one) => one.id, row, update);
  show(find('pages'), at > 0 || next !== null);
  find('page-back').disabled = at === 0;
  find('page-next').disabled = next === null;
  say(find('page-at'), `${at + 1} to ${at + sessions.length}`);
}

function row(one) {
  return make('div', { class: 'row' },
    cell('session', { class: 'name' }, make('a', { href: `#session/${encodeURIComponent(one.id)}` }, one.id)),
    cell('state', { class: 'state' }),
    cell('node', { class: 'node' }),
    cell('client', { class: 'client dim' }),
    cell('streams', { class: 'streams whole' }));
}

function update(row, one) {
  const part = (name) => row.querySelector(`.${name}`);
  const isOut = one.outage_ms !== null;
  part('state').replaceChildren(badge(isOut ? `${one.state}, ${span(one.outage_ms)}` : one.state, isOut ? 'bad' : one.state === 'up' ? 'good' : ''));
  say(part('node'), one.node);
  say(part('client'), one.client ?? '');
  const also = [one.rooms > 0 && `in ${count(one.rooms, 'room')}`, one.calls > 0 && count(one.calls, 'call')].filter(Boolean);
  const lines = one.streams.map(stream);
  if (also.length > 0 || lines.length === 0) lines.push(make('span', { class: 'dim' }, also.join(', ') || 'none'));
  part('streams').replaceChildren(...lines);
}

/** A stream in one line. */
export function stream(one) {
  const legs = one.numbers ? [one.numbers.client, one.numbers.upstream] : [];
  const loss = Math.max(0, ...legs.flatMap((leg) => [leg.loss_received ?? 0, leg.loss_sent ?? 0]));
  const gap = Math.max(0, ...(one.numbers?.gaps_ms ?? []));
  const muted = [one.audio_muted && 'sound muted', one.video_muted && 'picture muted'];
  const facts = [
    one.kind, one.media, one.numbers?.video_codec, ...muted,
    loss >= 0.001 && `${(loss * 100).toFixed(1)} % lost`, gap > 0 && `gap ${span(gap)}`,
  ].filter(Boolean);
  return make('div', { class: 'stream' },
    make('span', { class: 'stream-name' }, one.name),
    one.state === 'live' ? null : badge(one.state, one.state === 'lost' ? 'bad' : 'warn'),
    make('span', { class: 'dim' }, facts.join(' · ')));
}
