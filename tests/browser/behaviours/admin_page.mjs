// The page for operators: what it shows of nodes, an outage and a drain, on wide and narrow screens, light and dark;
// that names of clients stay text; that it outlives the proxy.

import path from 'node:path';
import { Operator } from '../harness/operator.mjs';
import { Child } from '../harness/processes.mjs';
import { check, same, until } from '../harness/wait.mjs';

const TOKEN = 'token-of-the-browser-tests';
const HOSTILE = '<img src=x onerror="window.hacked=1">';

/** Clients with real media, for as long as the case lasts. */
const crowd = (stage, sessions) => new Child(stage.environment.program, ['load', stage.proxy.url, '--scenario', 'publish-play',
  '--media', 'real', '--sessions', String(sessions), '--players', '2', '--hold', '200'], path.join(stage.directory, 'load.log'));

/** A client that names a stream and a room as no client should. */
async function hostile(stage) {
  const tab = await stage.context.newPage();
  await tab.evaluate(([url, name]) => new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    window.socket = socket;
    const say = (message, data) => socket.send(JSON.stringify({ message, data: [data] }));
    socket.onerror = () => reject(new Error('the socket failed'));
    socket.onopen = () => say('connection', { appKey: 'defaultApp', mediaProviders: ['MSE'], clientVersion: '2.0', custom: { login: 'eve' } });
    socket.onmessage = ({ data }) => {
      const { message } = JSON.parse(data);
      if (message === 'ping') say('pong', null);
      if (message !== 'getUserData') return;
      say('sendData', { operationId: 'join', payload: { command: 'join', options: { name } } });
      say('playStream', { mediaSessionId: 'evil', name: `rtsp://camera/${name}`, published: false, hasVideo: true, hasAudio: false,
        status: 'PENDING', record: false, mediaProvider: 'MSE', bitrate: 0, minBitrate: 0, maxBitrate: 0,
        sdp: 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 112\r\na=rtpmap:112 H264/90000\r\na=recvonly\r\n' });
      resolve();
    };
  }), [stage.proxy.url, HOSTILE]);
  return tab;
}

/** Gives the page what it asks for. */
async function giveToken(operator) {
  await operator.page.fill('#ask-token-value', TOKEN);
  await operator.page.click('#ask-yes');
}

async function drained(operator, node, sessions) {
  await operator.row('nodes', node).locator('button').click();
  check(/move to other nodes/.test(await operator.text('#ask-text')), 'it says what a drain does');
  await operator.page.click('#ask-yes');
  await operator.until('the token is asked for', '#ask-title', /Token/);
  await operator.page.fill('#ask-token-value', 'not-the-token-of-this-proxy');
  await operator.page.click('#ask-yes');
  await operator.until('a wrong token is told', '#ask-error', /not the token/);
  await giveToken(operator);
  const row = `#nodes .row[data-key="${node}"]`;
  await operator.until('the node drains', row, /draining/);
  await operator.until('the drain is done', row, new RegExp(`empty: ${sessions} moved`), 40_000);
  await operator.shoot('drained');
  // The token is known now.
  await operator.row('nodes', node).locator('button').click();
  await operator.page.click('#ask-yes');
  await operator.until('the node is used again', row, /\bup\b/);
}

const OPERATED = {
  name: 'the page for operators',
  title: 'Nodes, an outage, a drain and one session on the page of the admin side',
  media: 'anchor',
  weight: 3,
  pool: true,
  token: TOKEN,
  proxy: '[upstream]\npolicy = "least_sessions"\n',
  async play(stage) {
    const load = crowd(stage, 24);
    const tab = await hostile(stage);
    const wide = await Operator.open(stage);
    const narrow = await Operator.open(stage, { width: 390, height: 844, scheme: 'dark' });
    for (const operator of [wide, narrow]) {
      await operator.until('it is live', '#link', /live/);
      await operator.until('all sessions are counted', '#figures', /sessions\s+25\b/);
      await operator.until('both nodes are up', '#nodes .row[data-key=b]', /up/);
    }
    await untilPictures(stage);
    await hostileStaysText(wide);

    // Both nodes have some of them; one is killed.
    await stage.simulator.restart({ downMs: 3_000 });
    await wide.until('the outage is told', '#outages .row', /\ba\b[\s\S]*(connection reset|end of file)/);
    await wide.until('it is over', '#outages .row[data-key="1"]', /\d+ restored/, 40_000);
    const [outage] = await wide.texts('#outages .row[data-key="1"]');
    check(/\n[\d.]+ m?s\s+[\d.]+ m?s\s+\d+ restored/.test(outage), 'its gaps are told', outage);
    await wide.until('gaps in media are drawn', '#spark-text', /media gaps: \d+, the longest/);
    check(await wide.page.locator('#spark .outage').count() === 1, 'so are the sessions in the outage');
    check(/[1-9]\d* at most/.test(await wide.text('#spark-text')), 'and told', await wide.text('#spark-text'));
    await wide.until('the worst stream tells its gap', '#sessions .row', /gap \d/);
    await narrow.until('it is told on the small screen', '#outages .row[data-key="1"]', /restored/);
    await wide.shoot('wide-light');
    await wide.shoot('admin');
    await narrow.shoot('narrow-dark');
    await oneSession(stage, wide, narrow);
    await found(wide);

    const node = (await (await fetch(`${wide.url}v1/nodes/b`)).json());
    check(node.sessions > 0, 'there is somebody to move', node);
    await drainedWithRooms(stage, wide, tab);
    for (const operator of [wide, narrow]) await operator.isWell();
    await away(stage, wide);
    await load.kill();
    for (const operator of [wide, narrow]) await operator.close();
  },
};

/** A room binds its session to its node: without it all can move. */
async function drainedWithRooms(stage, operator, tab) {
  await tab.close();
  await operator.until('its session has gone', '#figures', /sessions\s+24\b/);
  const { sessions } = await (await fetch(`${operator.url}v1/nodes/b`)).json();
  await drained(operator, 'b', sessions);
}

async function untilPictures(stage) {
  const live = async () => (await (await fetch(`http://${stage.proxy.admin}/status`)).json()).shown
    .flatMap(({ streams }) => streams).filter(({ numbers }) => numbers?.key_frames > 0).length;
  await until('pictures move', async () => await live() >= 24, { withinMs: 30_000, seen: live });
}

/** What the client said stands there as it said it, and is nothing else. */
async function hostileStaysText(operator) {
  await operator.page.fill('#search-for', '<img');
  const names = () => operator.texts('#sessions .stream-name');
  await until('the hostile name is found, and nothing else', async () => {
    const found = await names();
    return found.length === 1 && found[0].includes(HOSTILE);
  }, { seen: names });
  await operator.page.locator('#sessions .row a').first().click();
  await operator.until('its room is named', '#one .facts', /<img src=x onerror/);
  same(await operator.page.evaluate(() => [window.hacked ?? null, document.querySelectorAll('img').length]), [null, 0],
    'no name became an element');
  await operator.page.click('#one .back');
  await operator.page.fill('#search-for', '');
  await operator.until('all are there again', '#page-at', /1 to 25/);
}

async function oneSession(stage, wide, narrow) {
  const { sessions } = await (await fetch(`${wide.url}v1/sessions?limit=100`)).json();
  const ledgers = await Promise.all(sessions.map(async ({ id }) => (await fetch(`${wide.url}v1/sessions/${id}`)).json()));
  const one = ledgers.find(({ timeline }) => timeline[0]?.streams[0]?.gap_ms > 0);
  check(one, 'a session had an outage with a gap', ledgers.map(({ timeline }) => timeline.length));
  for (const operator of [wide, narrow]) {
    await operator.page.goto(`${operator.url}#session/${one.id}`);
    await operator.until('its outage is a timeline', '#one .chapter', /Outage of a[\s\S]*restored/);
    const steps = await operator.texts('#one .steps li');
    check(/a lost: /.test(steps[0]), 'it begins with the loss', steps);
    check(steps.some((text) => /connected to [ab]/.test(text)), 'it tells where it went', steps);
    check(steps.some((text) => /restored; media stood still for/.test(text)), 'it ends with the verdict and the gap', steps);
  }
  await wide.shoot('session-light');
  await narrow.shoot('session-dark');
  await wide.page.goto(`${wide.url}#`);
}

async function found(operator) {
  await operator.page.selectOption('#search-by', 'node');
  await operator.page.fill('#search-for', 'nowhere');
  await operator.until('what is not there is told', '#search-error', /no node `nowhere`/);
  await operator.page.fill('#search-for', '');
  await operator.page.check('#search-outage');
  await operator.until('nobody is in an outage', '#no-sessions', /No session/);
  await operator.page.uncheck('#search-outage');
  await operator.until('all are there again', '#page-at', /1 to 25/);
}

/** The proxy goes and comes: the page says so, and goes on by itself. */
async function away(stage, operator) {
  await stage.proxy.end();
  await operator.until('it says that the proxy is away', '#away', /No news from the proxy for/);
  same(await operator.text('#link'), 'away', 'in a word');
  await operator.shoot('away');
  await stage.proxy.begin();
  await operator.until('it is live again', '#link', /live/);
  await operator.until('the new proxy had no outage', '#no-outages', /None since/);
  check(!await operator.page.locator('#away').isVisible(), 'nothing is away any more');
}

export const ADMIN_PAGE = [OPERATED];
