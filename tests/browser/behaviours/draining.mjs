// An operator drains a node while pages publish and play on it, then kills it as for an upgrade: the pages hear
// nothing, and their pictures go on from the other node.

import { mediaGoesOn, toldNothing } from '../pages/undisturbed.mjs';
import { conference } from '../pages/conference.mjs';
import { player } from '../pages/player.mjs';
import { twoPlayers } from '../pages/two_players.mjs';
import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, same } from '../harness/wait.mjs';
import { mediaMoved, nothingLeft, wellMannered } from '../harness/verdict.mjs';

/** Longest time that a picture may stand still for a move. */
const STILL_MS_MAX = 500;

const drained = (page, { browser } = {}) => ({
  name: `node drained / ${page.name}${browser ? ` / ${browser}` : ''}`,
  title: 'A node is drained, killed and used again: pages move to the other one and hear nothing',
  media: 'anchor',
  browser,
  page,
  pool: true,
  weight: 2,
  async play(stage) {
    const scene = await page.open(stage, 'proxy');
    await page.start(scene);
    // All are on one node: the one where the first of them went.
    const nodes = { a: stage.simulator, b: stage.second };
    const from = (await stage.simulator.state()).now.sessions > 0 ? 'a' : 'b';
    const to = from === 'a' ? 'b' : 'a';
    const sessions = (await nodes[from].state()).now.sessions;
    const since = Date.now();
    const told = await stage.proxy.order('drain', from, '--wait');
    check(told.code === 0, 'the drain is done', told);
    same([told.json.moved, told.json.forced], [sessions, 0], 'sessions that moved, and that were forced');
    await nothingLeft(nodes[from]);
    wellMannered(await nodes[from].lives());
    await nodes[from].restart({ downMs: 200 });
    await stage.proxy.order('undrain', from);
    for (const tab of scene.tabs) {
      await mediaGoesOn(tab);
      await toldNothing(tab, since);
    }
    stage.notes.gapsMs = await stills(scene, since);
    check(stage.notes.gapsMs.every((gap) => gap <= STILL_MS_MAX), 'no picture stands still for long', stage.notes.gapsMs);
    const { state } = (await nodes[to].lives()).at(-1);
    mediaMoved(state);
    same(state.now.sessions, sessions, 'sessions on the other node');
    for (const tab of scene.tabs) await tab.close();
    await nothingLeft(nodes[to]);
    for (const node of Object.values(nodes)) wellMannered(await node.lives());
  },
});

/** Of each video that came from a server: its longest pause since then, 0 if none was long enough to be noted. */
async function stills(scene, since) {
  const found = [];
  for (const tab of scene.tabs) {
    const { gaps } = await tab.watch();
    const { videos } = await tab.media();
    for (const video of videos.filter(({ parent, frames }) => frames > 0 && !/local/i.test(parent ?? ''))) {
      const own = gaps.filter((gap) => gap.video === video.id && gap.parent === video.parent && gap.to >= since);
      found.push(Math.max(0, ...own.map((gap) => gap.to - gap.from)));
    }
  }
  return found;
}

/** What cannot move unseen waits, is named with the reason, and is not touched; by force it is restored elsewhere. */
const waits = {
  name: 'node drained / rooms wait',
  title: 'A node with rooms is drained: they wait, are named, and go to one other node by force; pages hear nothing',
  media: 'anchor',
  page: conference,
  pool: true,
  async play(stage) {
    const scene = await conference.open(stage, 'proxy');
    await conference.start(scene);
    const from = (await stage.simulator.state()).now.sessions > 0 ? 'a' : 'b';
    const since = Date.now();
    const told = await stage.proxy.order('drain', from);
    check(told.code === 0, 'the drain has begun', told);
    const left = await stage.proxy.untilDrain(from, (drain) => drain.stage === 'waiting');
    same([left.moved, left.left[0].sessions], [0, scene.tabs.length], 'moved, and waiting');
    check(/room/.test(left.left[0].reason), 'the reason is told', left.left);
    for (const tab of scene.tabs) {
      await mediaGoesOn(tab);
      await toldNothing(tab, since);
    }
    const forced = await stage.proxy.order('drain', from, '--wait', '--rate', '1', '--force-after', '1s');
    check(forced.code === 0, 'the drain is done', forced);
    same(forced.json.forced, scene.tabs.length, 'sessions that were forced');
    for (const tab of scene.tabs) {
      await mediaGoesOn(tab);
      await toldNothing(tab, since);
    }
    const nodes = { a: stage.simulator, b: stage.second };
    const to = nodes[from === 'a' ? 'b' : 'a'];
    await nothingLeft(nodes[from]);
    same((await to.state()).now.sessions, scene.tabs.length, 'sessions on the other node');
    for (const tab of scene.tabs) await tab.close();
    await nothingLeft(to);
    for (const node of [nodes[from], to]) wellMannered(await node.lives());
  },
};

export const DRAINING = [
  drained(twoWayStreaming),
  drained(twoPlayers),
  drained(player, { browser: 'firefox' }),
  waits,
];
