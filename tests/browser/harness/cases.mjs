// A case: one page in one outage, through the proxy, with its control beside it.

import { check, delay } from './wait.mjs';
import { Stage } from './stage.mjs';
import { died, mediaMoved, nothingLeft, oncePerEpoch, sessionsUntouched, wellMannered } from './verdict.mjs';

const merge = (one = {}, other = {}) => Object.fromEntries(
  [...new Set([...Object.keys(one), ...Object.keys(other)])].map((key) => {
    const [left, right] = [one[key], other[key]];
    const both = left && right && typeof left === 'object' && !Array.isArray(left);
    return [key, both ? merge(left, right) : right ?? left];
  }));

/** The case of a page in an outage. `control`: the same page straight at the server beside it. */
export function outageCase(page, outage, { control, media = 'direct', browser }) {
  return {
    name: `${page.name} / ${outage.name}${media === 'anchor' ? ' / anchored' : ''}${browser ? ` / ${browser}` : ''}`,
    page: page.name,
    media,
    outage: outage.name,
    control,
    weight: outage.long || outage.repeated || outage.silent ? 2 : 1,
    wanted: {
      media,
      browser,
      mode: media === 'anchor' ? 'auto' : page.mode,
      simulator: merge(page.simulator, outage.simulator),
      first: outage.first,
    },
    play: (stage) => play(stage, page, outage, { control, media }),
  };
}

/** A case that plays its own story. */
export function behaviourCase(behaviour, { media: asked }) {
  const media = behaviour.media ?? asked;
  return {
    name: `${behaviour.name}${media !== behaviour.media && media === 'anchor' ? ' / anchored' : ''}`,
    title: behaviour.title,
    weight: behaviour.weight ?? 1,
    wanted: {
      media,
      browser: behaviour.browser,
      mode: media === 'anchor' ? 'auto' : behaviour.mode ?? 'notify',
      simulator: merge(behaviour.page?.simulator, behaviour.simulator),
      first: behaviour.first,
      again: behaviour.again,
      network: behaviour.network,
      pool: behaviour.pool,
      proxy: behaviour.proxy,
      token: behaviour.token,
      host: behaviour.host,
    },
    play: (stage) => behaviour.play(stage),
  };
}

async function play(stage, page, outage, { control, media }) {
  const expected = page[media];
  const scene = Object.assign(await page.open(stage, 'proxy'), { replays: page.replays });
  const twin = control && Object.assign(await page.open(stage, 'server'), { restoresItself: page.restoresItself });
  for (const one of [scene, twin]) {
    if (one) await (outage.slow ? page.startSlow(one) : page.start(one));
  }
  const established = stage.notes;
  await outage.run(stage);
  established.verdictFrom = Date.now();
  await (outage.slow ? expected.slow(scene) : expected.running(scene, outage));
  if (twin) await (outage.slow ? neverAnswered(twin) : died(twin, outage));
  const direct = twin ? await Promise.all(twin.tabs.map((tab) => tab.watch())) : [];
  for (const tab of twin?.tabs ?? []) await tab.close();
  await common(stage, scene, page, outage, media, direct);
}

async function common(stage, scene, page, outage, media, direct) {
  const restarts = media === 'direct' && page.mode === 'restart' ? outage.epochs - 1 : 0;
  await sessionsUntouched(scene, { restarts });
  const lives = await stage.simulator.lives();
  wellMannered(lives);
  await oncePerEpoch(scene, outage, lives, direct, media);
  mediaMoved(lives.at(-1).state);
  for (const tab of scene.tabs) await tab.close();
  await nothingLeft(stage.simulator);
  wellMannered(await stage.simulator.lives());
  const outcome = await stage.proxy.stop();
  check(outcome.code === 0, 'the proxy ends well when it is asked to', outcome);
}

/** The control of a publish that waits: straight at the server it never starts. */
async function neverAnswered(twin) {
  await delay(1_000);
  for (const tab of twin.tabs) {
    const { sockets, labels } = await tab.watch();
    check(sockets.every((socket) => socket.closed !== null || socket.opened > twin.stage.notes.lostAt),
      `${tab.name}: its socket is lost`, sockets.map((socket) => socket.closed));
    const said = labels.filter((label) => /publish|^status$|localStatus/i.test(label.id)).map((label) => label.text);
    check(!said.includes('PUBLISHING'), `${tab.name}: its publish was never answered`, said);
  }
}

/** Plays a case on a stage of its own; resolves with how it went. */
export async function run(environment, one, directory) {
  const began = Date.now();
  let stage;
  let error;
  try {
    stage = await Stage.set(environment, directory, one.wanted);
    await one.play(stage);
  } catch (cause) {
    error = cause;
    await stage?.keep();
  }
  await stage?.strike();
  return { case: one, ok: !error, error, seconds: (Date.now() - began) / 1_000, notes: stage?.notes ?? {} };
}

