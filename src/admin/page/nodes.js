// The nodes: what they are used for, why, and an operator's wish.

import { badge, cell, count, find, head, keyed, make, say, show, span } from './dom.js';

const KINDS = { up: 'good', suspect: 'warn', down: 'bad', draining: 'warn', maintenance: '' };
const OVER = ['done', 'cancelled'];

/** Draws them; `act(node, action)` is called by their buttons. */
export function draw(nodes, act) {
  const parent = find('nodes');
  if (!parent.firstChild) {
    parent.append(make('div', { class: 'rows' }, head(['node'], ['state'], ['why'], ['for', 'number'], ['sessions', 'number'],
      ['load', 'number'], ['dial p99', 'number'], [''])));
  }
  const create = (node) => row(node.name, act);
  keyed(parent.firstChild, nodes, (node) => node.name, create, update);
}

function row(name, act) {
  const row = make('div', { class: 'row' },
    cell('node', { class: 'name' }),
    cell('state', { class: 'state' }),
    cell('why', { class: 'why dim' }),
    cell('for', { class: 'for number' }),
    cell('sessions', { class: 'sessions number' }),
    cell('load', { class: 'load number' }),
    cell('dial p99', { class: 'dial number' }),
    make('div', { class: 'whole' }, make('button', { type: 'button' })),
    make('div', { class: 'drain wide whole' }, make('progress', { max: 1, 'aria-label': `drain of ${name}` }), make('div', { class: 'dim' })));
  const button = row.querySelector('button');
  button.addEventListener('click', () => act(name, button.dataset.action));
  return row;
}

function update(row, node) {
  const part = (name) => row.querySelector(`.${name}`);
  say(part('name'), node.name);
  part('name').title = node.url;
  if (part('state').dataset.state !== node.state) {
    part('state').dataset.state = node.state;
    part('state').replaceChildren(badge(node.state, KINDS[node.state]));
  }
  const also = [node.backup ? 'backup' : '', node.media === 'no_media' ? 'no media passes' : ''].filter(Boolean);
  say(part('why'), [node.reason, ...also].join(', '));
  say(part('for'), span(Math.floor(node.for_ms / 1_000) * 1_000));
  say(part('sessions'), node.sessions);
  const load = node.figures?.load_average;
  say(part('load'), load === null || load === undefined ? '–' : load.toFixed(2));
  say(part('dial'), span(node.dials.p99_ms));
  const isLeft = node.state === 'draining' || node.state === 'maintenance' || node.wish !== 'in_use';
  const button = row.querySelector('button');
  button.dataset.action = isLeft ? 'undrain' : 'drain';
  say(button, isLeft ? 'Use again' : 'Drain');
  button.setAttribute('aria-label', `${button.textContent}: ${node.name}`);
  drain(part('drain'), node.drain, isLeft);
}

/** How far its drain is; one that is over only as long as the node is out of use. */
function drain(part, drain, isLeft) {
  const isShown = Boolean(drain) && (isLeft || !OVER.includes(drain.stage));
  show(part, isShown);
  if (!isShown) return;
  const gone = Math.max(0, drain.sessions - drain.remaining);
  const bar = part.querySelector('progress');
  bar.max = Math.max(1, drain.sessions);
  bar.value = drain.stage === 'done' ? bar.max : gone;
  const words = {
    moving: `${gone} of ${count(drain.sessions, 'session')} gone`,
    waiting: `${count(drain.remaining, 'session')} left that cannot move unseen`,
    done: `empty: ${drain.moved} moved, ${drain.forced} forced, ${drain.ended} ended by themselves`,
    cancelled: 'called off',
  };
  const left = drain.left.map(({ reason, sessions }) => `${sessions} × ${reason}`);
  const time = drain.stage === 'moving' && drain.remaining_s !== null ? [`about ${span(drain.remaining_s * 1_000)} to go`] : [];
  say(part.querySelector('.dim'), [words[drain.stage] ?? drain.stage, ...time, ...left].join(' · '));
}
