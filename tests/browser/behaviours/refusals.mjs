// Refusals and names that are taken: told once, retried only where that is promised.

import { autoRestore } from '../pages/stream_auto_restore.mjs';
import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, delay, same, until } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

export const REFUSALS = [
  {
    name: 'credentials refused on replay',
    title: 'Credentials refused on replay: reported once, not hammered',
    async play(stage) {
      const scene = await twoWayStreaming.open(stage, 'proxy');
      await twoWayStreaming.start(scene);
      const before = (await stage.simulator.state()).counters.asked.connection;
      await stage.simulator.switch({ sessions: { refuse: { info: 'Forbidden' } } });
      await stage.simulator.fault('drop', { how: 'rst' });
      await scene.tab.untilLabel('connectStatus', 'DISCONNECTED');
      await delay(5_000);
      const lives = await stage.simulator.lives();
      same(lives[0].state.counters.asked.connection - before, 1, 'connections tried with refused credentials');
      same(await scene.tab.labels('publishStatus'), ['PUBLISHING', 'FAILED'], 'what the publisher was told');
      wellMannered(lives);
    },
  },
  {
    name: 'backend down on replay',
    title: 'Bad Gateway on replay (the backend restarts too): transient, restored',
    async play(stage) {
      const scene = await twoWayStreaming.open(stage, 'proxy');
      await twoWayStreaming.start(scene);
      await stage.simulator.switch({ sessions: { refuse: { info: 'Bad Gateway', times: 2 } } });
      stage.notes.lostAt = Date.now();
      await stage.simulator.fault('drop', { how: 'rst' });
      stage.notes.readyAt = Date.now();
      await twoWayStreaming[stage.wanted.media].running(scene, {});
      same(await scene.tab.labels('connectStatus'), ['ESTABLISHED'], 'what the session was told');
    },
  },
  {
    name: 'name held by a ghost',
    title: 'Name held by a dead session for 20 s: published again when it is free, nobody hears of it',
    page: autoRestore,
    simulator: { sessions: { linger_ms: 20_000 } },
    weight: 2,
    async play(stage) {
      const scene = await autoRestore.open(stage, 'proxy', { plays: false });
      await autoRestore.start(scene);
      stage.notes.lostAt = Date.now();
      await stage.simulator.fault('drop', { how: 'rst' });
      const anchored = stage.wanted.media === 'anchor';
      await until('the stream is published again', async () => (
        (await stage.simulator.journal()).some((entry) => entry.what === 'accepted' && entry.name === scene.name
          && entry.at_ms > stage.notes.lostAt)), { withinMs: 40_000 });
      const heldMs = Date.now() - stage.notes.lostAt;
      check(heldMs > 15_000, 'the ghost held the name for a while', heldMs);
      if (!anchored) await scene.tab.untilTold('publishStatus', 'PUBLISHING', stage.notes.lostAt);
      same(await scene.tab.labels('publishStatus', stage.notes.lostAt), anchored ? [] : ['FAILED', 'PUBLISHING'],
        'what the publisher was told');
      const lives = await stage.simulator.lives();
      const { outcomes } = lives[0].state.counters;
      check(outcomes['publish: Stream name is already in use'] >= 2, 'the name was refused meanwhile', outcomes);
      wellMannered(lives);
    },
  },
  {
    name: 'network change',
    title: 'Old socket dead without notice, same name published on a new one: within 3 s',
    async play(stage) {
      const relay = await stage.relay('proxy');
      const [old, fresh] = await sameName(stage, relay);
      relay.goSilent();
      await fresh.click('publishBtn');
      await fresh.untilLabel('publishStatus', 'PUBLISHING');
      // From the server's refusal to its next answer, as the browser's own work is nobody's business here: 2 s are for
      // the holder's sign of life.
      const journal = await stage.simulator.journal();
      const refused = journal.find((entry) => entry.what === 'refused');
      const accepted = journal.findLast((entry) => entry.what === 'accepted');
      const took = accepted.at_ms - refused.at_ms;
      check(took > 0 && took < 4_000, 'how long publishing took', took);
      same(await fresh.labels('publishStatus'), ['PUBLISHING'], 'what the publisher was told');
      same(await old.labels('publishStatus'), ['PUBLISHING'], 'what the dead page could still see');
      wellMannered(await stage.simulator.lives());
    },
  },
  {
    name: 'name held by a living client',
    title: 'Same name published while its holder is alive: refused as the server refuses it',
    async play(stage) {
      const relay = await stage.relay('proxy');
      const [old, fresh] = await sameName(stage, relay);
      await fresh.click('publishBtn');
      await fresh.untilLabel('publishStatus', 'FAILED', 10_000);
      check((await fresh.text('publishInfo')).includes('already has a publish stream with the same name'),
        'the reason reaches the page', await fresh.text('publishInfo'));
      await delay(3_000);
      same(await old.labels('publishStatus'), ['PUBLISHING'], 'what the holder was told');
      wellMannered(await stage.simulator.lives());
    },
  },
];

/** One page publishes through the relay; a second one has the same name ready. */
async function sameName(stage, relay) {
  const scene = await twoWayStreaming.open(stage, 'proxy', { server: relay.url });
  await twoWayStreaming.start(scene);
  const second = await twoWayStreaming.open(stage, 'proxy');
  await second.tab.fill('publishStream', scene.name);
  return [scene.tab, second.tab];
}
