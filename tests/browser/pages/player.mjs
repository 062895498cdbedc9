// Plays in ESTABLISHED. Beside it a streamer publishes what is played.

import { same } from '../harness/wait.mjs';
import { streamer } from './streamer.mjs';
import { undisturbed } from './undisturbed.mjs';

export const player = {
  name: 'player',
  mode: 'restart',

  async open(stage, through) {
    const source = await streamer.open(stage, through);
    const tab = await stage.open(`player ${through}`, '/examples/demo/streaming/player/player.html', through);
    await tab.fill('url', tab.server);
    await tab.fill('streamName', source.name);
    return { stage, tabs: [source.tab, tab], tab, source, name: source.name, status: ['status'] };
  },

  async start({ tab, source }) {
    await streamer.start(source);
    await tab.click('playBtn');
    await tab.untilLabel('status', 'PLAYING');
    await tab.untilFramesMove(1);
  },

  /** Publisher and player both wait for their answers. */
  async startSlow({ tab, source, stage }) {
    await streamer.startSlow(source);
    await stage.simulator.until('the publish is there', (state) => state.now.streams_pending === 1);
    stage.notes.playerWaits = true;
  },

  direct: {
    async running({ tab, source, stage }, outage) {
      await streamer.direct.running(source, outage);
      const { lostAt } = stage.notes;
      await tab.untilTold('status', 'PLAYING', lostAt, (outage.noticeMs ?? 15_000) + 5_000);
      await tab.untilFramesMove(1, { withinMs: 20_000 });
      await tab.untilPictureChanges('#remoteVideo video');
      if (!outage.repeated) {
        same(await tab.labels('status', lostAt), ['FAILED', 'ESTABLISHED', 'PLAYING'], 'what the player was told');
      }
    },

    async slow({ tab, source }) {
      await streamer.direct.slow(source);
      await tab.click('playBtn');
      await tab.untilLabel('status', 'PLAYING');
      await tab.untilFramesMove(1);
      same(await tab.labels('status'), ['ESTABLISHED', 'PLAYING'], 'what the player was told');
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => player.direct.slow(scene, outage),
  },
};
