// Requests that an outage leaves without their answer: each of them settles.

import { twoWayStreaming } from '../pages/two_way_streaming.mjs';
import { check, delay, same, until } from '../harness/wait.mjs';
import { wellMannered } from '../harness/verdict.mjs';

export const PENDING = [
  {
    name: 'requests without answer',
    title: 'sendData, available, stop and unpublish unanswered when the server dies: all settle',
    first: { withhold: ['DataStatusEvent', 'availableStream'], streams: { stop_delay_ms: 60_000 } },
    async play(stage) {
      const scene = await twoWayStreaming.open(stage, 'proxy');
      const { tab } = scene;
      await twoWayStreaming.start(scene);
      await tab.page.evaluate(() => {
        window.__settled = null;
        Flashphoner.getSessions()[0].sendData({ operationId: 'x', payload: { count: 1 } })
          .then(() => { window.__settled = 'ACCEPTED'; }, () => { window.__settled = 'FAILED'; });
      });
      await tab.click('availableBtn');
      await tab.click('playBtn');
      await tab.click('publishBtn');
      await stage.simulator.until('all four are asked', ({ counters: { asked } }) => (
        asked.sendData && asked.availableStream && asked.stopStream && asked.unPublishStream));
      same([await tab.text('availableStatus'), await tab.labels('playStatus')], ['', ['PLAYING']], 'nothing is answered yet');
      await stage.restart(2_000);
      const withinMs = 20_000;
      await until('sendData settles', () => tab.page.evaluate(() => window.__settled), { withinMs });
      await until('available settles', () => tab.text('availableStatus'), { withinMs });
      await tab.untilLabel('playStatus', 'STOPPED', withinMs);
      await tab.untilLabel('publishStatus', 'UNPUBLISHED', withinMs);
      await delay(1_000);
      const lives = await stage.simulator.lives();
      const { asked } = lives.at(-1).state.counters;
      same([asked.publishStream ?? 0, asked.playStream ?? 0], [0, 0], 'what was stopped is not replayed');
      same(await tab.labels('connectStatus'), ['ESTABLISHED'], 'what the session was told');
      wellMannered(lives);
    },
  },
  {
    name: 'slow publish in a long outage',
    title: 'Publish unanswered in an outage of 40 s: FAILED once within 30 s, the next click works',
    first: { streams: { publish_delay_ms: 60_000 } },
    weight: 2,
    async play(stage) {
      const { tab } = await twoWayStreaming.open(stage, 'proxy');
      await tab.click('publishBtn');
      await stage.simulator.until('it waits', (state) => state.now.streams_pending === 1);
      const lostAt = Date.now();
      await stage.simulator.kill();
      await tab.untilLabel('publishStatus', 'FAILED', 32_000);
      await delay(Math.max(0, lostAt + 40_000 - Date.now()));
      await stage.simulator.boot();
      await tab.click('publishBtn');
      await tab.untilLabel('publishStatus', 'PUBLISHING');
      same(await tab.labels('publishStatus'), ['FAILED', 'PUBLISHING'], 'what the publisher was told');
      same(await tab.labels('connectStatus'), ['ESTABLISHED'], 'what the session was told');
      wellMannered(await stage.simulator.lives());
    },
  },
  {
    name: 'call in an outage',
    title: 'A call in an outage ends with finish; the registration comes back and the next call works',
    async play(stage) {
      const tab = await stage.open('phone', '/examples/demo/sip/phone/phone.html', 'proxy');
      await tab.page.waitForSelector('#callBtn');
      const fields = {
        urlServer: tab.server, sipLogin: '1000', sipAuthenticationName: '1000', sipPassword: 'secret',
        sipDomain: 'example.org', sipOutboundProxy: 'example.org', sipPort: '5060', callee: '1001',
      };
      for (const [id, text] of Object.entries(fields)) await tab.fill(id, text);
      await tab.click('connectBtn');
      await tab.untilLabel('regStatus', 'REGISTERED');
      await tab.click('callBtn');
      await tab.untilLabel('callStatus', 'ESTABLISHED');
      await stage.restart(2_000);
      await tab.untilLabel('callStatus', 'FAILED', 20_000);
      const finishes = await tab.messages((message) => message.name === 'finish');
      check(finishes.length === 1 && finishes[0].status === 'FAILED', 'the call is ended once, by finish', finishes);
      await stage.simulator.until('registered again', (state) => state.sessions.some((session) => session.registered));
      same((await tab.labels('regStatus')).filter((text) => text !== 'ESTABLISHED' && text !== 'REGISTERED'), [],
        'what the session was told');
      // After FAILED the page leaves its button on Hangup; this is what the button does otherwise.
      await tab.page.evaluate(() => call());
      await tab.untilLabel('callStatus', 'ESTABLISHED');
      const lives = await stage.simulator.lives();
      check(lives[1].state.counters.asked.call === 1, 'the call itself is not replayed', lives[1].state.counters.asked);
      wellMannered(lives);
    },
  },
];
