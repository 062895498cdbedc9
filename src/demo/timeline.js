// The timeline: what happened to the servers, the sessions and the pictures in the last seconds. Draws what it is given
// and keeps nothing.

const ROW = 26;
const TOP = 20;
const COLOURS = {
  up: '#2a9d5c', down: '#d0443e', drain: '#3b7dd8', attempt: '#e0a030', session: '#3b7dd8', stream: '#7a52c7',
};
const LEGEND = [
  ['up', 'server up, picture moves'], ['down', 'server gone'], ['drain', 'server drained'], ['band', 'outage'],
  ['attempt', 'dial failed', 'dot'], ['session', 'session', 'dot'], ['stream', 'stream', 'dot'],
];

export function drawLegend(list) {
  list.innerHTML = LEGEND.map(([name, words, shape = '']) => (
    `<li><i class="${shape}" style="background:${name === 'band' ? '#d0443e33' : COLOURS[name]}"></i>${words}</li>`)).join('');
}

/** `now` and all times in ms; `servers`: per name the states it took; `pictures`: per viewer when it moved. */
export function drawTimeline(svg, { now, servers, inUse, events, pictures, bands }) {
  const width = Math.max(svg.clientWidth, 200);
  const isNarrow = width < 600;
  const span = isNarrow ? 15_000 : 30_000;
  const left = isNarrow ? 84 : 150;
  const right = width - 12;
  const x = (at) => left + Math.max(0, Math.min(1, (at - (now - span)) / span)) * (right - left);
  const isIn = (from, to = now) => to > now - span && from <= now;
  const names = Object.keys(servers);
  const rows = [...names, 'session', 'stream', 'held', 'bare'];
  const labels = {
    ...Object.fromEntries(names.map((name) => [name, `server ${name}${name === inUse ? (isNarrow ? ' ●' : ' ● in use') : ''}`])),
    session: isNarrow ? 'sessions' : 'sessions of Holdfast', stream: 'streams',
    held: isNarrow ? 'Holdfast' : 'picture via Holdfast', bare: isNarrow ? 'straight' : 'picture straight',
  };
  const height = TOP + rows.length * ROW + 22;
  const y = (row) => TOP + rows.indexOf(row) * ROW + ROW / 2;
  const parts = [];
  const text = (at, down, words, more = '') => parts.push(
    `<text x="${at}" y="${down}" font-size="12" fill="currentColor" ${more}>${words}</text>`);
  const bar = (from, to, row, colour, size) => parts.push(
    `<rect x="${x(from)}" width="${Math.max(x(to) - x(from), 1)}" y="${y(row) - size / 2}" height="${size}" fill="${colour}"/>`);

  for (const { from, to } of bands.filter((band) => isIn(band.from, band.to ?? now))) {
    const end = to ?? now;
    parts.push(`<rect class="band" x="${x(from)}" width="${Math.max(x(end) - x(from), 3)}" y="2" height="${TOP + rows.length * ROW - 2}" fill="#d0443e33"/>`);
    const atEdge = x(from) > right - 90;
    text(atEdge ? x(end) : x(from) + 3, 14, `outage ${((end - from) / 1000).toFixed(1)} s`, `fill-opacity=".85"${atEdge ? ' text-anchor="end"' : ''}`);
  }
  const step = 5_000;
  for (let ago = 0; ago <= span; ago += step) {
    const at = x(now - ago);
    parts.push(`<line x1="${at}" x2="${at}" y1="${TOP}" y2="${height - 20}" stroke="#8883"/>`);
    text(at, height - 6, ago === 0 ? 'now' : `−${ago / 1000} s`, `text-anchor="${ago === 0 ? 'end' : 'middle'}" fill-opacity=".75"`);
  }
  for (const row of rows) {
    text(8, y(row) + 4, labels[row], row === inUse ? 'font-weight="600"' : '');
    parts.push(`<line x1="${left}" x2="${right}" y1="${y(row)}" y2="${y(row)}" stroke="#8884"/>`);
  }
  for (const name of names) {
    servers[name].forEach(({ at, state }, index) => {
      const end = servers[name][index + 1]?.at ?? now;
      if (isIn(at, end)) bar(at, end, name, COLOURS[state], state === 'up' ? 4 : 12);
    });
  }
  for (const who of ['held', 'bare']) {
    for (const { from, to } of pictures[who].filter((run) => isIn(run.from, run.to))) bar(from, to, who, COLOURS.up, 12);
  }
  for (const { at, kind } of events.filter((event) => isIn(event.at, event.at))) {
    const row = { attempt: 'session', session: 'session', stream: 'stream' }[kind];
    if (row) parts.push(`<circle cx="${x(at)}" cy="${y(row)}" r="5" fill="${COLOURS[kind]}"/>`);
  }
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.innerHTML = parts.join('');
}
