// One simulated Web Call Server: a process of its own, really killed, frozen and started again,
// with everything its control port knew kept from each life.

import { Child, untilListening } from './processes.mjs';
import { freePort } from './ports.mjs';
import { check, delay, until } from './wait.mjs';

export class Simulator {
  /** `like`: a transcript of `holdfast probe`, whose server it is to resemble. */
  static async start({ program, like, logFile, settings = {} }) {
    const simulator = new Simulator({ program, like, logFile, port: await freePort(), controlPort: await freePort() });
    await simulator.boot(settings);
    return simulator;
  }

  constructor(given) {
    Object.assign(this, given);
    /** What each ended process knew of itself just before. */
    this.past = [];
    this.child = null;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Starts the process; resolves when it answers and has its settings. */
  async boot(settings = {}) {
    const args = ['simulate', '--listen', `127.0.0.1:${this.port}`, '--control', `127.0.0.1:${this.controlPort}`];
    if (this.like) args.push('--like', this.like);
    // What a life draws at random the next one draws anew.
    args.push('--set', `media_server.seed=${this.past.length + 1}`);
    for (const [key, value] of flat({ media: 'real', ...settings })) args.push('--set', `${key}=${value}`);
    this.child = new Child(this.program, args, this.logFile);
    await untilListening(this.child, this.controlPort, 'the simulator');
    await untilListening(this.child, this.port, 'the simulator');
    this.readyAt = Date.now();
  }

  async #ask(method, path, body) {
    const response = await fetch(`http://127.0.0.1:${this.controlPort}${path}`, {
      method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(10_000),
    });
    const value = await response.json();
    check(response.ok, `simulator: ${method} ${path}`, value);
    return value;
  }

  state() {
    return this.#ask('GET', '/state');
  }

  journal() {
    return this.#ask('GET', '/journal');
  }

  switch(settings) {
    return this.#ask('POST', '/switch', settings);
  }

  fault(fault, details = {}) {
    return this.#ask('POST', '/fault', { fault, ...details });
  }

  /** Ends the process as kill -9 does, after noting what it knew. */
  async kill() {
    this.past.push({ state: await this.state(), journal: await this.journal() });
    await this.child.kill();
    this.child = null;
  }

  async restart({ downMs, settings }) {
    await this.kill();
    await delay(downMs);
    await this.boot(settings);
  }

  /** All lives so far, the present one last. */
  async lives() {
    const present = this.child ? [{ state: await this.state(), journal: await this.journal() }] : [];
    return [...this.past, ...present];
  }

  /** Waits until the state has what `wanted` looks for. */
  until(what, wanted, withinMs = 15_000) {
    return until(`simulator: ${what}`, async () => wanted(await this.state()), {
      withinMs, seen: async () => summary(await this.state()),
    });
  }

  async stop() {
    if (this.child) await this.child.kill();
    this.child = null;
  }
}

/** Nested settings as pairs of a path and a value as text. */
const flat = (settings, prefix = '') => Object.entries(settings).flatMap(([key, value]) => (
  value && typeof value === 'object' && !Array.isArray(value)
    ? flat(value, `${prefix}${key}.`)
    : [[`${prefix}${key}`, typeof value === 'string' ? value : JSON.stringify(value)]]));

/** What is worth showing of a state. */
export const summary = (state) => ({
  now: state.now, asked: state.counters.asked, outcomes: state.counters.outcomes, ends: state.counters.ends,
  violations: state.violations.list,
});
