// Publishes and plays its own stream; has no code to start anything again.

import { same } from '../harness/wait.mjs';
import { undisturbed } from './undisturbed.mjs';

export const twoWayStreaming = {
  name: 'two_way_streaming',
  mode: 'notify',

  async open(stage, through, { server } = {}) {
    const path = '/examples/demo/streaming/two_way_streaming/two_way_streaming.html';
    const tab = await stage.open(`two_way_streaming ${through}`, path, through);
    const name = stage.name('two');
    await tab.fill('urlServer', server ?? tab.server);
    await twoWayStreaming.connect(tab, name);
    return { stage, tabs: [tab], tab, name, status: ['connectStatus'] };
  },

  /** Connects to the server that stands in the page. */
  async connect(tab, name) {
    await tab.click('connectBtn');
    await tab.untilLabel('connectStatus', 'ESTABLISHED');
    await tab.fill('publishStream', name);
    await tab.fill('playStream', name);
  },

  async start({ tab }) {
    await tab.click('publishBtn');
    await tab.untilLabel('publishStatus', 'PUBLISHING');
    await tab.click('playBtn');
    await tab.untilLabel('playStatus', 'PLAYING');
    await tab.untilFramesMove(1);
  },

  /** Asks for a publish and leaves it unanswered. */
  async startSlow({ stage, tab }) {
    stage.notes.pending = (stage.notes.pending ?? 0) + 1;
    await tab.click('publishBtn');
  },

  direct: {
    /** Both streams are reported once on the living session; a click starts them at once. */
    async running({ tab, stage }, outage) {
      const { lostAt } = stage.notes;
      await tab.untilLabel('publishStatus', 'FAILED', outage.noticeMs);
      await tab.untilLabel('playStatus', 'FAILED', outage.noticeMs);
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'PUBLISHING', 10_000);
      await tab.click('playBtn');
      await tab.untilLabel('playStatus', 'PLAYING', 10_000);
      await tab.untilFramesMove(1);
      await tab.untilPictureChanges('#remoteVideo video');
      same(await tab.labels('publishStatus', lostAt), ['FAILED', 'PUBLISHING'], 'what the publisher was told');
      same(await tab.labels('playStatus', lostAt), ['FAILED', 'PLAYING'], 'what the player was told');
    },

    /** The publish that waited is answered by the next server. */
    async slow({ tab }) {
      await tab.untilLabel('publishStatus', 'PUBLISHING');
      await tab.click('playBtn');
      await tab.untilLabel('playStatus', 'PLAYING');
      await tab.untilFramesMove(1);
      same(await tab.labels('publishStatus'), ['PUBLISHING'], 'what the publisher was told');
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => twoWayStreaming.direct.slow(scene, outage),
  },
};
