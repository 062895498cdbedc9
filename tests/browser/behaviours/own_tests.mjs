// The test files of the SDK's package that need a server, as they are, through the proxy.

import { check, same, until } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

/** The tests that talk to a server; the others test the browser alone. */
const NEED_A_SERVER = [
  'flashphoner should', 'flashphoner session', 'playing stream should fire resize', 'local audio  should mute',
  'local video should mute', 'volume control', 'Room api', 'SIP',
];

/**
 * Tests that fail with the package they come with, against any server: they expect what older
 * packages did (an empty display after a stop, a volume before there is a video, and
 * `room.publish(display)` and `participant.play(display)` instead of options).
 */
const OUT_OF_DATE = [
  'should clean up video', 'volume control', 'join and publish', 'join, publish, leave',
  'subscribe to already', 'subscribe to newly',
];

export const OWN_TESTS = [{
  name: "the package's own tests",
  title: "The package's own mocha tests that need a server",
  weight: 3,
  async play(stage) {
    const query = new URLSearchParams({
      server: stage.proxy.url, only: `^(?!.*(${OUT_OF_DATE.join('|')})).*(${NEED_A_SERVER.join('|')})`,
    });
    const tab = await stage.open('own tests', `/own/mocha.html?${query}`, 'proxy');
    const results = () => tab.page.evaluate(() => window.__results);
    await until('the tests end', () => tab.page.evaluate(() => window.__finished), {
      withinMs: 200_000, everyMs: 500, seen: results,
    });
    same((await results()).filter((result) => !result.ok), [], 'tests that failed');
    stage.notes.ownTests = (await results()).length;
    check(stage.notes.ownTests >= 20, 'how many tests ran', stage.notes.ownTests);
    wellMannered(await stage.simulator.lives());
  },
}];
