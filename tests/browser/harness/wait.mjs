// Waiting: the only place that sleeps.

export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** An expectation that did not come true; its message says what was seen instead. */
export class Failure extends Error {}

/**
 * Calls `probe` until it returns something truthy and hands that back.
 * After `withinMs` fails with what was awaited and what `seen` says about the present.
 */
export async function until(what, probe, { withinMs = 15_000, everyMs = 100, seen } = {}) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() >= deadline) {
      const present = seen ? `; seen: ${JSON.stringify(await seen())}` : '';
      throw new Failure(`not within ${withinMs} ms: ${what}${present}`);
    }
    await delay(everyMs);
  }
}

/** Fails with `what` and the details unless `condition` holds. */
export function check(condition, what, details) {
  if (!condition) throw new Failure(details === undefined ? what : `${what}: ${JSON.stringify(details)}`);
}

/** Compares by JSON. */
export function same(actual, expected, what) {
  check(JSON.stringify(actual) === JSON.stringify(expected), what, { actual, expected });
}
