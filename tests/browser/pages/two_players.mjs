// 2players: two plays on one session, without code to start them again. Beside it the auto-restore
// page publishes both.

import { same } from '../harness/wait.mjs';
import { autoRestore } from './stream_auto_restore.mjs';
import { undisturbed } from './undisturbed.mjs';

export const twoPlayers = {
  name: '2players',
  mode: 'notify',

  async open(stage, through) {
    const source = await autoRestore.open(stage, through, { plays: false });
    const tab = await stage.open(`2players ${through}`, '/examples/demo/streaming/2players/2players.html', through);
    await tab.fill('url', tab.server);
    await tab.click('connectBtn');
    await tab.untilLabel('connectStatus', 'ESTABLISHED');
    for (const index of [1, 2]) await tab.fill(`streamName${index}`, source.name);
    return { stage, tabs: [source.tab, tab], tab, source, name: source.name, status: ['connectStatus'] };
  },

  async start({ tab, source }) {
    await autoRestore.start(source);
    await playBoth(tab);
  },

  async startSlow({ source }) {
    await autoRestore.startSlow(source);
  },

  direct: {
    async running({ tab, source, stage }, outage) {
      const { lostAt } = stage.notes;
      for (const index of [1, 2]) await tab.untilTold(`status${index}`, 'FAILED', lostAt, outage.noticeMs);
      await autoRestore.direct.running(source, outage);
      await playBoth(tab);
      for (const index of [1, 2]) {
        same(await tab.labels(`status${index}`, lostAt), ['FAILED', 'PLAYING'], `what player ${index} was told`);
      }
    },

    async slow({ tab, source }) {
      await autoRestore.direct.slow(source);
      await playBoth(tab);
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => twoPlayers.direct.slow(scene, outage),
  },
};

async function playBoth(tab) {
  for (const index of [1, 2]) {
    await tab.click(`playBtn${index}`);
    await tab.untilLabel(`status${index}`, 'PLAYING');
  }
  await tab.untilFramesMove(2);
  await tab.untilPictureChanges('#player2 video');
}
