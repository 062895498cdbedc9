// Publishers whose video changes its codec, pauses or never comes, anchored: the pages that watch
// them notice nothing, and nor do they.

import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { mediaGoesOn, toldNothing } from '../pages/undisturbed.mjs';
import { check, delay, same, until } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

const H264_FIRST = { streams: { prefer_codecs: ['H264'] } };
/** "About a second" on a machine that does other things as well. */
const PAUSE_MS_MAX = 3_000;

/** A page that publishes and plays, and another one that plays the same. */
async function publisherAndPlayer(stage) {
  const scene = await twoWayStreaming.open(stage, 'proxy');
  await twoWayStreaming.start(scene);
  const tab = await stage.open('player', '/examples/demo/streaming/player/player.html', 'proxy');
  await tab.fill('url', tab.server);
  await tab.fill('streamName', scene.name);
  await tab.click('playBtn');
  await tab.untilLabel('status', 'PLAYING');
  await tab.untilFramesMove(1);
  return { ...scene, tabs: [scene.tab, tab] };
}

const codecSent = async (tab) => (await tab.media()).peers.map((peer) => peer.out_video?.codec).find(Boolean);

/** Puts a drawn picture in the camera's place; `__drawing` says whether it moves. */
function showCanvas(tab, width, height) {
  return tab.page.evaluate(async ([width, height]) => {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    window.__drawing = true;
    let count = 0;
    const draw = () => {
      if (!window.__drawing) return;
      count += 1;
      context.fillStyle = `hsl(${count * 7 % 360} 80% 50%)`;
      context.fillRect(0, 0, width, height);
      context.fillStyle = 'black';
      context.fillRect(count * 5 % width, 0, width / 4, height);
    };
    draw();
    setInterval(draw, 50);
    const [track] = canvas.captureStream(20).getVideoTracks();
    for (const { peer } of window.__watch.peers) {
      for (const sender of peer.getSenders()) {
        if (sender.track?.kind === 'video') await sender.replaceTrack(track);
      }
    }
  }, [width, height]);
}

/** The next peer connection of the page sends no video although it is to. */
const sendNoVideo = (tab) => tab.page.evaluate(() => {
  const plain = RTCPeerConnection.prototype.setLocalDescription;
  RTCPeerConnection.prototype.setLocalDescription = async function silently(...args) {
    await plain.apply(this, args);
    const sender = this.getSenders().find((one) => one.track?.kind === 'video');
    await sender?.replaceTrack(null);
    RTCPeerConnection.prototype.setLocalDescription = plain;
  };
});

const changes = (name, title, change) => ({
  name,
  title,
  media: 'anchor',
  simulator: H264_FIRST,
  async play(stage) {
    const scene = await publisherAndPlayer(stage);
    same(await codecSent(scene.tab), 'H264', 'the codec at first');
    const since = Date.now();
    await change(scene.tab);
    await until('VP8 is sent', async () => (await codecSent(scene.tab)) === 'VP8', {
      withinMs: 20_000, seen: () => scene.tab.media(),
    });
    stage.notes.gapsMs = [];
    for (const tab of scene.tabs) {
      await until(`${tab.name}: VP8 is decoded`, async () => (
        (await tab.media()).peers.some((peer) => peer.in_video?.codec === 'VP8')), { seen: () => tab.media() });
      await mediaGoesOn(tab);
      await toldNothing(tab, since);
      const pauses = (await tab.pauses()).filter((gap) => gap.to >= since);
      stage.notes.gapsMs.push(Math.max(0, ...pauses.map((gap) => gap.to - gap.from)));
    }
    check(Math.max(...stage.notes.gapsMs) < PAUSE_MS_MAX, 'how long pictures stood still', stage.notes.gapsMs);
    wellMannered(await stage.simulator.lives());
  },
});

export const ENCODER = [
  changes('H264 encoder fails', 'Publisher whose H264 encoder fails (a canvas too large): VP8, no page notices',
    // Wider than H264 encoders take, and yet few pixels.
    (tab) => showCanvas(tab, 12_000, 64)),
  changes('page forces VP8', 'Publisher whose page changes from H264 to VP8 itself: no page notices', (tab) => (
    tab.page.evaluate(async () => {
      for (const { peer } of window.__watch.peers) {
        const sender = peer.getSenders().find((one) => one.track?.kind === 'video');
        if (!sender) continue;
        const parameters = sender.getParameters();
        const codec = parameters.codecs.find((one) => one.mimeType === 'video/VP8');
        parameters.encodings.forEach((encoding) => { encoding.codec = codec; });
        await sender.setParameters(parameters);
      }
    }))),
  {
    name: 'publisher never sends video',
    title: 'Publisher that never sends video: not told anything, its next publish goes without H264',
    media: 'anchor',
    simulator: H264_FIRST,
    async play(stage) {
      const { tab } = await twoWayStreaming.open(stage, 'proxy');
      // An encoder that works and yields nothing.
      await sendNoVideo(tab);
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'PUBLISHING');
      // Three checks of 500 ms count from the standing connection.
      await until('the log says so', () => /"event":"no_video"/.test(stage.proxy.child.text), { withinMs: 10_000 });
      await delay(3_000);
      same(await tab.labels('publishStatus'), ['PUBLISHING'], 'what the publisher was told');
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'UNPUBLISHED');
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'PUBLISHING');
      await until('VP8 is sent', async () => (await codecSent(tab)) === 'VP8', { seen: () => tab.media() });
      const answer = await tab.page.evaluate(() => window.__watch.peers.at(-1).peer.remoteDescription.sdp);
      check(!/H264/i.test(answer) && /VP8/.test(answer), 'the next answer goes without H264', answer);
      same(await tab.labels('connectStatus'), ['ESTABLISHED'], 'what the session was told');
      wellMannered(await stage.simulator.lives());
    },
  },
  {
    name: 'publisher never sends video, older check',
    title: 'The same with check_bitrate = "never_sent": FAILED within 3 s',
    media: 'anchor',
    simulator: H264_FIRST,
    proxy: '[app.defaultApp]\ncheck_bitrate = "never_sent"\n',
    async play(stage) {
      const { tab } = await twoWayStreaming.open(stage, 'proxy');
      await sendNoVideo(tab);
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'FAILED', 10_000);
      const { labels } = await tab.watch();
      const at = (text) => labels.find((label) => label.id === 'publishStatus' && label.text === text)?.at;
      const took = at('FAILED') - at('PUBLISHING');
      check(took < 5_000, 'how long it took', took);
      wellMannered(await stage.simulator.lives());
    },
  },
  {
    name: 'publisher pauses',
    title: 'Publisher that sends nothing for 10 s (a still canvas): no page notices, the picture goes on',
    media: 'anchor',
    simulator: H264_FIRST,
    async play(stage) {
      const scene = await publisherAndPlayer(stage);
      await showCanvas(scene.tab, 320, 240);
      await mediaGoesOn(scene.tab);
      const since = Date.now();
      await scene.tab.page.evaluate(() => { window.__drawing = false; });
      await delay(10_000);
      await scene.tab.page.evaluate(() => { window.__drawing = true; });
      for (const tab of scene.tabs) {
        await mediaGoesOn(tab);
        await toldNothing(tab, since);
        const pauses = (await tab.pauses()).filter((gap) => gap.to >= since);
        check(pauses.some((gap) => gap.to - gap.from > 5_000), `${tab.name}: the picture stood still meanwhile`, pauses);
      }
      wellMannered(await stage.simulator.lives());
    },
  },
];
