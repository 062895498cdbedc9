// What must be seen of any page when the proxy carries the media itself: nothing at all, except that
// the picture stands still for a moment.

import { same, until } from '../harness/wait.mjs';

/** Nothing was said to the page, its peer connections are the ones it had, frames are decoded again. */
export async function undisturbed(scene, outage) {
  const { lostAt } = scene.stage.notes;
  if (outage.silent) {
    // Nothing shows yet that anything is wrong: wait until the proxy has noticed and come back.
    await until('the sessions are back', async () => (
      (await scene.stage.simulator.journal()).filter((entry) => entry.what === 'session' && entry.at_ms > lostAt).length
        >= scene.tabs.length), { withinMs: 45_000 });
  }
  for (const tab of scene.tabs) {
    await mediaGoesOn(tab);
    await toldNothing(tab, lostAt);
  }
  scene.stage.notes.gapsMs = await gaps(scene, outage);
}

/** Everything the page plays is decoded and heard, shows other pictures, and what it publishes leaves. */
export async function mediaGoesOn(tab, withinMs = 20_000) {
  const playing = (await tab.media()).peers.filter((peer) => peer.in_video).length;
  if (playing > 0) {
    await tab.untilFramesMove(playing, { withinMs });
    await tab.untilPictureChanges(`video:not([id$="LOCAL_CACHED_VIDEO"])`);
  }
  await untilHeard(tab, withinMs);
  await untilSentAgain(tab, withinMs);
}

/** What is played where there is sound came from the other side, and was not made up. */
async function untilHeard(tab, withinMs) {
  const sound = async () => (await tab.media()).peers.filter((peer) => peer.in_audio && peer.connection === 'connected')
    .map(({ index, in_audio: { totalSamplesReceived: played, concealedSamples: madeUp } }) => ({ index, played, madeUp }));
  let before = await sound();
  const shares = [];
  await until(`${tab.name}: sound goes on`, async () => {
    const now = await sound();
    shares.length = 0;
    for (const { index, played, madeUp } of now) {
      const then = before.find((one) => one.index === index) ?? { played: 0, madeUp: 0 };
      if (played > then.played) shares.push((madeUp - then.madeUp) / (played - then.played));
    }
    before = now;
    return shares.length === now.length && shares.every((share) => share < 0.5);
  }, { withinMs, everyMs: 1_000, seen: async () => ({ madeUp: shares }) });
}

/**
 * The page saw no status and heard no callback since `since`, and has the peer connections it had.
 * `revived`: it may have got new credentials for its media, which pages do not notice.
 */
export async function toldNothing(tab, since, { revived = false } = {}) {
  const { labels, peers, errors } = await tab.watch();
  const silent = ['ping', ...(revived ? ['setRemoteSDP'] : [])];
  same(labels.filter((label) => label.at >= since), [], `${tab.name}: status changes`);
  same(await tab.messages((message) => message.from === 'server' && !silent.includes(message.name), since), [],
    `${tab.name}: what the page was told`);
  same(peers.filter((peer) => peer.created >= since), [], `${tab.name}: new peer connections`);
  same(errors, [], `${tab.name}: errors of the page`);
  // Frames are decoded before Firefox says again that it is connected: that takes its next check.
  const states = async () => (await tab.media()).peers.map((peer) => peer.connection);
  await until(`${tab.name}: all peer connections are connected`,
    async () => (await states()).every((state) => state === 'connected'), { withinMs: 10_000, seen: states });
}

async function untilSentAgain(tab, withinMs) {
  const before = await tab.frames();
  const sending = before.sent.some((count) => count > 0);
  if (!sending) return;
  await until(`${tab.name}: video leaves`, async () => {
    const { sent } = await tab.frames();
    return sent.some((count, index) => count > before.sent[index] + 10);
  }, { withinMs });
}

/** How far from the server's return a pause may begin and end that belongs to the outage. */
const NEAR_MS = 1_000;

/**
 * Of each video that the server's loss could stop: milliseconds from the server being ready to its
 * first new frame, 0 if it never paused long enough to be noted. Where nobody can say when the
 * server was ready, as behind a black hole, the whole pause.
 */
async function gaps(scene, outage) {
  const { lostAt, readyAt } = scene.stage.notes;
  const found = [];
  for (const tab of scene.tabs) {
    const { gaps: pauses } = await tab.watch();
    const { videos } = await tab.media();
    for (const video of videos.filter(({ parent, frames }) => frames > 0 && !/local/i.test(parent ?? ''))) {
      const own = pauses.filter((pause) => pause.video === video.id && pause.parent === video.parent);
      const lasted = outage.neverReady
        ? own.filter((pause) => pause.to >= lostAt).map((pause) => pause.to - pause.from)
        : own.filter((pause) => pause.from <= readyAt + NEAR_MS && pause.to >= readyAt - NEAR_MS)
          .map((pause) => pause.to - readyAt);
      found.push(Math.max(0, ...lasted));
    }
  }
  return found;
}
