// Holdfast in WCS's place on one host, by the configuration that config/in-place-of-wcs.toml shows: the vendor's pages are
// loaded through it, name by themselves the server that they find there, publish, play, and outlive the server whose
// pages they are. REST, figures, HLS and lbUrl go through the same host.

import { OUTAGES } from '../outages.mjs';
import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { undisturbed } from '../pages/undisturbed.mjs';
import { PORTS } from '../harness/one_host.mjs';
import { check, delay, same, until } from '../harness/wait.mjs';
import { mediaMoved, nothingLeft, oncePerEpoch, sessionsUntouched, wellMannered } from '../harness/verdict.mjs';

const KILL = OUTAGES.find((outage) => outage.name === 'kill');
const DOWN_MS = 2_000;
const RECORDED_MS = 2_500;
const DEMO = '/client2/examples/demo/streaming';
const TWO_WAY = `${DEMO}/two_way_streaming/two_way_streaming.html`;
const HLS_PLAYER = `${DEMO}/hls-js-player/hls-js-player.html`;

/** All that browsers load in a context: from where, and how that ended. */
function watchLoading(context) {
  const loading = { origins: new Set(), bad: [] };
  context.on('response', (response) => {
    loading.origins.add(new URL(response.url()).origin);
    if (response.status() >= 400) loading.bad.push(`${response.url()}: ${response.status()}`);
  });
  context.on('requestfailed', (request) => {
    const why = request.failure()?.errorText;
    // Whoever has enough of a video leaves the rest of it.
    if (why !== 'net::ERR_ABORTED') loading.bad.push(`${request.url()}: ${why}`);
  });
  return loading;
}

/** A page of the vendor's, loaded from the port where it names its server by itself. */
async function twoWay(stage, name, { page, session }) {
  const { host } = stage;
  const tab = await stage.open(`two_way_streaming ${session}`, host.url(page, PORTS[session], TWO_WAY), 'proxy');
  same(await tab.page.inputValue('#urlServer'), host.url(session, PORTS[session]), 'the server that the page names');
  await twoWayStreaming.connect(tab, name);
  await twoWayStreaming.start({ tab });
  return tab;
}

/** What the page's camera gave for a moment, as fragmented MP4. */
async function recorded(tab) {
  const text = await tab.page.evaluate(async (ms) => {
    const camera = document.querySelector('#localVideo video').srcObject;
    const recorder = new MediaRecorder(new MediaStream(camera.getVideoTracks()), { mimeType: 'video/mp4;codecs=avc1' });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    recorder.start();
    setTimeout(() => recorder.stop(), ms);
    await stopped;
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  }, RECORDED_MS);
  return Buffer.from(text, 'base64');
}

/** The vendor's page for HLS, from WCS's port for pages: it plays from the port for HLS that it names itself. */
async function playsHls(stage, tab, name) {
  same(await tab.page.inputValue('#urlServer'), stage.host.url('http', PORTS.hls), 'where the page has HLS from');
  await tab.fill('playStream', name);
  await tab.click('applyBtn');
  const shown = () => tab.page.evaluate(() => {
    const video = document.getElementById('remoteVideo');
    return { width: video.videoWidth, frames: video.getVideoPlaybackQuality().totalVideoFrames, error: video.error?.message };
  });
  await until('the page shows the stream that it has by HLS', async () => {
    const { width, frames } = await shown();
    return width > 0 && frames > 10;
  }, { seen: shown });
}

/** REST and figures, asked as a page does: at the port that it names itself. */
async function restAnswers(stage, tab) {
  const [url, answer, figures] = await tab.page.evaluate(async () => {
    const url = getRestUrl();
    const body = JSON.stringify({ name: 'ä', limit: 1 });
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${url}/rest-api/stream/find`, { method: 'POST', headers, body });
    return [url, await answer.json(), await (await fetch(`${url}/?action=stat`)).text()];
  });
  same(url, stage.host.url('http', PORTS.http), 'where the page has REST from');
  same(answer, { method: 'POST', path: '/rest-api/stream/find', asked: { name: 'ä', limit: 1 } }, 'the answer of REST');
  check(/^connections=/m.test(figures), 'figures', figures);
}

/** The SDK's option lbUrl: what the server answers would be a way past the proxy. */
async function balanced(stage, tab) {
  const status = await tab.page.evaluate(() => new Promise((resolve) => {
    Flashphoner.init();
    const { ESTABLISHED, FAILED, DISCONNECTED } = Flashphoner.constants.SESSION_STATUS;
    const session = Flashphoner.createSession({ urlServer: 'ws://wcs.invalid:8080', lbUrl: `${getRestUrl()}/lb` });
    for (const status of [ESTABLISHED, FAILED, DISCONNECTED]) session.on(status, () => resolve(status));
  }));
  const sockets = (await tab.watch()).sockets.map(({ url }) => url);
  same([status, sockets], ['ESTABLISHED', [`${stage.host.url('ws', PORTS.ws)}/`]], 'a session by lbUrl');
}

/** All that the web root was asked came through Holdfast, and says from whom and how. */
function cameThrough(asked, wanted) {
  for (const request of asked) {
    check(/holdfast-/.test(request.via ?? ''), 'a request came through Holdfast', request);
    check(/^127\./.test(request['x-forwarded-for'] ?? ''), 'the server is told from whom', request);
  }
  for (const [kind, host, proto, end] of wanted) {
    const found = asked.some((one) => one.kind === kind && one.host === host && one['x-forwarded-proto'] === proto && one.url.endsWith(end));
    check(found, 'the server was asked for this', { kind, host, proto, end, asked: asked.length });
  }
}

/** The server is killed, with all its ports; clients hear so where they ask for pages, and nowhere else. */
async function killed(stage) {
  const { host, simulator } = stage;
  stage.notes.lostAt = Date.now();
  await Promise.all([host.kill(), simulator.kill()]);
  const gone = await fetch(host.url('http', PORTS.ws, TWO_WAY));
  same(gone.status, 502, 'pages of a server that is gone');
  await delay(DOWN_MS);
  await Promise.all([host.boot(), simulator.boot(stage.wanted.simulator)]);
  stage.notes.readyAt = simulator.readyAt;
}

/** The picture came from the server: it stood still while that was gone. */
async function stoodStill(tab, since) {
  const pauses = (await tab.pauses()).filter((pause) => pause.to > since);
  const longest = Math.max(0, ...pauses.map((pause) => pause.to - pause.from));
  check(longest >= DOWN_MS / 2, `${tab.name}: its picture stood still without the server`, pauses);
}

const IN_PLACE = {
  name: 'in place of WCS',
  title: "One host: the vendor's pages are loaded, publish, play by ws and wss through Holdfast; server and pages killed once",
  media: 'anchor',
  weight: 3,
  host: true,
  async play(stage) {
    const { host } = stage;
    const loading = watchLoading(stage.context);
    const name = stage.name('host');
    const plain = await twoWay(stage, `${name}-ws`, { page: 'http', session: 'ws' });
    const secure = await twoWay(stage, `${name}-wss`, { page: 'https', session: 'wss' });
    const scene = { stage, name, tabs: [plain, secure], status: ['connectStatus'] };

    host.publishHls(name, await recorded(plain), RECORDED_MS / 1_000);
    const viewer = await stage.open('hls-js-player', host.url('http', PORTS.http, HLS_PLAYER), 'proxy');
    await playsHls(stage, viewer, name);
    await restAnswers(stage, viewer);

    same(loading.bad, [], 'what pages could not load');
    same([...loading.origins].sort(), [['http', 'ws'], ['http', 'http'], ['http', 'hls'], ['https', 'wss']]
      .map(([scheme, port]) => host.url(scheme, PORTS[port])).sort(), 'where they loaded from');
    cameThrough(host.asked(), [
      ['web', `${host.address}:${PORTS.ws}`, 'http', TWO_WAY], ['web', `${host.address}:${PORTS.ws}`, 'http', '/flashphoner.js'],
      ['web', `${host.address}:${PORTS.wss}`, 'https', TWO_WAY], ['web', `${host.address}:${PORTS.http}`, 'http', HLS_PLAYER],
      ['web', `${host.address}:${PORTS.http}`, 'http', '/rest-api/stream/find'],
      ['hls', `${host.address}:${PORTS.hls}`, 'http', `/${name}/${name}.m3u8`], ['hls', `${host.address}:${PORTS.hls}`, 'http', '/0.m4s'],
    ]);

    await killed(stage);
    await undisturbed(scene, KILL);
    for (const tab of scene.tabs) await stoodStill(tab, stage.notes.lostAt);
    await sessionsUntouched(scene, { restarts: 0 });
    const lives = await stage.simulator.lives();
    wellMannered(lives);
    await oncePerEpoch(scene, KILL, lives, [], 'anchor');
    mediaMoved(lives.at(-1).state);

    // All else is as it was, too, for pages that were there and for one that comes.
    await restAnswers(stage, viewer);
    await viewer.page.reload();
    await playsHls(stage, viewer, name);
    await balanced(stage, viewer);
    cameThrough(host.asked(), [['web', `${host.address}:${PORTS.http}`, 'http', HLS_PLAYER], ['web', `${host.address}:${PORTS.http}`, 'http', '/lb']]);
    for (const tab of [...scene.tabs, viewer]) await tab.close();
    await nothingLeft(stage.simulator);
    wellMannered(await stage.simulator.lives());
    const outcome = await stage.proxy.stop();
    check(outcome.code === 0, 'the proxy ends well when it is asked to', outcome);
  },
};

export const ONE_HOST = [IN_PLACE];
