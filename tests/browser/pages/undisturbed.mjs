// What must be seen of any page when the proxy carries the media itself: nothing at all, except that
// the picture stands still for a moment.

import { check, same, until } from '../harness/wait.mjs';

/** Nothing was said to the page, its peer connections are the ones it had, frames are decoded again. */
export async function undisturbed(scene, outage) {
  const { lostAt, readyAt } = scene.stage.notes;
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
  scene.stage.notes.gapsMs = await gaps(scene, readyAt);
}

/** Everything the page plays is decoded and heard, shows other pictures, and what it publishes leaves. */
export async function mediaGoesOn(tab, withinMs = 20_000) {
  const playing = (await tab.media()).peers.filter((peer) => peer.in_video).length;
  if (playing > 0) {
    await tab.untilFramesMove(playing, { withinMs });
    await tab.untilPictureChanges(`video:not([id$="LOCAL_CACHED_VIDEO"])`);
  }
  await untilSentAgain(tab, withinMs);
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
  const states = (await tab.media()).peers.map((peer) => peer.connection);
  check(states.every((state) => state === 'connected'), `${tab.name}: peer connections`, states);
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

/** Milliseconds from the server being ready to the first new frame, of each video that paused. */
async function gaps(scene, readyAt) {
  const found = [];
  for (const tab of scene.tabs) {
    const { gaps: pauses } = await tab.watch();
    for (const pause of pauses) {
      if (pause.from <= readyAt && pause.to >= readyAt) found.push(pause.to - readyAt);
    }
  }
  return found;
}
