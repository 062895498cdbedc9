// Child processes with their output in a file, ended by their own id.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { until } from './wait.mjs';

const running = new Set();

/** One run of a program. */
export class Child {
  constructor(program, args, logFile, env = {}) {
    this.log = fs.createWriteStream(logFile, { flags: 'a' });
    this.log.write(`--- ${program} ${args.join(' ')}\n`);
    this.text = '';
    this.process = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, RUST_BACKTRACE: '1', ...env },
    });
    running.add(this);
    this.exited = new Promise((resolve) => {
      this.process.once('error', (error) => resolve({ error: String(error) }));
      this.process.once('exit', (code, signal) => resolve({ code, signal }));
    }).then((outcome) => {
      running.delete(this);
      this.outcome = outcome;
      this.log.write(`--- ended: ${JSON.stringify(outcome)}\n`);
      return outcome;
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        this.log.write(chunk);
        // Enough to find what a process says when it starts.
        if (this.text.length < 1 << 20) this.text += chunk;
      });
    }
  }

  signal(name) {
    if (!this.outcome) this.process.kill(name);
  }

  async kill() {
    this.signal('SIGCONT');
    this.signal('SIGKILL');
    await this.exited;
  }
}

/** Ends whatever is left, for when the runner itself is stopped. */
export function killAll() {
  for (const child of running) {
    child.process.kill('SIGCONT');
    child.process.kill('SIGKILL');
  }
}

/** Waits until something accepts connections on a port; fails early when the process ended. */
export async function untilListening(child, port, what, address = '127.0.0.1') {
  const connects = () => new Promise((resolve) => {
    const socket = net.connect(port, address);
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
  await until(`${what} listens on ${port}`, async () => {
    if (child.outcome) throw new Error(`${what} ended at once: ${child.text.slice(-2_000)}`);
    return connects();
  }, { everyMs: 50 });
}
