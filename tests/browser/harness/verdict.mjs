// What must hold in every case, whatever the page: sockets, epochs, intents, manners, counters.

import { check, delay, same, until } from './wait.mjs';

/** The sockets of the pages behind the proxy stayed open, and sessions were established once. */
export async function sessionsUntouched(scene, { restarts }) {
  for (const tab of scene.tabs) {
    const signaling = (await tab.watch()).sockets.filter((socket) => socket.kind === 'signaling');
    check(signaling.length === 1 && signaling[0].closed === null && !signaling[0].failed,
      `${tab.name}: the one signaling socket stays open`, signaling.map(({ messages, ...rest }) => rest));
    const established = signaling[0].messages.filter((message) => message.name === 'getUserData').length;
    check(established === 1 || (restarts > 0 && established <= 1 + restarts),
      `${tab.name}: how often the session was established`, established);
  }
  if (restarts === 0) {
    for (const id of scene.status) {
      for (const tab of scene.tabs) {
        const told = (await tab.labels(id)).filter((text) => ['DISCONNECTED', 'FAILED'].includes(text));
        if (id === 'connectStatus' || scene.statusIsSession) same(told, [], `${tab.name}: what the session was told`);
      }
    }
  }
}

/** No client misbehaved in any life of the server. */
export function wellMannered(lives) {
  for (const { state } of lives) same(state.violations.list, [], 'violations that the server saw');
}

const total = (lives, pick) => lives.reduce((sum, { state }) => sum + pick(state.counters), 0);
const ofScene = (counts, name) => Object.entries(counts)
  .filter(([key]) => key.startsWith(name)).reduce((sum, [, count]) => sum + count, 0);
const retries = (lives, verb) => total(lives, ({ outcomes }) => Object.entries(outcomes)
  .filter(([key]) => key.startsWith(`${verb}: `) && key !== `${verb}: accepted`)
  .reduce((sum, [, count]) => sum + count, 0));

/** One `connection` per epoch; intents only as often as the clients stated them, plus what is owed. */
export async function oncePerEpoch(scene, outage, lives, direct, media) {
  const own = direct.flatMap((watch) => watch.sockets)
    .filter((socket) => socket.kind === 'signaling' && socket.opened !== null).length;
  const connections = total(lives, ({ asked }) => asked.connection ?? 0) - own;
  // A page that connected only after the outage has its one epoch.
  let expected = 0;
  for (const tab of scene.tabs) {
    const { sockets } = await tab.watch();
    expected += sockets[0].opened < scene.stage.notes.lostAt ? outage.epochs : 1;
  }
  same(connections, expected, 'connections through the proxy, all epochs together');
  for (const [verb, message, key] of [['publish', 'publishStream', 'publishes'], ['play', 'playStream', 'plays']]) {
    const asked = total(lives, (counters) => ofScene(counters[key], scene.name));
    let stated = 0;
    for (const tab of scene.tabs) stated += (await tab.messages((line) => line.name === message)).length;
    const waited = outage.slow && verb === 'publish' ? 1 : 0;
    // Anchored streams are stated again in each epoch; in direct media only what MSE players play.
    const replays = media === 'anchor' ? stated : verb === 'play' ? scene.replays ?? 0 : 0;
    const replayed = replays * (outage.epochs - 1);
    const most = stated + waited + replayed + retries(lives, verb);
    check(asked <= most, `${verb}: asked of the server more often than stated and retried`,
      { asked, stated, waited, replayed, retries: retries(lives, verb), outcomes: lives.map(({ state }) => state.counters.outcomes) });
  }
}

/** Media went through the present server in both directions. */
export function mediaMoved(state) {
  const totals = mediaTotals(state);
  const [received, sent] = [totals.packets_received, totals.packets_sent + totals.mse_records];
  check(received > 0 && sent > 0, 'RTP moves in both directions', { received, sent });
}

export function mediaTotals(state) {
  return state.media?.totals ?? {};
}

/** After the pages are gone the server holds nothing of theirs. */
export async function nothingLeft(simulator) {
  await until('the server holds no session and no stream', async () => {
    const { now } = await simulator.state();
    return now.sessions === 0 && now.publishes === 0 && now.plays === 0;
  }, { withinMs: 10_000, seen: async () => (await simulator.state()).now });
}

/** The control: streams that were there before the loss are dead, or stood still all the time. */
export async function died(scene, outage) {
  const { lostAt } = scene.stage.notes;
  if (outage.stillMs) return stoodStill(scene, outage.stillMs);
  for (const tab of scene.tabs) {
    const { sockets, peers } = await tab.watch();
    if (!outage.silent) {
      const before = sockets.filter((socket) => socket.opened !== null && socket.opened < lostAt);
      check(before.length > 0 && before.every((socket) => socket.closed !== null), `${tab.name}: its socket is lost`,
        before.map((socket) => socket.closed));
    }
    const old = peers.filter((peer) => peer.created < lostAt).length;
    const counts = async () => {
      const { decoded, videos } = await tab.frames();
      return JSON.stringify([decoded.slice(0, old), scene.restoresItself ? [] : remote(await tab.media(), videos)]);
    };
    let last = await counts();
    await until(`${tab.name}: its old streams stand still`, async () => {
      await delay(2_000);
      const present = await counts();
      const still = present === last;
      last = present;
      return still;
    }, { withinMs: 30_000, seen: counts });
  }
}

async function stoodStill(scene, stillMs) {
  const longest = async (tab) => Math.max(0, ...(await tab.pauses()).map((gap) => gap.to - gap.from));
  const receiving = [];
  for (const tab of scene.tabs) {
    // The SDK's MSE player empties itself when the thawed server's time jumps, and stays empty: what
    // it has shown is then known from its pause alone.
    const shows = (await tab.media()).videos.some((video) => !/local/i.test(video.parent ?? '') && video.frames > 0);
    if (shows || (await longest(tab)) > 0) receiving.push(tab);
  }
  check(receiving.length > 0, 'a control receives video', scene.tabs.map((tab) => tab.name));
  for (const tab of receiving) {
    await until(`${tab.name}: its picture stood still for ${stillMs} ms`, async () => (await longest(tab)) >= stillMs, {
      withinMs: 30_000, seen: () => longest(tab),
    });
  }
}

// Frames of the videos that show what came from the server; a camera's own picture goes on.
const remote = ({ videos }) => videos.filter((video) => !/local/i.test(video.parent ?? '')).map((video) => video.frames);
