// What is different with Firefox: its media cannot be given new addresses, for it waits for an answer
// that the SDK never makes. It bears about 25 s without network; what was gone for longer is told as
// soon as its signaling is heard again, and starts anew by a click.

import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, delay, same } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';
import { gone } from './network.mjs';

/** From the network's return to FAILED: the client answers a ping by then. */
const TOLD_MS_MAX = 6_000;

export const FIREFOX = [
  gone(10, twoWayStreaming, { revived: false, browser: 'firefox' }),
  {
    name: 'network gone for 40 s / firefox',
    title: "Firefox's network gone for 40 s and back: FAILED at once, a click starts anew",
    media: 'anchor',
    browser: 'firefox',
    network: true,
    page: twoWayStreaming,
    weight: 2,
    async play(stage) {
      const relay = await stage.relay('proxy');
      const scene = await twoWayStreaming.open(stage, 'proxy', { server: relay.url });
      await twoWayStreaming.start(scene);
      const { tab } = scene;
      const since = Date.now();
      relay.hold(true);
      stage.network.set({ gone: true });
      await delay(40_000);
      same(await tab.labels('publishStatus', since), [], 'what the publisher was told without network');
      stage.network.set({ gone: false });
      relay.hold(false);
      const backAt = Date.now();
      await tab.untilLabel('publishStatus', 'FAILED', TOLD_MS_MAX);
      await tab.untilLabel('playStatus', 'FAILED', TOLD_MS_MAX);
      stage.notes.gapsMs = [Date.now() - backAt];
      const credentials = await tab.messages((message) => message.name === 'setRemoteSDP', since);
      check(credentials.length === 0, 'nobody tried to revive it', credentials.length);
      await twoWayStreaming.start(scene);
      wellMannered(await stage.simulator.lives());
    },
  },
];
