// Which cases there are, and which of them run by default: every outage on at least two pages,
// every page in at least two outages, each outage with its control.

import { OUTAGES } from './outages.mjs';
import { behaviourCase, outageCase } from './harness/cases.mjs';
import { ADMIN_PAGE } from './behaviours/admin_page.mjs';
import { CHOICES } from './behaviours/choices.mjs';
import { CODECS } from './behaviours/codecs.mjs';
import { DRAINING } from './behaviours/draining.mjs';
import { ENCODER } from './behaviours/encoder.mjs';
import { FIREFOX } from './behaviours/firefox.mjs';
import { NETWORK } from './behaviours/network.mjs';
import { OFFERS } from './behaviours/offers.mjs';
import { ONE_HOST } from './behaviours/one_host.mjs';
import { OWN_TESTS } from './behaviours/own_tests.mjs';
import { PENDING } from './behaviours/pending.mjs';
import { REFUSALS } from './behaviours/refusals.mjs';
import { ROOMS } from './behaviours/rooms.mjs';
import { SERVERS } from './behaviours/servers.mjs';
import { twoWayStreaming } from './pages/two_way_streaming.mjs';
import { streamer } from './pages/streamer.mjs';
import { player } from './pages/player.mjs';
import { autoRestore } from './pages/stream_auto_restore.mjs';
import { msePlayer } from './pages/mse_player.mjs';
import { twoPlayers } from './pages/two_players.mjs';
import { conference } from './pages/conference.mjs';

export const PAGES = [twoWayStreaming, player, streamer, autoRestore, twoPlayers, msePlayer, conference];

const BEHAVIOURS = [...OWN_TESTS, ...PENDING, ...REFUSALS, ...CHOICES, ...CODECS];

// Those whose anchored side CI has to see as well.
const BOTH = ['H264 refused'];

// Stories that only anchored media can tell.
const ANCHORED = [...ADMIN_PAGE, ...DRAINING, ...ROOMS, ...ENCODER, ...NETWORK, ...OFFERS, ...ONE_HOST, ...SERVERS, ...FIREFOX];

// outage: pages; the first one has the control beside it.
const DEFAULT = {
  long: [player, autoRestore],
  freeze: [twoWayStreaming, conference],
  five: [twoWayStreaming, msePlayer],
  silence: [twoWayStreaming, msePlayer],
  kill: [twoWayStreaming, conference, msePlayer],
  fin: [streamer, msePlayer],
  rst: [autoRestore, twoPlayers],
  close_1001: [conference, player],
  close_1012: [twoPlayers, streamer],
  slow: [twoWayStreaming, streamer],
};

// The same with anchored media, where no page may notice anything. Without controls: those above
// show that the outages are real.
const DEFAULT_ANCHORED = {
  long: [twoWayStreaming, conference],
  freeze: [player, autoRestore],
  five: [twoWayStreaming, autoRestore],
  silence: [twoWayStreaming, msePlayer],
  kill: [twoWayStreaming, twoPlayers],
  fin: [conference, player],
  rst: [streamer, msePlayer],
  close_1001: [streamer, twoPlayers],
  close_1012: [player, conference],
  slow: [twoWayStreaming, streamer],
};

// Pages and outages that Firefox has to bear, too; `behaviours/firefox.mjs` has what is its own.
const DEFAULT_FIREFOX = { kill: [twoWayStreaming, player] };

function chosen(selection, media, control, browser) {
  return Object.entries(selection).flatMap(([name, pages]) => pages.map((page, index) => (
    outageCase(page, OUTAGES.find((outage) => outage.name === name), { control: control && index === 0, media, browser }))));
}

/** The cases to run, the longest first. `media`: only this kind; none: the default of both. */
export function select({ full, media }) {
  const kind = media ?? 'direct';
  const cases = full
    ? OUTAGES.flatMap((outage) => PAGES.map((page) => outageCase(page, outage, { control: true, media: kind })))
    : media === 'anchor' ? chosen(DEFAULT_ANCHORED, 'anchor', false) : chosen(DEFAULT, 'direct', true);
  if (!full && media === undefined) cases.push(...chosen(DEFAULT_ANCHORED, 'anchor', false));
  for (const behaviour of BEHAVIOURS) {
    cases.push(behaviourCase(behaviour, { media: kind }));
    if (media === undefined && BOTH.includes(behaviour.name)) cases.push(behaviourCase(behaviour, { media: 'anchor' }));
  }
  if (media !== 'direct') {
    cases.push(...chosen(DEFAULT_FIREFOX, 'anchor', false, 'firefox'));
    cases.push(...ANCHORED.filter((behaviour) => full || !behaviour.full)
      .map((behaviour) => behaviourCase(behaviour, { media: 'anchor' })));
  }
  return cases.sort((one, other) => other.weight - one.weight);
}
