// A room of two pages that are sent to two nodes: they meet on one of them, and when that is killed on the other.

import { mediaGoesOn, toldNothing } from '../pages/undisturbed.mjs';
import { conference } from '../pages/conference.mjs';
import { check, same } from '../harness/wait.mjs';
import { nothingLeft, wellMannered } from '../harness/verdict.mjs';

const meets = {
  name: 'rooms meet on one of two nodes',
  title: 'The pages of a room are sent to two nodes: they see each other, also after the room\'s node is killed',
  media: 'anchor',
  page: conference,
  pool: true,
  async play(stage) {
    const scene = await conference.open(stage, 'proxy');
    await conference.start(scene);
    const nodes = [stage.simulator, stage.second];
    const sessions = await Promise.all(nodes.map(async (node) => (await node.state()).now.sessions));
    check(sessions.includes(scene.tabs.length) && sessions.includes(0), 'all are on one node', sessions);
    const came = await Promise.all(nodes.map(async (node) => (
      (await node.journal()).filter((entry) => entry.what === 'session').length)));
    check(came.every((count) => count > 0), 'each node was sent one of them', came);
    const since = Date.now();
    const [from, to] = sessions[0] > 0 ? nodes : [...nodes].reverse();
    await from.kill();
    for (const tab of scene.tabs) {
      await mediaGoesOn(tab);
      await toldNothing(tab, since);
    }
    same((await to.state()).now.sessions, scene.tabs.length, 'sessions on the other node');
    for (const tab of scene.tabs) await tab.close();
    await nothingLeft(to);
    wellMannered(await to.lives());
  },
};

export const ROOMS = [meets];
