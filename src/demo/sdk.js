// The same client as in page.js, by the vendor's SDK (served from its npm package).

await new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = '/sdk/flashphoner-webrtc-only.js';
  script.onload = resolve;
  script.onerror = () => reject(new Error('the SDK cannot be loaded'));
  document.head.append(script);
});
const { Flashphoner } = window;
Flashphoner.init({});
const { SESSION_STATUS, STREAM_STATUS } = Flashphoner.constants;

export class SdkClient {
  constructor(url, onStatus) {
    this.url = url;
    this.onStatus = onStatus;
  }

  connect() {
    return new Promise((resolve, reject) => {
      const ended = (word) => () => { this.onStatus(word); reject(new Error(word)); };
      Flashphoner.createSession({ urlServer: this.url })
        .on(SESSION_STATUS.ESTABLISHED, (session) => { this.session = session; resolve(); })
        .on(SESSION_STATUS.DISCONNECTED, ended('session disconnected'))
        .on(SESSION_STATUS.FAILED, ended('session failed'));
    });
  }

  stream(options, onRuns) {
    const stream = this.session.createStream(options);
    for (const word of ['PUBLISHING', 'PLAYING', 'FAILED', 'STOPPED', 'UNPUBLISHED']) {
      stream.on(STREAM_STATUS[word], (stream) => {
        this.onStatus(word, stream.getInfo());
        if (word === 'PLAYING') onRuns(stream);
      });
    }
    return stream;
  }

  publish(name, media) {
    // The SDK wants a place for its preview; the page shows the canvas itself.
    const display = document.createElement('div');
    display.hidden = true;
    document.body.append(display);
    const constraints = { audio: false, video: false, customStream: media };
    this.stream({ name, display, receiveVideo: false, receiveAudio: false, constraints }).publish();
  }

  play(name, display, onVideo) {
    display.replaceChildren();
    this.stream({ name, display }, (stream) => onVideo(document.getElementById(stream.id()))).play();
  }
}
