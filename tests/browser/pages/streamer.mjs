// Publishes in ESTABLISHED and previews what it publishes; the stream's name is the URL's path.

import { check, same } from '../harness/wait.mjs';
import { undisturbed } from './undisturbed.mjs';

export const streamer = {
  name: 'streamer',
  mode: 'restart',

  async open(stage, through, name = stage.name('streamer')) {
    const tab = await stage.open(`streamer ${through}`, '/examples/demo/streaming/streamer/streamer.html', through);
    await tab.fill('url', `${tab.server}/${name}`);
    return { stage, tabs: [tab], tab, name, status: ['status'] };
  },

  async start({ tab }) {
    await tab.click('publishBtn');
    await tab.untilLabel('status', 'PUBLISHING');
    await tab.untilFramesMove(1);
  },

  async startSlow({ stage, tab }) {
    stage.notes.pending = (stage.notes.pending ?? 0) + 1;
    await tab.click('publishBtn');
  },

  direct: {
    /** It publishes by itself; its session never ends. */
    async running({ tab, stage }, outage) {
      const { lostAt } = stage.notes;
      await tab.untilTold('status', 'PUBLISHING', lostAt, (outage.noticeMs ?? 15_000) + 5_000);
      await tab.untilFramesMove(1, { withinMs: 20_000 });
      await tab.untilPictureChanges('#remoteVideo video');
      const told = await tab.labels('status', lostAt);
      check(!told.includes('DISCONNECTED'), 'the page lost its session', told);
      if (!outage.repeated) {
        // The preview may fail before the publish or after it; the page shows both alike.
        const order = told.filter((text, index) => text !== told[index - 1]);
        check(['FAILED,PUBLISHING', 'FAILED,UNPUBLISHED,PUBLISHING'].includes(order.join()), 'what it was told', told);
      }
    },

    async slow({ tab }) {
      await tab.untilLabel('status', 'PUBLISHING');
      await tab.untilFramesMove(1);
      same(await tab.labels('status'), ['PUBLISHING'], 'what the publisher was told');
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => streamer.direct.slow(scene, outage),
  },
};
