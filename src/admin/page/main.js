// The page: what it knows of the proxy, and when what is drawn.

import * as api from './api.js';
import { count, find, keyed, make, say, show, span } from './dom.js';
import * as nodes from './nodes.js';
import * as outages from './outages.js';
import * as sessions from './sessions.js';
import * as spark from './spark.js';
import * as timeline from './timeline.js';

const OVER_MAX = 100;
/** How often lists are asked for again that nobody tells of. */
const REFRESH_MS = 3_000;

const known = { version: '', nodes: [], running: [], over: [], sample: null, awaySince: null, pid: null };

// === What is told

function hear(name, data) {
  if (known.awaySince !== null) isBack();
  const told = {
    state: () => {
      Object.assign(known, { version: data.version, nodes: data.nodes, running: data.outages_running, over: data.outages_over });
      if (known.pid !== null && known.pid !== data.pid) known.sample = null;
      known.pid = data.pid;
      refresh();
    },
    node: () => change(data.name, data),
    node_gone: () => {
      known.nodes = known.nodes.filter((one) => one.name !== data.name);
    },
    drain: () => change(data.node, { drain: data }),
    sample: () => {
      known.sample = data;
      known.running = data.outages;
      for (const { dial_p99_ms: p99, ...figures } of data.nodes) {
        const node = known.nodes.find((one) => one.name === figures.name);
        if (node) {
          Object.assign(node, { sessions: figures.sessions, for_ms: node.for_ms + 1_000 });
          node.dials.p99_ms = p99;
          node.figures.load_average = figures.load_average;
        }
      }
      spark.add(data);
    },
    outage_begun: () => {
      known.running = [...known.running.filter((one) => one.node !== data.node), data];
      refresh();
    },
    outage_over: () => {
      known.running = known.running.filter((one) => one.node !== data.node);
      known.over = [data, ...known.over.filter((one) => one.id !== data.id)].slice(0, OVER_MAX);
      refresh();
    },
  };
  // A proxy of another version may tell more.
  told[name]?.();
  draw();
}

function change(name, changes) {
  const node = known.nodes.find((one) => one.name === name);
  if (node) Object.assign(node, changes);
  // One that came with a new configuration.
  else if (changes.url) known.nodes = [...known.nodes, changes];
}

function isAway(why) {
  known.awaySince ??= Date.now();
  say(find('link'), 'away');
  find('link').className = 'badge bad';
  const away = Math.max(1, Math.round((Date.now() - known.awaySince) / 1_000));
  say(find('away'), `No news from the proxy for ${span(away * 1_000)}: ${why}. What is shown is from before. Trying again.`);
  show(find('away'), true);
}

function isBack() {
  known.awaySince = null;
  say(find('link'), 'live');
  find('link').className = 'badge good';
  show(find('away'), false);
}

// === What is shown

function draw() {
  say(find('version'), known.version);
  nodes.draw(known.nodes, act);
  outages.draw(known.running, known.over);
  figures();
}

function figures() {
  const now = known.sample;
  if (!now) return;
  const notLive = now.streams.publish + now.streams.play - (now.streams.states.live ?? 0);
  const gaps = spark.gaps();
  const shown = [
    ['sessions', now.sessions],
    ['in an outage', now.sessions_in_outage, now.sessions_in_outage > 0],
    ['published', now.streams.publish],
    ['played', now.streams.play],
    ['streams not live', notLive, notLive > 0],
    ['handshakes held', now.handshakes_held, now.handshakes_held > 0],
    ['longest media gap', gaps.count > 0 ? span(gaps.max) : 'none'],
  ];
  keyed(find('figures'), shown, ([label]) => label, ([label]) => make('div', {}, make('dt', {}, label), make('dd')),
    (box, [, value, isBad]) => {
      say(box.lastChild, value);
      box.className = isBad ? 'bad' : '';
    });
  const out = now.sessions_in_outage;
  document.title = out > 0 ? `${count(out, 'session')} in an outage – Holdfast` : 'Holdfast';
}

function refresh() {
  timeline.refresh(askToken);
  if (!timeline.looked()) sessions.refresh();
}

// === What an operator orders

/** Asks in the dialog; resolves with what was typed (or true), or null. `work` may refuse: that is shown there. */
function dialog({ title, text, yes, hasToken = false, error = '' }) {
  say(find('ask-title'), title);
  say(find('ask-text'), text);
  say(find('ask-yes'), yes);
  say(find('ask-error'), error);
  show(find('ask-error'), Boolean(error));
  show(find('ask-token'), hasToken);
  const input = find('ask-token-value');
  input.value = '';
  input.required = hasToken;
  const box = find('ask');
  if (!box.open) box.showModal();
  return new Promise((resolve) => {
    const end = (answer) => {
      box.onclose = null;
      find('ask-no').onclick = null;
      box.querySelector('form').onsubmit = null;
      box.close();
      resolve(answer);
    };
    box.onclose = () => end(null);
    find('ask-no').onclick = () => end(null);
    box.querySelector('form').onsubmit = (event) => {
      event.preventDefault();
      end(hasToken ? input.value.trim() : true);
    };
  });
}

let asking = null;

/** Gets the token from the operator, however many wait for it at once. */
function askToken(wrong) {
  asking ??= dialog({
    title: 'Token', yes: 'Go on', hasToken: true, error: wrong,
    text: 'This takes the token of the admin side (admin.token_file or HOLDFAST_ADMIN_TOKEN of the proxy). It is kept in this tab until you close it.',
  }).finally(() => { asking = null; });
  return asking;
}

async function act(name, action) {
  const node = known.nodes.find((one) => one.name === name);
  const text = action === 'drain'
    ? `${count(node.sessions, 'session')} there move to other nodes while their clients hear nothing, and no new ones come.`
    : 'Sessions may go there again; a drain that goes on is called off.';
  let question = { title: `${action === 'drain' ? 'Drain' : 'Use again'}: ${name}`, yes: action === 'drain' ? 'Drain' : 'Use again', text };
  let order = {};
  while (await dialog(question)) {
    try {
      const told = await api.post(`/v1/nodes/${encodeURIComponent(name)}/${action}`, order, askToken);
      change(name, action === 'drain' ? { drain: told, wish: 'drain' } : told);
      return draw();
    } catch (error) {
      // The last node that is up: only where that is meant.
      const isForced = error.status === 409 && action === 'drain';
      order = isForced ? { force: true } : {};
      question = { ...question, error: error.message, yes: isForced ? 'Drain all the same' : 'Try again' };
    }
  }
}

// === Begin

sessions.start(askToken);
outages.start(draw);
addEventListener('hashchange', refresh);
setInterval(() => {
  if (known.awaySince === null && known.pid !== null && !document.hidden) refresh();
}, REFRESH_MS);
known.awaySince = Date.now();
api.listen(hear, isAway, askToken);
