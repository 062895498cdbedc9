// The outages. Each leaves a working server behind and says on the stage when the loss was
// (`lostAt`) and when the server was ready again (`readyAt`), in milliseconds since 1970.

import { delay, until } from './harness/wait.mjs';

/** Kills the server, and starts it again after `downMs`. */
export const kill = (downMs) => async (stage) => {
  stage.notes.lostAt = Date.now();
  await stage.restart(downMs);
  stage.notes.readyAt = Date.now();
};

const fault = (name, details) => async (stage) => {
  stage.notes.lostAt = Date.now();
  await stage.simulator.fault(name, details);
  stage.notes.readyAt = Date.now();
};

// A server that notices within 5 s that its clients are silent, so that it lets go of their names
// while the proxy is still making up its mind.
const IMPATIENT = { pings: { interval_ms: 1_000, missed_max: 5 } };

/**
 * `noticeMs`: how long after the server is ready again a client may have to wait for its verdict.
 * `processes`: how many server processes see the clients, `epochs` how many connections of a
 * session they see together. `neverReady`: the server is back at no certain moment.
 */
export const OUTAGES = [
  { name: 'kill', title: 'kill -9, restart after 2 s', run: kill(2_000), processes: 2, epochs: 2 },
  { name: 'long', title: 'kill -9, restart after 40 s', run: kill(40_000), long: true, processes: 2, epochs: 2 },
  { name: 'fin', title: 'TCP FIN', run: fault('drop', { how: 'fin' }), processes: 1, epochs: 2 },
  { name: 'rst', title: 'TCP RST', run: fault('drop', { how: 'rst' }), processes: 1, epochs: 2 },
  {
    name: 'silence', title: 'silent black hole', run: fault('black_hole'), processes: 1, epochs: 2, noticeMs: 30_000,
    simulator: IMPATIENT, silent: true, neverReady: true,
  },
  {
    // Straight at the server browsers bear 30 s: the picture stands still and goes on with the thaw.
    name: 'freeze', title: 'frozen 30 s, thawed', processes: 1, epochs: 2, silent: true, long: true, stillMs: 25_000,
    async run(stage) {
      stage.notes.lostAt = Date.now();
      stage.simulator.child.signal('SIGSTOP');
      await delay(30_000);
      stage.simulator.child.signal('SIGCONT');
      stage.notes.readyAt = Date.now();
    },
  },
  { name: 'close_1001', title: 'close 1001', run: fault('close', { code: 1001 }), processes: 1, epochs: 2 },
  { name: 'close_1012', title: 'close 1012', run: fault('close', { code: 1012 }), processes: 1, epochs: 2 },
  {
    name: 'five', title: 'five restarts, 6 s apart', processes: 6, epochs: 6, repeated: true,
    async run(stage) {
      stage.notes.lostAt = Date.now();
      for (let round = 0; round < 5; round += 1) {
        await stage.restart(1_000);
        stage.notes.readyAt = Date.now();
        // Each life is this long, however long the server took to start.
        if (round < 4) await delay(5_000);
      }
    },
  },
  {
    // The stream is still waiting for its first answer when the server dies.
    name: 'slow', title: 'restart while publishing is slow', processes: 2, epochs: 2, slow: true,
    first: { streams: { publish_delay_ms: 20_000, play_delay_ms: 20_000 } },
    async run(stage) {
      await until('the server has the request that it will not answer', async () => {
        const { now } = await stage.simulator.state();
        return now.streams_pending >= stage.notes.pending;
      });
      await kill(2_000)(stage);
    },
  },
];
