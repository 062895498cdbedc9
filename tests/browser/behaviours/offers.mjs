// Peer connections of unusual shape, straight at the signaling and without the SDK: what Chromium
// makes of the answers to them is its own matter, and it is strict about BUNDLE groups.

import { check, same } from '../harness/wait.mjs';

/** Packets of each kind that prove that it flows. */
const PACKETS = 30;
const WITHIN_MS = 15_000;

const publish = { direction: 'sendonly' };
const play = { direction: 'recvonly' };

/** What is added to a peer connection in turn: `camera` and `microphone` publish a track. */
const SHAPES = [
  ['one transport', 'max-bundle', [['microphone', publish], ['camera', publish]]],
  ['data channel and second camera', 'max-bundle', [['data'], ['microphone', publish], ['camera', publish], ['camera', publish]]],
  ['idle section first', 'balanced', [['audio', { direction: 'inactive' }], ['microphone', publish], ['camera', publish]]],
  // The first section speaks for the only transport: Chromium gives up if it is rejected.
  ['idle section first, one transport', 'max-bundle', [['audio', { direction: 'inactive' }], ['microphone', publish], ['camera', publish]]],
  ['other direction first, one transport', 'max-bundle', [['video', play], ['microphone', publish], ['camera', publish]]],
  ['layers', 'max-compat', [['microphone', publish],
    ['camera', { ...publish, sendEncodings: [{ rid: 'h' }, { rid: 'l', scaleResolutionDownBy: 2 }] }]]],
  ['player with one transport', 'max-bundle', [['data'], ['audio', play], ['video', play], ['video', play]]],
  ['player with an idle section first', 'max-bundle', [['audio', { direction: 'inactive' }], ['audio', play], ['video', play]]],
];

/** In the page: says what came of a stream. */
async function tryShape({ url, name, policy, parts, packetsMin, withinMs }) {
  const until = Date.now() + withinMs;
  const socket = new WebSocket(url);
  const say = (message, ...data) => socket.send(JSON.stringify({ message, data }));
  const heard = {};
  const hear = (message) => new Promise((resolve) => { heard[message] = resolve; });
  const [established, answered] = [hear('getUserData'), hear('setRemoteSDP')];
  socket.onmessage = ({ data }) => {
    const { message, data: values } = JSON.parse(data);
    if (message === 'ping') say('pong', null);
    heard[message]?.(values);
  };
  await new Promise((resolve) => { socket.onopen = resolve; });
  say('connection', { appKey: 'defaultApp', mediaProviders: ['WebRTC'], clientVersion: '2.0', custom: {} });
  await established;

  const peer = new RTCPeerConnection({ bundlePolicy: policy });
  const devices = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  for (const [what, options] of parts) {
    if (what === 'data') peer.createDataChannel('data');
    else if (what === 'microphone') peer.addTransceiver(devices.getAudioTracks()[0].clone(), options);
    else if (what === 'camera') peer.addTransceiver(devices.getVideoTracks()[0].clone(), options);
    else peer.addTransceiver(what, options);
  }
  await peer.setLocalDescription();
  const published = parts.some(([what]) => what === 'camera');
  say(published ? 'publishStream' : 'playStream', {
    mediaSessionId: crypto.randomUUID(), name, published, hasVideo: true, hasAudio: true, status: 'PENDING',
    record: false, mediaProvider: 'WebRTC', sdp: peer.localDescription.sdp,
  });
  const [, sdp] = await answered;
  (window.__kept ??= []).push(socket, peer);
  const result = { packets: {}, lines: sdp.split('\r\n').filter((line) => /^(m=|a=group)/.test(line)) };
  try {
    await peer.setRemoteDescription({ type: 'answer', sdp });
  } catch (error) {
    return { ...result, error: String(error) };
  }
  while (Date.now() < until) {
    for (const one of (await peer.getStats()).values()) {
      const count = { 'outbound-rtp': one.packetsSent, 'inbound-rtp': one.packetsReceived }[one.type];
      if (count !== undefined) result.packets[one.kind] = Math.max(result.packets[one.kind] ?? 0, count);
    }
    if (['audio', 'video'].every((kind) => result.packets[kind] > packetsMin)) break;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  return { ...result, state: peer.connectionState };
}

export const OFFERS = [{
  name: 'offers of unusual shape',
  title: 'Peer connections with one transport, idle sections, data channels, layers: media flows in all of them',
  media: 'anchor',
  async play(stage) {
    const tab = await stage.open('shapes', '/examples/demo/streaming/player/player.html', 'proxy');
    let published;
    for (const [title, policy, parts] of SHAPES) {
      // Players play what was published last.
      if (parts.some(([what]) => what === 'camera')) published = stage.name();
      const result = await tab.page.evaluate(tryShape, {
        url: tab.server, name: published, policy, parts, packetsMin: PACKETS, withinMs: WITHIN_MS,
      });
      same([result.error, result.state], [undefined, 'connected'], `${title}: ${result.lines.join(' | ')}`);
      check(['audio', 'video'].every((kind) => result.packets[kind] > PACKETS), `${title}: packets`, result);
    }
  },
}];
