// Makes strip_codecs.json: inputs for stripCodecs and what the SDK's own function returns.
//
//   npm pack @flashphoner/websdk@2.0.276 && tar xzf flashphoner-websdk-2.0.276.tgz
//   node strip_codecs.mjs package/src/util.js > strip_codecs.json
import { readFileSync } from "node:fs";

const source = readFileSync(process.argv[2], "utf8");
const start = source.indexOf("const stripCodecs");
const end = source.indexOf("const getCurrentCodecAndSampleRate");
const quiet = { log() {} };
const stripCodecs = new Function("console", source.slice(start, end) + "return stripCodecs;")(quiet);

const offer = [
  "v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
  "a=extmap-allow-mixed", "a=msid-semantic: WMS 5f1c",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0",
  "a=ice-ufrag:u1Xy", "a=ice-pwd:0123456789abcdefghijklmn", "a=ice-options:trickle",
  "a=fingerprint:sha-256 AA:BB:CC", "a=setup:actpass", "a=mid:0", "a=sendonly", "a=rtcp-mux", "a=rtcp-rsize",
  "a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1",
  "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000",
  "a=rtpmap:8 PCMA/8000", "a=rtpmap:13 CN/8000", "a=rtpmap:110 telephone-event/48000",
  "a=rtpmap:126 telephone-event/8000", "a=ssrc:1001 cname:H264lookalike",
  "m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 107 108 109 114 39 40 45 46 98 99 12 120",
  "c=IN IP4 0.0.0.0", "a=mid:1", "a=sendonly", "a=rtcp-mux", "a=rtpmap:96 VP8/90000",
  "a=rtcp-fb:96 goog-remb", "a=rtcp-fb:96 nack pli", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96",
  "a=rtpmap:103 H264/90000", "a=rtcp-fb:103 ccm fir",
  "a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
  "a=rtpmap:104 rtx/90000", "a=fmtp:104 apt=103", "a=rtpmap:107 h264/90000",
  "a=fmtp:107 packetization-mode=0", "a=rtpmap:108 rtx/90000", "a=fmtp:108 apt=107",
  "a=rtpmap:109 VP9/90000", "a=fmtp:109 profile-id=0", "a=rtpmap:114 red/90000", "a=rtpmap:39 AV1/90000",
  "a=rtpmap:40 rtx/90000", "a=rtpmap:45 ulpfec/90000", "a=rtpmap:46 H265/90000", "a=rtpmap:98 VP8/90000",
  "a=rtpmap:99 rtx/90000", "a=rtpmap:12 X-GOOG/90000", "a=fmtp:120 looks=like-12", "a=rtcp-fb:120 nack",
  "a=rtpmap:120 flexfec-03/90000",
].join("\r\n") + "\r\n";

const cases = [];
function add(sdp, codecs) {
  cases.push({ sdp, codecs, expected: stripCodecs(sdp, codecs) });
}

for (const codecs of ["H264", "h264", "VP8", "H264,VP8", "opus", "PCMU,PCMA", "G722", "rtx", "H26",
  "X-GOOG", "flexfec-03", "H264, VP8", "H264,", ",", "", "none", "90000", "rtpmap", "H264,H264", "telephone-event",
  "red,ulpfec,flexfec"]) {
  add(offer, codecs);
}
for (const codecs of ["H264", "flexfec-03"]) {
  add(offer.replaceAll("\r\n", "\n"), codecs);
  add(offer.trimEnd(), codecs);
  add("\r\n\r\n" + offer + "\n\n\r\n", codecs);
}
add("", "H264");
add("", "");
add("\n\n\n", "H264");
add("no sdp at all", "H264");
add("m=video 9 X 96\r\na=rtpmap:96 H264/90000\r\n", "H264");
add("m=video 96 96 96 96 97\r\na=rtpmap:96 H264/90000\r\n", "H264");
add("m=video 9 X 96 96\r\na=rtpmap:96 H264/90000\r\na=rtpmap:96 VP8/90000\r\n", "H264");
add("xm=video 9 X 96\na=rtpmap:96 H264/90000\n a=fmtp:96 x\nm=application 9 X 96\n", "H264");
add("m=video 9  X 96 \t96\u00a0 \ufeff96 \u008596\na=rtpmap:96 H264/90000\n", "H264");
add("a=rtpmap:9 H264/90000\na=fmtp:96 a\na=fmtp:9 b\na=rtcp-fb:9x c\nm=audio 1 2 9 96\n", "H264");
add("a=rtpmapX264 H264\nm=audio 1 2 264 3\n", "H264");

// Random mixes of lines, always the same ones.
let seed = 42;
function random(limit) {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return (seed >>> 8) % limit;
}
const pool = [...offer.split("\r\n"), "", "\r", "a=fmtp:", "a=fmtp:1", "m=audio 9 X 1 2 96\r", "m=video 9 X 96  103 ",
  "a=rtpmap:1 H264/1\r", "a=rtcp-fb:* nack", "A=RTPMAP:96 H264/90000", "a=rtpmap:0096 vp8", "ü H264 m=video 9 8 103"];
const names = ["H264", "VP8", "opus", "rtx", "9", "/8000", "1", "VP8,H264", "a", "G7"];
for (let round = 0; round < 150; round++) {
  const lines = Array.from({ length: 1 + random(20) }, () => pool[random(pool.length)]);
  add(lines.join(["\r\n", "\n"][random(2)]), names[random(names.length)]);
}
console.log(JSON.stringify(cases, null, 0).replaceAll('},{"sdp"', '},\n{"sdp"'));
