// The player page with the SDK's MSE player: media comes through a second WebSocket. Beside it the
// auto-restore page publishes H264, the codec that the player needs.

import { check, same, until } from '../harness/wait.mjs';
import { autoRestore } from './stream_auto_restore.mjs';
import { undisturbed } from './undisturbed.mjs';

export const msePlayer = {
  name: 'player (MSE)',
  mode: 'notify',
  simulator: { streams: { prefer_codecs: ['H264'], single_codec: true } },
  /** Plays that the proxy states again by itself in each epoch. */
  replays: 1,

  async open(stage, through) {
    const source = await autoRestore.open(stage, through, { plays: false });
    const path = '/examples/demo/streaming/player/player.html?mediaProvider=MSE';
    const tab = await stage.open(`player MSE ${through}`, path, through);
    // The media socket belongs to a worker, which the observer does not see: count outside.
    const relay = await stage.relay(through);
    await tab.fill('url', relay.url);
    await tab.fill('streamName', source.name);
    return { stage, tabs: [source.tab, tab], tab, source, relay, name: source.name, status: ['status'] };
  },

  async start(scene) {
    const { tab, source, relay } = scene;
    await autoRestore.start(source);
    await play(tab);
    scene.sockets = { ...relay.counts };
  },

  async startSlow({ source }) {
    await autoRestore.startSlow(source);
  },

  direct: {
    /** The picture goes on; the page hears nothing. */
    async running(scene, outage) {
      await autoRestore.direct.running(scene.source, outage);
      await goesOn(scene);
    },

    async slow({ tab, source }) {
      await autoRestore.direct.slow(source);
      await play(tab);
    },
  },

  anchor: {
    /** The publisher beside it notices nothing either. */
    async running(scene, outage) {
      await undisturbed({ ...scene, tabs: [scene.source.tab] }, outage);
      await goesOn(scene);
    },
    slow: (scene, outage) => msePlayer.direct.slow(scene, outage),
  },
};

/** Presses Play until the picture moves. */
async function play(tab) {
  await tab.click('playBtn');
  await tab.untilLabel('status', 'PLAYING');
  try {
    await untilPlaying(tab, 8_000);
  } catch {
    // With any server: the SDK's player waits for ever when its very first frames come unevenly, as
    // on a busy machine, because the browser drops frames behind a hole and it skips none at 0 s.
    await tab.click('playBtn');
    await tab.untilLabel('status', 'STOPPED');
    await tab.click('playBtn');
    await tab.untilLabel('status', 'PLAYING');
    await untilPlaying(tab);
  }
}

async function goesOn({ tab, stage, relay, sockets }) {
  await untilPlaying(tab, 30_000);
  await tab.untilPictureChanges('#remoteVideo video');
  same(await tab.labels('status', stage.notes.lostAt), [], 'what the player was told');
  same(relay.counts, sockets, 'its sockets, signaling and media, stay open');
  check(sockets.opened >= 2, 'it had both', sockets);
}

/** Waits until the player's clock runs and pictures are decoded. */
async function untilPlaying(tab, withinMs = 15_000) {
  const video = async () => (await tab.media()).videos.find((video) => video.parent === 'remoteVideo');
  const before = await video();
  await until(`${tab.name}: pictures move`, async () => {
    const now = await video();
    return now && now.frames > (before?.frames ?? 0) + 15 && now.time > (before?.time ?? 0) + 0.5;
  }, { withinMs, seen: async () => ({ before, now: await video() }) });
}
