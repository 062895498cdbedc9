// The demo page: a small client of our own that speaks the signaling of a Web Call Server, or the
// vendor's SDK (sdk.js). Neither has restart code: whatever comes back comes back because of the proxy.

import { drawLegend, drawTimeline } from '/timeline.js';

const readConfig = async () => (await fetch('/config')).json();
const config = await readConfig();
const $ = (id) => document.getElementById(id);

class SmallClient {
  constructor(url, onStatus) {
    this.url = url;
    this.onStatus = onStatus;
    this.streams = new Map();
    this.events = 0;
  }

  connect() {
    return new Promise((resolve, reject) => {
      this.socket = new WebSocket(this.url);
      this.socket.onopen = () => this.send('connection', {
        appKey: 'defaultApp', mediaProviders: ['WebRTC'], clientVersion: '2.0',
        clientOSVersion: navigator.appVersion, clientBrowserVersion: navigator.userAgent,
      });
      this.socket.onclose = () => { this.onStatus('socket closed'); reject(new Error('closed')); };
      this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data), resolve);
    });
  }

  send(message, argument = null) {
    this.socket.send(JSON.stringify({ message, data: [argument] }));
  }

  receive({ message, data }, established) {
    if (message === 'ping') this.send('pong');
    else if (message === 'getUserData') established();
    else if (message === 'setRemoteSDP') this.remote(data[0], data[1]);
    else if (message === 'notifyStreamStatusEvent') {
      this.events += 1;
      if (this.streams.has(data[0].mediaSessionId)) this.onStatus(data[0].status, data[0].info);
    }
  }

  // As the SDK does it: the first answer is one, a later one is taken for an offer and never
  // answered.
  async remote(id, sdp) {
    const pc = this.streams.get(id);
    if (!pc) return;
    const type = pc.signalingState === 'have-local-offer' ? 'answer' : 'offer';
    await pc.setRemoteDescription({ type, sdp });
  }

  async start(verb, name, setUp) {
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-compat' });
    const id = crypto.randomUUID();
    this.streams.set(id, pc);
    setUp(pc);
    await pc.setLocalDescription(await pc.createOffer());
    this.send(verb, {
      mediaSessionId: id, name, published: verb === 'publishStream', hasVideo: true, hasAudio: false,
      status: 'PENDING', record: false, mediaProvider: 'WebRTC', sdp: pc.localDescription.sdp,
      bitrate: 0, minBitrate: 0, maxBitrate: 0,
    });
    return pc;
  }

  publish(name, media) {
    return this.start('publishStream', name, (pc) => media.getTracks().forEach((track) => pc.addTrack(track, media)));
  }

  play(name, display, onVideo) {
    const video = document.createElement('video');
    Object.assign(video, { autoplay: true, muted: true, playsInline: true });
    display.replaceChildren(video);
    onVideo(video);
    return this.start('playStream', name, (pc) => {
      pc.addTransceiver('video', { direction: 'recvonly' });
      pc.ontrack = ({ streams, track }) => { video.srcObject = streams[0] ?? new MediaStream([track]); };
    });
  }
}

// === The picture: a clock that shows how long ago it was drawn.

function draw() {
  const canvas = $('source');
  const context = canvas.getContext('2d');
  const t = performance.now();
  context.fillStyle = `hsl(${(t / 40) % 360} 60% 35%)`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#fff';
  context.font = '42px system-ui, sans-serif';
  context.fillText(new Date().toISOString().slice(11, 21), 50, 105);
  context.beginPath();
  context.arc(160 + 90 * Math.cos(t / 500), 170 + 40 * Math.sin(t / 500), 16, 0, 7);
  context.fill();
}
setInterval(draw, 40);

// === Status lines and the watch on frames.

/** A picture without a new frame for longer than this stands still. */
const STILL_MS = 400;

const status = {};
function show(who, word, info) {
  status[who] = { word, info };
  const good = ['PUBLISHING', 'PLAYING'].includes(word);
  $(`${who}-status`).innerHTML = `<b class="${good ? 'good' : 'bad'}"></b> <span></span>`;
  $(`${who}-status`).firstChild.textContent = word;
  $(`${who}-status`).lastChild.textContent = info ? `– ${info}` : '';
  note('status', `${who}: ${word}${info ? ` (${info})` : ''}`);
}

const frames = { held: { count: 0, last: 0 }, bare: { count: 0, last: 0 } };
// Per viewer, from when to when its picture moved.
const pictures = { held: [], bare: [] };
function watch(who, video) {
  const seen = () => {
    const now = Date.now();
    const gap = now - frames[who].last;
    const isAgain = frames[who].count > 0 && gap > STILL_MS;
    if (isAgain) note('frame', `${who}: picture again after ${seconds(gap)}`, { who, gap });
    if (who === 'held' && fall && frames.held.count > 0 && gap > fall.gap) Object.assign(fall, { gap, resumed: now });
    if (isAgain || frames[who].count === 0) pictures[who].push({ from: now, to: now });
    pictures[who].at(-1).to = now;
    if (pictures[who].length > 100) pictures[who].shift();
    frames[who].count += 1;
    frames[who].last = now;
    video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback(seen);
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const age = (who) => Date.now() - frames[who].last;
const moves = (who) => frames[who].count > 0 && age(who) < STILL_MS;

function showPictures() {
  for (const who of ['held', 'bare']) {
    if (!frames[who].count) continue;
    const words = moves(who) ? 'picture moves' : `frozen for ${seconds(age(who))}`;
    const line = $(`${who}-status`).lastChild;
    if (line) line.textContent = words;
    $(`${who}-frozen`).textContent = words;
    $(`${who}-frozen`).parentElement.classList.toggle('is-frozen', !moves(who));
  }
}

// === The headline: what the last press of a button came to.

/** What was done to the servers last: when, which kind, since when one is back, and the longest gap of the picture
 * behind Holdfast since then. */
let fall = null;
const bands = [];

function begin(kind, node, at) {
  // Both servers are killed one after the other: that is one outage.
  if (fall && kind === 'server' && fall.kind === kind && !fall.back && at - fall.at < 500) {
    fall.node = 'both';
    return;
  }
  fall = { kind, node, at, back: null, gap: 0, resumed: null };
}

function result() {
  if (!fall) return frames.held.count ? 'Both pictures move. Kill the server in use, or drain it.' : 'The clients connect …';
  const { kind, node, at, back, gap, resumed } = fall;
  if (!moves('held') && gap <= age('held')) return `No picture for <b>${seconds(age('held'))}</b>, and nobody was told`;
  if (kind === 'drain') {
    const words = gap < STILL_MS ? '<b class="good">no gap</b>' : `a gap of <b class="good">${seconds(gap)}</b>`;
    return back ? `Server ${node} drained with ${words}` : `Server ${node} is being drained, with ${words}`;
  }
  if (resumed === null || gap < 100) return `${kind === 'cut' ? 'Connections' : 'Server'} of ${node} gone`;
  if (back && resumed > back) return `Back <b class="good">${seconds(resumed - back)}</b> after the server`;
  const what = kind === 'cut' ? 'cut' : 'server was lost';
  return `Back <b class="good">${seconds(resumed - at)}</b> after the ${what}`;
}

function showHeadline() {
  $('result').innerHTML = result();
  $('control').innerHTML = fall ? `Viewer straight at the server: ${moves('bare') ? 'moves' : '<b class="bad">dead</b>'}` : '';
  if (!fall || fall.kind === 'drain') return;
  // As an outage counts what the viewer saw of it.
  const isOver = fall.resumed !== null && fall.gap > 100 && moves('held');
  const band = bands.find((one) => one.from === fall.at);
  if (band) band.to = isOver ? fall.resumed : null;
  else bands.push({ from: fall.at, to: isOver ? fall.resumed : null });
  if (bands.length > 50) bands.shift();
}

// === Timeline and log.

const events = [];
const lines = [];
function note(kind, text, more = {}) {
  const event = { at: Date.now(), kind, text, ...more };
  events.push(event);
  if (events.length > 500) events.shift();
  window.demoEvents = events;
  // Dials that fail one after the other are one line.
  const last = lines.at(-1);
  if (kind === 'attempt' && last?.kind === kind) last.count += 1;
  else lines.push({ ...event, count: 1 });
  if (lines.length > 500) lines.shift();
  const log = $('log');
  log.textContent = lines.map(({ at, text, count }) => (
    `${new Date(at).toISOString().slice(11, 23)}  ${text}${count > 1 ? ` (×${count})` : ''}\n`)).join('');
  log.scrollTop = log.scrollHeight;
}

const servers = Object.fromEntries(config.nodes.map((name) => [name, []]));
let inUse = config.node;
const STATES = { up: 'up', server: 'down', drain: 'drain' };
const loadedAt = Date.now();

new EventSource('/events').onmessage = ({ data }) => {
  const { at_ms: atMs, kind, node, text } = JSON.parse(data);
  const at = loadedAt - config.now_ms + atMs;
  note(kind, text, { at });
  if (node && STATES[kind]) servers[node].push({ at, state: STATES[kind] });
  if (node && servers[node].length > 100) servers[node].shift();
  inUse = (kind === 'session' && text.match(/upstream=(\w+)/)?.[1]) || inUse;
  // What was before this page is not its story.
  if (at < loadedAt) return;
  if (['server', 'drain', 'cut'].includes(kind)) begin(kind, node, at);
  if (kind === 'up' && fall) fall.back ??= at;
};

drawLegend($('legend'));
setInterval(() => {
  showPictures();
  showHeadline();
  drawTimeline($('timeline'), { now: Date.now(), servers, inUse, events, pictures, bands });
}, 100);

// === Start.

const withSdk = new URLSearchParams(location.search).get('client') === 'sdk';
const Client = withSdk ? (await import('/sdk.js')).SdkClient : SmallClient;
$('clients').innerHTML = config.sdk
  ? `Clients: ${withSdk ? '<a href="/">our own small one</a> · <b>the vendor\u2019s SDK</b>'
    : '<b>our own small one</b> · <a href="/?client=sdk">the vendor\u2019s SDK</a>'}`
  : 'Clients: our own small one. For the vendor\u2019s SDK: <code>npm install @flashphoner/websdk</code>, then '
    + '<code>holdfast demo --sdk node_modules/@flashphoner/websdk</code>';

const name = 'demo';
const publisher = new Client(config.proxy, (word, info) => show('publisher', word, info));
await publisher.connect();
await publisher.publish(name, $('source').captureStream(25));

const held = new Client(config.proxy, (word, info) => show('held', word, info));
await held.connect();

// To the server that is in use now.
async function connectBare() {
  const { server } = await readConfig();
  const bare = new Client(server, (word, info) => show('bare', word, info));
  try {
    await bare.connect();
    await bare.play(name, $('bare'), (video) => watch('bare', video));
  } catch { show('bare', 'not connected'); }
}
while (status.publisher?.word !== 'PUBLISHING') await new Promise((wait) => setTimeout(wait, 50));
await held.play(name, $('held'), (video) => watch('held', video));
await connectBare();
$('again').onclick = connectBare;
for (const button of document.querySelectorAll('[data-action]')) {
  button.onclick = () => fetch(`/action/${button.dataset.action}`, { method: 'POST' });
}
window.demoReady = true;
