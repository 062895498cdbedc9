// A room of two: each publishes when it has joined and plays the other. No code to start again.

import { same } from '../harness/wait.mjs';
import { undisturbed } from './undisturbed.mjs';

export const conference = {
  name: 'conference',
  mode: 'notify',

  async open(stage, through) {
    const room = stage.name('room');
    const tabs = [];
    for (const login of ['alice', 'bob']) {
      const path = `/examples/demo/streaming/conference/conference.html?roomName=${room}`;
      const tab = await stage.open(`conference ${login} ${through}`, path, through);
      await tab.fill('url', tab.server);
      await tab.fill('login', login);
      tabs.push(tab);
    }
    return { stage, tabs, tab: tabs[0], room, name: room, status: ['status'], statusIsSession: true, chatBefore: new Map() };
  },

  async start({ tabs, chatBefore }) {
    for (const tab of tabs) {
      await tab.click('joinBtn');
      await tab.untilLabel('status', 'ESTABLISHED');
      await tab.untilLabel('localStatus', 'PUBLISHING');
    }
    for (const tab of tabs) await tab.untilFramesMove(1);
    for (const tab of tabs) chatBefore.set(tab, await tab.text('chat'));
  },

  async startSlow({ tabs, stage }) {
    stage.notes.pending = 1;
    await tabs[0].click('joinBtn');
    await tabs[0].untilLabel('status', 'ESTABLISHED');
  },

  direct: {
    /** Nobody leaves the room. Each own stream is reported; Publish brings it back for both. */
    async running({ tabs, stage, chatBefore }, outage) {
      const { lostAt } = stage.notes;
      for (const tab of tabs) await tab.untilTold('localStatus', 'FAILED', lostAt, outage.noticeMs);
      for (const tab of tabs) {
        await tab.click('localStopBtn');
        await tab.untilTold('localStatus', 'PUBLISHING', lostAt);
      }
      for (const tab of tabs) {
        await tab.untilFramesMove(1);
        await tab.untilPictureChanges('#participant1Display video');
        same(await tab.labels('localStatus', lostAt), ['FAILED', 'PUBLISHING'], 'what the publisher was told');
        // A server that lives on may tell those who are still there of those who lost their sockets.
        const chat = (await tab.text('chat')).slice(chatBefore.get(tab).length);
        const times = (word) => chat.split(` - ${word}`).length - 1;
        same(times('joined'), times('left'), 'as many came back as left');
        if (outage.processes > 1) same(times('left'), 0, 'how many left the room');
      }
    },

    async slow({ tabs }) {
      await tabs[0].untilLabel('localStatus', 'PUBLISHING');
      await tabs[1].click('joinBtn');
      await tabs[1].untilLabel('localStatus', 'PUBLISHING');
      for (const tab of tabs) await tab.untilFramesMove(1);
      same(await tabs[0].labels('localStatus'), ['PUBLISHING'], 'what the publisher was told');
    },
  },

  anchor: {
    running: undisturbed,
    slow: (scene, outage) => conference.direct.slow(scene, outage),
  },
};
