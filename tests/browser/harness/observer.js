// Runs in every page before the page's own scripts. It only watches: constructors are wrapped to
// keep references, listeners are added, nothing that the page or the SDK sees is changed.
(() => {
  const records = { sockets: [], peers: [], labels: [], errors: [], gaps: [] };
  Object.defineProperty(window, '__watch', { value: records });
  const now = () => Date.now();

  // One line per signaling message: who sent what about which stream.
  function summary(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return { name: '(not JSON)' };
    }
    const first = Array.isArray(message.data) ? message.data[0] : message.data;
    const line = { name: message.message };
    if (typeof first === 'string') line.id = first;
    if (first && typeof first === 'object') {
      line.id = first.mediaSessionId ?? first.callId ?? first.operationId;
      for (const key of ['status', 'info', 'published']) {
        if (first[key] !== undefined) line[key] = first[key];
      }
      if (first.name !== undefined) line.stream = first.name;
      if (first.payload?.command) line.command = first.payload.command;
      if (message.message === 'OnDataEvent' && first.payload?.name) line.event = first.payload.name;
    }
    return line;
  }

  window.WebSocket = new Proxy(window.WebSocket, {
    construct(target, args, newTarget) {
      const socket = Reflect.construct(target, args, newTarget);
      const record = {
        url: socket.url, kind: 'signaling', opened: null, closed: null, code: null, failed: false,
        messages: [], binaries: 0, bytes: 0, lastBinary: null,
      };
      Object.defineProperty(record, 'socket', { value: socket, enumerable: false });
      records.sockets.push(record);
      socket.addEventListener('open', () => { record.opened = now(); });
      socket.addEventListener('error', () => { record.failed = true; });
      socket.addEventListener('close', (event) => { record.closed = now(); record.code = event.code; });
      socket.addEventListener('message', (event) => {
        if (typeof event.data === 'string') {
          record.messages.push({ at: now(), from: 'server', ...summary(event.data) });
        } else {
          record.binaries += 1;
          record.bytes += event.data.byteLength ?? event.data.size ?? 0;
          record.lastBinary = now();
        }
      });
      const send = socket.send.bind(socket);
      socket.send = (data) => {
        if (typeof data === 'string') {
          const line = summary(data);
          if (line.name === 'connectMediaTransport') record.kind = 'media';
          record.messages.push({ at: now(), from: 'client', ...line });
        }
        return send(data);
      };
      return socket;
    },
  });

  window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
    construct(target, args, newTarget) {
      const peer = Reflect.construct(target, args, newTarget);
      const record = { created: now(), states: [] };
      Object.defineProperty(record, 'peer', { value: peer, enumerable: false });
      records.peers.push(record);
      peer.addEventListener('connectionstatechange', () => {
        record.states.push({ at: now(), state: peer.connectionState });
      });
      return peer;
    },
  });

  // The pages write each status change into a label; a label that gets the same text again is a
  // callback that ran again, and is recorded as well.
  new MutationObserver((mutations) => {
    for (const mutation of mutations) {
      const id = mutation.target.id;
      if (!id || !/status\d?$/i.test(id) || mutation.addedNodes.length === 0) continue;
      records.labels.push({ at: now(), id, text: mutation.addedNodes[0].textContent });
    }
  }).observe(document, { childList: true, subtree: true });

  // Pauses of a video's picture: from the last frame before to the first one after. Tracks are read
  // beside the element, as the tab may be behind another one, where pictures are painted once a second.
  const GAP_MS = 250;
  const GAPS_MAX = 1_000;
  const followed = new WeakSet();
  function follow(video) {
    const track = video.srcObject?.getVideoTracks?.()[0];
    if (!track && !video.src) return;
    followed.add(video);
    const { id, parentElement } = video;
    let last = null;
    const frame = () => {
      const present = now();
      if (last !== null && present - last >= GAP_MS && records.gaps.length < GAPS_MAX) {
        records.gaps.push({ video: id, parent: parentElement?.id, from: last, to: present });
      }
      last = present;
    };
    if (track && window.MediaStreamTrackProcessor) {
      read(track, frame);
    } else {
      const painted = () => {
        frame();
        video.requestVideoFrameCallback(painted);
      };
      video.requestVideoFrameCallback(painted);
    }
  }
  async function read(track, frame) {
    const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      value.close();
      frame();
    }
  }
  setInterval(() => {
    for (const video of document.querySelectorAll('video')) {
      if (!followed.has(video)) follow(video);
    }
  }, 200);

  window.addEventListener('error', (event) => records.errors.push(String(event.message)));
  window.addEventListener('unhandledrejection', (event) => records.errors.push(String(event.reason)));

  const ranges = (times) => Array.from({ length: times.length }, (_, index) => [times.start(index), times.end(index)]);

  // What the media does: cumulated over all peer connections that are not closed.
  Object.defineProperty(window, '__media', {
    value: async () => {
      const result = { peers: [], videos: [] };
      for (const [index, { peer }] of records.peers.entries()) {
        const entry = { index, connection: peer.connectionState, signaling: peer.signalingState };
        result.peers.push(entry);
        if (peer.signalingState === 'closed') continue;
        const stats = await peer.getStats();
        stats.forEach((stat) => {
          if (stat.type !== 'inbound-rtp' && stat.type !== 'outbound-rtp') return;
          const side = (entry[`${stat.type === 'inbound-rtp' ? 'in' : 'out'}_${stat.kind}`] ??= {});
          for (const key of ['packetsReceived', 'packetsSent', 'bytesSent', 'framesDecoded', 'framesEncoded',
            'totalSamplesReceived', 'concealedSamples', 'freezeCount', 'keyFramesEncoded', 'pliCount']) {
            if (stat[key] !== undefined) side[key] = stat[key];
          }
          const codec = stats.get(stat.codecId);
          if (codec) side.codec = codec.mimeType.split('/')[1];
        });
      }
      for (const video of document.querySelectorAll('video')) {
        result.videos.push({
          id: video.id, parent: video.parentElement?.id, time: video.currentTime, paused: video.paused,
          width: video.videoWidth, frames: video.getVideoPlaybackQuality().totalVideoFrames,
          ready: video.readyState, buffered: ranges(video.buffered), error: video.error?.message,
        });
      }
      return result;
    },
  });

  // A coarse picture of what a video shows, to tell a moving picture from a frozen one.
  Object.defineProperty(window, '__picture', {
    value: (selector) => {
      const video = document.querySelector(selector);
      if (!video || !video.videoWidth) return null;
      const canvas = document.createElement('canvas');
      canvas.width = 64;
      canvas.height = 48;
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(video, 0, 0, 64, 48);
      return Array.from(context.getImageData(0, 0, 64, 48).data.filter((_, index) => index % 4 === 1));
    },
  });
})();
