// Outages of nodes: those that go on, then the last that are over.

import { badge, cell, clock, count, find, head, keyed, make, say, show, span } from './dom.js';

const SHOWN = 8;
let isAll = false;

export function start(redraw) {
  find('more-outages').addEventListener('click', () => {
    isAll = !isAll;
    redraw();
  });
}

export function draw(running, over) {
  const parent = find('outages');
  const all = [...running.map((outage) => ({ ...outage, isRunning: true })), ...over];
  const shown = isAll ? all : all.slice(0, SHOWN);
  show(find('no-outages'), all.length === 0);
  show(find('more-outages'), all.length > SHOWN);
  say(find('more-outages'), isAll ? 'Show fewer' : `Show all ${all.length}`);
  if (!parent.firstChild) {
    parent.append(make('div', { class: 'rows' }, head(['began'], ['node'], ['cause'], ['lasted', 'number'],
      ['sessions', 'number'], ['gap p50', 'number'], ['gap p99', 'number'], ['streams'])));
  }
  show(parent.firstChild.firstChild, all.length > 0);
  keyed(parent.firstChild, shown, (one) => (one.isRunning ? `on ${one.node}` : one.id), row, update);
}

function row() {
  return make('div', { class: 'row' },
    cell('began', { class: 'began' }),
    cell('node', { class: 'node name' }),
    cell('cause', { class: 'cause whole' }),
    cell('lasted', { class: 'lasted number' }),
    cell('sessions', { class: 'sessions number' }),
    cell('gap p50', { class: 'p50 number' }),
    cell('gap p99', { class: 'p99 number' }),
    cell('streams', { class: 'verdicts whole' }));
}

function update(row, one) {
  const part = (name) => row.querySelector(`.${name}`);
  say(part('began'), clock(one.began_unix_ms));
  say(part('node'), one.node);
  say(part('cause'), one.cause || '–');
  say(part('lasted'), span(one.lasted_ms));
  say(part('sessions'), one.sessions);
  part('sessions').title = `${one.sessions_restored} restored, ${one.sessions_given_up} given up, ${one.clients_left} left by their clients`;
  const isTold = one.gap_max_ms > 0;
  say(part('p50'), isTold ? span(one.gap_p50_ms) : '–');
  say(part('p99'), isTold ? span(one.gap_p99_ms) : '–');
  const words = verdicts(one);
  const wanted = JSON.stringify(words);
  if (part('verdicts').dataset.words !== wanted) {
    part('verdicts').dataset.words = wanted;
    part('verdicts').replaceChildren(...words.flatMap(([text, kind]) => [badge(text, kind), ' ']));
  }
}

function verdicts(one) {
  const words = [
    [one.isRunning && `goes on: ${one.sessions_restored} of ${count(one.sessions, 'session')} back`, 'bad'],
    [one.streams_restored > 0 && `${one.streams_restored} restored`, 'good'],
    [one.streams_reported > 0 && `${one.streams_reported} reported`, 'bad'],
    [one.streams_cancelled > 0 && `${one.streams_cancelled} cancelled`, ''],
    [one.rooms_lost > 0 && `${count(one.rooms_lost, 'room')} lost`, 'bad'],
    [one.sessions_given_up > 0 && `${count(one.sessions_given_up, 'session')} given up`, 'bad'],
  ].filter(([text]) => text);
  return words.length > 0 ? words : [['no streams', '']];
}
