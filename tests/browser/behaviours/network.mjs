// The client's network: gone for a while, or bad all the time. The signaling sockets stay.

import { mediaGoesOn, toldNothing } from '../pages/undisturbed.mjs';
import { player } from '../pages/player.mjs';
import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, delay } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

/** No packet passes between browser and proxy for a while. ICE alone bears about 15 s of it. */
export const gone = (seconds, page, { revived, browser }) => ({
  name: `network gone for ${seconds} s${browser ? ` / ${browser}` : ''}`,
  title: `Client's network gone for ${seconds} s and back: media revived, no page notices`,
  media: 'anchor',
  network: true,
  browser,
  page,
  weight: seconds >= 10 ? 2 : 1,
  async play(stage) {
    const scene = await page.open(stage, 'proxy');
    await page.start(scene);
    const since = Date.now();
    stage.network.set({ gone: true });
    await delay(seconds * 1_000);
    stage.network.set({ gone: false });
    const backAt = Date.now();
    stage.notes.gapsMs = [];
    for (const tab of scene.tabs) {
      await mediaGoesOn(tab);
      await toldNothing(tab, since, { revived });
      const pauses = (await tab.watch()).gaps.filter((gap) => gap.from < backAt && gap.to >= backAt);
      check(pauses.length > 0, `${tab.name}: the picture stood still meanwhile`, (await tab.watch()).gaps);
      stage.notes.gapsMs.push(...pauses.map((gap) => gap.to - backAt));
      const credentials = await tab.messages((message) => message.name === 'setRemoteSDP', since);
      check(credentials.length > 0 === revived, `${tab.name}: new credentials`, credentials.length);
    }
    wellMannered(await stage.simulator.lives());
  },
});

/** A leg is revived after 5 s of silence. */
export const NETWORK = [
  gone(2, twoWayStreaming, { revived: false }),
  gone(10, player, { revived: true }),
  gone(30, twoWayStreaming, { revived: true }),
];
