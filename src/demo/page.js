// The demo page: a small client of our own that speaks the signaling of a Web Call Server, or the
// vendor's SDK (sdk.js). Neither has restart code: whatever comes back comes back because of the proxy.

const config = await (await fetch('/config')).json();
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
function watch(who, video) {
  const seen = () => {
    const now = Date.now();
    const gap = now - frames[who].last;
    if (frames[who].count > 0 && gap > 400) note('frame', `${who}: picture again after ${(gap / 1000).toFixed(1)} s`, { who, gap });
    frames[who].count += 1;
    frames[who].last = now;
    video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback(seen);
}
setInterval(() => {
  for (const who of ['held', 'bare']) {
    const age = Date.now() - frames[who].last;
    const line = $(`${who}-status`).lastChild;
    if (line && frames[who].count) line.textContent = age < 400 ? 'picture moves' : `no picture for ${(age / 1000).toFixed(1)} s`;
  }
}, 200);

// === Timeline and log.

const events = [];
function note(kind, text, more = {}) {
  const event = { at: Date.now(), kind, text, ...more };
  events.push(event);
  if (events.length > 500) events.shift();
  const log = $('log');
  log.textContent += `${new Date(event.at).toISOString().slice(11, 23)}  ${text}\n`;
  log.scrollTop = log.scrollHeight;
  window.demoEvents = events;
}

new EventSource('/events').onmessage = ({ data }) => {
  const { kind, text } = JSON.parse(data);
  note(kind, text);
};

const COLOURS = { server: '#d0443e', up: '#2a9d5c', attempt: '#e0a030', session: '#3b7dd8', stream: '#7a52c7', frame: '#2a9d5c' };
const ROWS = ['server', 'session', 'stream', 'held', 'bare'];
const samples = [];
setInterval(() => {
  const now = Date.now();
  samples.push({ at: now, held: now - frames.held.last < 400, bare: now - frames.bare.last < 400 });
  if (samples.length > 600) samples.shift();
  drawTimeline(now);
}, 100);

function drawTimeline(now) {
  const span = 30000;
  const x = (at) => 90 + ((at - (now - span)) / span) * 900;
  const parts = [];
  ROWS.forEach((row, i) => {
    parts.push(`<text x="8" y="${24 + i * 28}" font-size="13" fill="currentColor">${row}</text>`);
    parts.push(`<line x1="90" x2="990" y1="${20 + i * 28}" y2="${20 + i * 28}" stroke="#8884"/>`);
  });
  for (const who of ['held', 'bare']) {
    const y = 20 + ROWS.indexOf(who) * 28;
    for (const sample of samples.filter((s) => s.at > now - span && s[who])) {
      parts.push(`<rect x="${x(sample.at)}" y="${y - 5}" width="4" height="10" fill="#2a9d5c"/>`);
    }
  }
  for (const event of events.filter((e) => e.at > now - span)) {
    const row = event.kind === 'frame' ? event.who : { server: 'server', up: 'server', attempt: 'session', session: 'session', stream: 'stream' }[event.kind];
    if (!row) continue;
    const y = 20 + ROWS.indexOf(row) * 28;
    parts.push(`<circle cx="${x(event.at)}" cy="${y}" r="5" fill="${COLOURS[event.kind]}"><title></title></circle>`);
  }
  const timeline = $('timeline');
  timeline.setAttribute('viewBox', '0 0 1000 150');
  timeline.innerHTML = parts.join('');
}

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

async function connectBare() {
  const bare = new Client(config.server, (word, info) => show('bare', word, info));
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
