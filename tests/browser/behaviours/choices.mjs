// What a user does during an outage is done, and is never undone by a replay.

import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, delay, same } from '../harness/wait.mjs';
import { nothingLeft, wellMannered } from '../harness/verdict.mjs';

const DOWN_MS = 3_000;

/** Starts the page, kills the server, lets the user act, brings the server back: what the user is answered meanwhile
 * is the proxy's. */
async function during(stage, act) {
  const scene = await twoWayStreaming.open(stage, 'proxy');
  await twoWayStreaming.start(scene);
  await stage.simulator.kill();
  await act(scene);
  await delay(DOWN_MS);
  await stage.simulator.boot();
  return scene;
}

/** Long enough for a replay that must not come. */
async function nothingReplayed(stage, { sessions }) {
  if (sessions > 0) await stage.simulator.until('the session is back', (state) => state.now.sessions === sessions);
  await delay(4_000);
  const lives = await stage.simulator.lives();
  const { asked } = lives.at(-1).state.counters;
  same(asked.connection ?? 0, sessions, 'connections to the new server');
  same([asked.publishStream ?? 0, asked.playStream ?? 0], [0, 0], 'publishes and plays at the new server');
  wellMannered(lives);
}

export const CHOICES = [
  {
    name: 'stop in an outage',
    title: 'Publish and play stopped by hand in an outage: answered at once, nothing replayed',
    async play(stage) {
      const scene = await during(stage, async ({ tab }) => {
        await tab.click('publishBtn');
        await tab.untilLabel('publishStatus', 'UNPUBLISHED');
        await tab.click('playBtn');
        await tab.untilLabel('playStatus', 'STOPPED');
      });
      await nothingReplayed(stage, { sessions: 1 });
      same(await scene.tab.labels('publishStatus'), ['PUBLISHING', 'UNPUBLISHED'], 'what the publisher was told');
      same(await scene.tab.labels('playStatus'), ['PLAYING', 'STOPPED'], 'what the player was told');
      same(await scene.tab.labels('connectStatus'), ['ESTABLISHED'], 'what the session was told');
    },
  },
  {
    name: 'disconnect in an outage',
    title: 'Disconnected by hand in an outage: nothing comes back',
    async play(stage) {
      const scene = await during(stage, async ({ tab }) => {
        await tab.click('connectBtn');
        await tab.untilLabel('connectStatus', 'DISCONNECTED');
      });
      await nothingReplayed(stage, { sessions: 0 });
      const { sockets } = await scene.tab.watch();
      check(sockets.length === 1, 'the page opened no other socket', sockets.length);
    },
  },
  {
    name: 'page closed in an outage',
    title: 'Page closed in an outage: nothing comes back',
    async play(stage) {
      await during(stage, ({ tab }) => tab.close());
      await nothingReplayed(stage, { sessions: 0 });
    },
  },
  {
    name: 'page closed while running',
    title: 'Page closed while the server is well: the server lets go of everything within a second',
    async play(stage) {
      const scene = await twoWayStreaming.open(stage, 'proxy');
      await twoWayStreaming.start(scene);
      await scene.tab.close();
      await nothingLeft(stage.simulator);
      wellMannered(await stage.simulator.lives());
    },
  },
];
