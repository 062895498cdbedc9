// Servers of every kind that browsers know, killed once: with anchored media no page notices.

import { OUTAGES, kill } from '../outages.mjs';
import { player } from '../pages/player.mjs';
import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { undisturbed } from '../pages/undisturbed.mjs';
import { check, delay, same } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

const KILL = OUTAGES.find((outage) => outage.name === 'kill');
const RANDOM = { randomise: true };

/** `codec`: what the server takes first; `server`: its media settings; `shape`: of its answers. */
const killed = (name, title, { page = twoWayStreaming, codec = 'VP8', shape = 'A', server = {}, run = KILL.run, ...rest }) => ({
  name,
  title: `${title}, ${codec}: killed once, no page notices`,
  media: 'anchor',
  simulator: { streams: { prefer_codecs: [codec], answer_shape: shape }, media_server: server },
  ...rest,
  async play(stage) {
    const scene = await page.open(stage, 'proxy');
    await page.start(scene);
    await run(stage);
    await undisturbed(scene, KILL);
    for (const tab of scene.tabs) {
      const { peers } = await tab.media();
      const codecs = peers.flatMap((peer) => [peer.in_video?.codec, peer.out_video?.codec]).filter(Boolean);
      same([...new Set(codecs)], [codec], `${tab.name}: codecs`);
    }
    const lives = await stage.simulator.lives();
    same(lives.length, 2, 'lives of the server');
    wellMannered(lives);
  },
});

const each = (name, title, wanted) => ['VP8', 'H264'].map((codec) => (
  killed(`${name} ${codec}`, title, { ...wanted, codec, full: true })));

/** How long the network is watched before the outage and after it. */
const WATCH_MS = 8_000;

/** 3 % loss and up to 50 ms jitter each way: pictures stand still no longer than before the outage. */
const bad = (name, title, { impair, ...rest }) => ({
  name,
  title: `${title}: 3 % loss, 50 ms jitter each way, killed once: no page notices, no more freezes than before`,
  media: 'anchor',
  weight: 2,
  ...rest,
  async play(stage) {
    const scene = await twoWayStreaming.open(stage, 'proxy');
    await impair(stage);
    await twoWayStreaming.start(scene);
    const frozen = async (since) => {
      await delay(WATCH_MS);
      return (await scene.tab.pauses())
        .filter((gap) => gap.from >= since && gap.to - gap.from >= FREEZE_MS)
        .reduce((sum, gap) => sum + gap.to - gap.from, 0);
    };
    const before = await frozen(Date.now());
    await KILL.run(stage);
    await undisturbed(scene, KILL);
    const after = await frozen(Date.now());
    stage.notes.frozenMs = { before, after };
    check(after <= before + FREEZE_GROWTH_MS, 'how long the picture froze before and after', stage.notes.frozenMs);
    wellMannered(await stage.simulator.lives());
  },
});

/** A pause that a viewer sees as one. */
const FREEZE_MS = 500;
/** What a busy machine adds. */
const FREEZE_GROWTH_MS = 1_500;

export const SERVERS = [
  killed('unbundled server', 'Unbundled answers without mid and setup, RSA, server as DTLS client, random numbers', {
    shape: 'B', server: { rsa_certificate: true, ...RANDOM },
  }),
  killed('RSA server', 'RSA, server as DTLS server, random numbers', {
    codec: 'H264', server: { rsa_certificate: true, dtls_role: 'passive', ...RANDOM },
  }),
  killed('publish processed late', 'Publisher and player in different pages, publish processed 1.5 s late', {
    page: player, again: { streams: { publish_delay_ms: 1_500 } },
  }),
  killed('outage of 45 s', 'Server gone for 45 s, random numbers', { server: RANDOM, run: kill(45_000), weight: 2 }),
  bad('bad client network', "Client's network", {
    network: true, impair: (stage) => stage.network.set({ lossPercent: 3, jitterMs: 50 }),
  }),
  bad('bad server network', "Server's network", {
    full: true, simulator: { media_server: { loss_percent: 3, jitter_ms: 50 } }, impair: () => {},
  }),
  ...each('bundled server', 'Bundled answers', {}),
  ...each('unbundled server', 'Unbundled answers', { shape: 'B' }),
  ...each('unbundled server with setup', 'Unbundled answers with setup:passive', { shape: 'G' }),
  ...each('bundled server without setup', 'Bundled answers without setup', { shape: 'D' }),
  ...each('DTLS client', 'ICE-lite server as DTLS client', { shape: 'E', server: { dtls_role: 'active' } }),
  ...each('DTLS server', 'Server as DTLS server', { server: { dtls_role: 'passive' } }),
  ...each('RSA and DTLS client', 'RSA, server as DTLS client', { server: { rsa_certificate: true, dtls_role: 'active' } }),
  ...each('RSA and DTLS server', 'RSA, server as DTLS server', { server: { rsa_certificate: true, dtls_role: 'passive' } }),
  ...each('random numbers', 'Server with new sequence numbers, timestamps and SSRCs in each life', { server: RANDOM }),
];
