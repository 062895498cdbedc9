// The vendor's page that restores by itself: on FAILED it clicks Publish and Play every 3 s.
// It checks its bitrate, and changes from H264 to VP8 when nothing leaves any more; with VP8 it
// gives up. So the server prefers H264 here, as that is the path on which the page goes on.

import { check, same, until } from '../harness/wait.mjs';
import { undisturbed } from './undisturbed.mjs';

export const autoRestore = {
  name: 'stream-auto-restore',
  mode: 'notify',
  simulator: { streams: { prefer_codecs: ['H264'] } },
  restoresItself: true,

  async open(stage, through, { plays = true } = {}) {
    const path = '/examples/demo/streaming/stream-auto-restore/stream-auto-restore.html';
    const tab = await stage.open(`stream-auto-restore ${through}`, path, through);
    const name = stage.name('auto');
    await tab.fill('urlServer', tab.server);
    await tab.click('connectBtn');
    await tab.untilLabel('connectStatus', 'ESTABLISHED');
    await tab.fill('publishStream', name);
    await tab.fill('playStream', name);
    return { stage, tabs: [tab], tab, name, plays, status: ['connectStatus'] };
  },

  async start({ tab, plays, stage, name }) {
    await tab.click('publishBtn');
    await tab.untilLabel('publishStatus', 'PUBLISHING');
    if (plays) {
      await tab.click('playBtn');
      await tab.untilLabel('playStatus', 'PLAYING');
      await tab.untilFramesMove(1);
    } else {
      await untilSending(tab, stage, name);
    }
  },

  async startSlow({ stage, tab }) {
    stage.notes.pending = (stage.notes.pending ?? 0) + 1;
    await tab.click('publishBtn');
  },

  direct: {
    /** The page and the proxy do not fight: one publish brings the stream back. */
    async running({ tab, stage, plays, name }, outage) {
      const { lostAt, readyAt } = stage.notes;
      const withinMs = (outage.noticeMs ?? 15_000) + 5_000;
      await tab.untilTold('publishStatus', 'PUBLISHING', lostAt, withinMs);
      if (plays) {
        await tab.untilTold('playStatus', 'PLAYING', lostAt, withinMs);
        await tab.untilFramesMove(1);
        await tab.untilPictureChanges('#remoteVideo video');
      } else {
        await untilSending(tab, stage, name);
      }
      const since = outage.repeated ? readyAt : lostAt;
      const told = await tab.labels('publishStatus', since);
      same(told.filter((text) => text === 'PUBLISHING').length, 1, 'how often it had to publish');
      if (!outage.long && !outage.silent && !outage.repeated) {
        same(told, ['FAILED', 'PUBLISHING'], 'what the publisher was told');
        const publishes = await tab.messages((message) => message.name === 'publishStream', lostAt);
        check(publishes.length === 1, 'exactly one publish per outage', publishes);
      }
    },

    async slow({ tab, stage, name, plays }) {
      await tab.untilLabel('publishStatus', 'PUBLISHING');
      if (plays) {
        await tab.click('playBtn');
        await tab.untilLabel('playStatus', 'PLAYING');
        await tab.untilFramesMove(1);
      } else {
        await untilSending(tab, stage, name);
      }
      same(await tab.labels('publishStatus'), ['PUBLISHING'], 'what the publisher was told');
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => autoRestore.direct.slow(scene, outage),
  },
};

async function untilSending(tab, stage, name) {
  await stage.simulator.until(`${name} is published`, (state) => (
    state.streams.some((stream) => stream.name === name && stream.progress === 'live')));
  const before = Math.max(...(await tab.frames()).sent);
  await until(`${tab.name}: video leaves`, async () => Math.max(...(await tab.frames()).sent) > before + 20);
}
