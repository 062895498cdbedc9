// The browser and its tabs, with the observer in every page.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { until } from './wait.mjs';

const OBSERVER = path.join(path.dirname(fileURLToPath(import.meta.url)), 'observer.js');
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream', '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required', '--mute-audio',
];

export async function launchBrowser() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/** One tab with a page of the SDK's package. */
export class Tab {
  static async open(context, name, url) {
    const page = await context.newPage();
    const tab = new Tab(page, name);
    page.setDefaultTimeout(15_000);
    page.on('console', (message) => tab.console.push(`${new Date().toISOString()} ${message.text()}`));
    page.on('pageerror', (error) => tab.console.push(`${new Date().toISOString()} ERROR ${error.message}`));
    await page.addInitScript({ path: OBSERVER });
    await page.goto(url);
    return tab;
  }

  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.console = [];
  }

  fill(id, text) {
    return this.page.fill(`#${id}`, text);
  }

  /** Clicks as soon as the page allows it. */
  click(id, withinMs = 15_000) {
    return this.page.click(`#${id}`, { timeout: withinMs });
  }

  text(id) {
    return this.page.evaluate((id) => document.getElementById(id)?.textContent ?? '', id);
  }

  media() {
    return this.page.evaluate(() => window.__media());
  }

  watch() {
    return this.page.evaluate(() => window.__watch);
  }

  /** Pauses of the pictures that came from the server; a camera's own picture is none of them. */
  async pauses() {
    return (await this.watch()).gaps.filter((gap) => !/local/i.test(gap.parent ?? ''));
  }

  /** The texts a label had since `since`, in order. */
  async labels(id, since = 0) {
    const { labels } = await this.watch();
    return labels.filter((label) => label.id === id && label.at >= since).map((label) => label.text);
  }

  async untilLabel(id, text, withinMs = 15_000) {
    await until(`${this.name}: #${id} says ${text}`, async () => (await this.text(id)) === text, {
      withinMs, seen: async () => ({ now: await this.text(id), all: await this.labels(id) }),
    });
  }

  /** Waits until `text` is the last of what a label said since `since`. */
  async untilTold(id, text, since, withinMs = 15_000) {
    await until(`${this.name}: #${id} says ${text} again`, async () => (await this.labels(id, since)).at(-1) === text, {
      withinMs, seen: () => this.labels(id, since),
    });
  }

  /** Signaling messages since `since` for which `wanted` holds. */
  async messages(wanted, since = 0) {
    const { sockets } = await this.watch();
    return sockets.filter((socket) => socket.kind === 'signaling').flatMap((socket) => socket.messages)
      .filter((message) => message.at >= since && wanted(message));
  }

  /** Frames decoded so far in the peer connections and by each video element. */
  async frames() {
    const { peers, videos } = await this.media();
    return {
      decoded: peers.map((peer) => peer.in_video?.framesDecoded ?? 0),
      audio: peers.map((peer) => (peer.in_audio?.totalSamplesReceived ?? 0) - (peer.in_audio?.concealedSamples ?? 0)),
      sent: peers.map((peer) => peer.out_video?.packetsSent ?? 0),
      videos: videos.map((video) => video.frames),
    };
  }

  /** Waits until `count` peer connections decode at least `more` further frames, and audio too. */
  async untilFramesMove(count, { withinMs = 15_000, more = 10 } = {}) {
    const before = await this.frames();
    const moved = async () => {
      const after = await this.frames();
      const grew = (key, least) => after[key].filter((value, index) => value - (before[key][index] ?? 0) >= least).length;
      return { decoding: grew('decoded', more), hearing: grew('audio', 4_800) };
    };
    await until(`${this.name}: frames and audio move in ${count} peer connection(s)`, async () => {
      const { decoding, hearing } = await moved();
      return decoding >= count && hearing >= count;
    }, { withinMs, seen: moved });
  }

  /** Waits until the picture of a video differs from the one it shows now. */
  async untilPictureChanges(selector, withinMs = 10_000) {
    const before = await this.picture(selector);
    await until(`${this.name}: the picture in ${selector} changes`, async () => {
      const after = await this.picture(selector);
      return before && after && difference(before, after) > 0;
    }, { withinMs });
  }

  picture(selector) {
    return this.page.evaluate((selector) => window.__picture(selector), selector);
  }

  async close() {
    await this.page.close();
  }
}

/** How many of the pixels of two pictures differ clearly. */
export function difference(one, other) {
  return one.filter((pixel, index) => Math.abs(pixel - other[index]) > 24).length;
}
