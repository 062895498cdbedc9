// A server that takes no H264: VP8 goes through and the page notices nothing.

import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, same } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

export const CODECS = [
  {
    name: 'H264 refused',
    title: 'H264 refused by the server: VP8 without the page noticing',
    simulator: { streams: { refuse_publish_codecs: ['H264'] } },
    async play(stage) {
      const scene = await twoWayStreaming.open(stage, 'proxy');
      await twoWayStreaming.start(scene);
      const { tab } = scene;
      same(await tab.labels('publishStatus'), ['PUBLISHING'], 'what the publisher was told');
      const publishes = await tab.messages((message) => message.name === 'publishStream');
      same(publishes.length, 1, 'publishes of the page');
      const { peers } = await tab.media();
      same(peers.map((peer) => peer.out_video?.codec).filter(Boolean), ['VP8'], 'the codec that is sent');
      const lives = await stage.simulator.lives();
      const { outcomes } = lives[0].state.counters;
      check(outcomes['publish: accepted'] === 1 && Object.keys(outcomes).some((key) => /publish: .*codec/i.test(key)),
        'refused once, accepted once', outcomes);
      wellMannered(lives);
    },
  },
  {
    name: 'H264 and VP8 refused',
    title: 'Both codecs refused: FAILED once, as the server says it',
    simulator: { streams: { refuse_publish_codecs: ['H264', 'VP8'] } },
    async play(stage) {
      const { tab } = await twoWayStreaming.open(stage, 'proxy');
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'FAILED');
      same(await tab.labels('publishStatus'), ['FAILED'], 'what the publisher was told');
      wellMannered(await stage.simulator.lives());
    },
  },
];
