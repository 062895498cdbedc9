//! What the tests of the media anchor share: synthetic browsers, the simulated media server, and
//! a stand-in for the session core that carries descriptions between them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub
)]

pub mod front;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats, PoolSettings, WebRtcClient},
    media::{Client, Fact, Kind, MediaCommand, MediaFact, MediaHandle, MediaSettings, StreamKey},
    session::{Epoch, SessionId},
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings},
};
use tokio::sync::mpsc::{Receiver, channel};

/// Far beyond what any of this takes, so that a busy machine does not fail a test.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn settings() -> MediaSettings {
    MediaSettings {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        workers: 1,
        stats_interval: Duration::from_millis(500),
        // OpenSSL sends a lost flight of DTLS again after 1, 2, 4 s: on a network that loses 3 %, a few
        // losses in a row are within the odds, and not what most tests look at.
        upstream_connect_max: LIMIT,
        client_connect_max: LIMIT,
        ..MediaSettings::default()
    }
}

pub fn anchor() -> MediaHandle {
    MediaHandle::start(settings()).unwrap()
}

pub fn pool() -> ClientPool {
    ClientPool::start(PoolSettings::default()).unwrap()
}

pub fn server() -> Media {
    Media::start(ServerSettings::default()).unwrap()
}

/// With numbers of its own towards each player, and a certificate that differs by its seed.
pub fn odd_server(seed: u64) -> Media {
    Media::start(ServerSettings {
        randomise: true,
        seed,
        rsa_certificate: seed % 2 == 1,
        ..ServerSettings::default()
    })
    .unwrap()
}

pub fn counter(handle: &MediaHandle, name: &str) -> u64 {
    handle.counters().get(name).and_then(serde_json::Value::as_u64).unwrap()
}

/// Waits for what nothing announces, such as the counters that workers publish now and then.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Media after a restart: a new key frame, at least so many more packets of video, and sound.
pub fn flows_again(before: &ClientStats, video_packets: u64) -> impl Fn(&ClientStats) -> bool + use<> {
    let (key_frames, video) = (before.video.key_frames, before.video.packets_received + video_packets);
    let audio = before.audio.packets_received + 20;
    move |s| {
        s.video.key_frames > key_frames
            && s.video.packets_received > video
            && s.audio.packets_received > audio
    }
}

/// The first stream of a session of its own.
pub fn new_key() -> StreamKey {
    static SESSIONS: AtomicU64 = AtomicU64::new(1);
    StreamKey { session: SessionId(SESSIONS.fetch_add(1, Ordering::Relaxed)), number: 1 }
}

/// A client whose media is anchored.
pub struct Anchored {
    pub client: WebRtcClient,
    pub key: StreamKey,
    pub kind: Kind,
    pub name: String,
    /// Of the newest leg, and of the one that is left.
    pub epoch: Epoch,
    left: Option<Epoch>,
    epochs: u32,
    pub facts: Receiver<MediaFact>,
    handle: MediaHandle,
}

impl Anchored {
    /// Opens a stream without an upstream's answer.
    pub async fn open(handle: &MediaHandle, pool: &ClientPool, name: &str, options: ClientOptions) -> Self {
        Self::open_with(handle, pool, name, options, false).await
    }

    /// For a client whose TCP connection arrived at this address.
    pub async fn open_at(
        handle: &MediaHandle,
        pool: &ClientPool,
        name: &str,
        options: ClientOptions,
        local_ip: IpAddr,
    ) -> Self {
        Self::open_any(handle, pool, name, options, false, local_ip).await
    }

    pub async fn open_with(
        handle: &MediaHandle,
        pool: &ClientPool,
        name: &str,
        options: ClientOptions,
        refuse_h264: bool,
    ) -> Self {
        let local_ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self::open_any(handle, pool, name, options, refuse_h264, local_ip).await
    }

    async fn open_any(
        handle: &MediaHandle,
        pool: &ClientPool,
        name: &str,
        options: ClientOptions,
        refuse_h264: bool,
        local_ip: IpAddr,
    ) -> Self {
        let client = pool.client(options.clone()).await.unwrap();
        let offer = client.offer().to_owned();
        Self::open_client(handle, client, name, &options, offer, refuse_h264, local_ip)
    }

    /// For a client whose offer arrives as this text.
    pub async fn open_changed(
        handle: &MediaHandle,
        pool: &ClientPool,
        name: &str,
        options: ClientOptions,
        change: impl FnOnce(&str) -> String,
    ) -> Self {
        let client = pool.client(options.clone()).await.unwrap();
        let offer = change(client.offer());
        Self::open_client(handle, client, name, &options, offer, false, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn open_client(
        handle: &MediaHandle,
        client: WebRtcClient,
        name: &str,
        options: &ClientOptions,
        client_offer: String,
        refuse_h264: bool,
        local_ip: IpAddr,
    ) -> Self {
        let kind = if options.publish { Kind::Publish } else { Kind::Play };
        let (sender, facts) = channel(64);
        let key = new_key();
        handle.order(MediaCommand::Open {
            key,
            kind,
            epoch: Epoch(0),
            client_offer,
            refuse_h264,
            client: Client { local_ip, facts: sender },
        });
        Self {
            client,
            key,
            kind,
            name: name.to_owned(),
            epoch: Epoch(0),
            left: None,
            epochs: 0,
            facts,
            handle: handle.clone(),
        }
    }

    /// Opens, publishes or plays at the server, and connects the client.
    pub async fn start(
        handle: &MediaHandle,
        pool: &ClientPool,
        server: &Media,
        name: &str,
        options: ClientOptions,
        answer: AnswerOptions,
    ) -> Self {
        Self::start_through(handle, pool, server, name, options, answer, str::to_owned).await
    }

    /// The same with an answer that is changed on its way.
    pub async fn start_through(
        handle: &MediaHandle,
        pool: &ClientPool,
        server: &Media,
        name: &str,
        options: ClientOptions,
        answer: AnswerOptions,
        change: impl Fn(&str) -> String,
    ) -> Self {
        let mut anchored = Self::open(handle, pool, name, options).await;
        anchored.attach_changed(server, answer, change).await;
        anchored.connect().await;
        anchored
    }

    /// Hands the client its answer, and returns it.
    pub async fn connect(&mut self) -> String {
        let answer = |fact| if let Fact::ClientAnswer { sdp } = fact { Some(sdp) } else { None };
        let sdp = self.expect(answer).await;
        self.client.apply_answer(&sdp).await.unwrap();
        sdp
    }

    /// The id at the server: a new one per epoch, as in a replay.
    pub fn id(&self) -> String {
        format!("{:?}-{}-{}", self.kind, self.key.session, self.epoch.0)
    }

    /// Takes the upstream offer that is due to the server, and its answer back.
    pub async fn attach_to(&mut self, server: &Media, answer: AnswerOptions) {
        self.attach_changed(server, answer, str::to_owned).await;
    }

    /// The same with an answer that arrives as another text. Returns our offer.
    pub async fn attach_changed(
        &mut self,
        server: &Media,
        answer: AnswerOptions,
        change: impl FnOnce(&str) -> String,
    ) -> String {
        let sdp = self.upstream_offer().await;
        let id = self.id();
        let answer = match self.kind {
            Kind::Publish => server.publish(&id, &self.name, &sdp, answer).await,
            Kind::Play => server.play(&id, &self.name, &sdp, answer).await,
        };
        let answer = answer.unwrap_or_else(|refusal| panic!("{refusal:?} for\n{sdp}"));
        let answer = change(&answer);
        self.order(MediaCommand::UpstreamAnswer { key: self.key, epoch: self.epoch, sdp: answer });
        sdp
    }

    pub async fn upstream_offer(&mut self) -> String {
        let wanted = self.epoch;
        self.expect(|fact| match fact {
            Fact::UpstreamOffer { epoch, sdp } if epoch == wanted => Some(sdp),
            _ => None,
        })
        .await
    }

    /// The upstream died and is there again: a new epoch at this server.
    pub async fn restore(&mut self, server: &Media, answer: AnswerOptions) {
        self.restore_through(server, answer, str::to_owned).await;
    }

    pub async fn restore_through(
        &mut self,
        server: &Media,
        answer: AnswerOptions,
        change: impl Fn(&str) -> String,
    ) {
        self.detach();
        self.attach(true);
        self.attach_changed(server, answer, change).await;
    }

    pub fn detach(&self) {
        self.order(MediaCommand::Detach { key: self.key });
    }

    pub fn attach(&mut self, narrow: bool) {
        self.left = None;
        self.attach_with(narrow, false);
    }

    /// A new epoch begins beside the one there is.
    pub fn attach_beside(&mut self) {
        self.left = self.left.or(Some(self.epoch));
        self.attach_with(true, true);
    }

    fn attach_with(&mut self, narrow: bool, beside: bool) {
        self.epochs += 1;
        self.epoch = Epoch(self.epochs);
        let (key, epoch) = (self.key, self.epoch);
        self.order(MediaCommand::Attach { key, epoch, narrow, refuse_h264: false, beside });
    }

    /// The move is made.
    pub fn let_go(&mut self) {
        self.left = None;
        self.order(MediaCommand::LetGo { key: self.key });
    }

    /// The move came to nothing.
    pub fn come_back(&mut self) {
        self.epoch = self.left.take().expect("a leg is left");
        self.order(MediaCommand::Return { key: self.key });
    }

    /// A leg at this server takes over from the one there is, as a planned move does it. Returns the id
    /// that the one before had at its server.
    pub async fn move_to(&mut self, server: &Media, answer: AnswerOptions) -> String {
        let before = self.id();
        self.attach_beside();
        self.attach_to(server, answer).await;
        self.proof().await;
        self.let_go();
        before
    }

    pub fn order(&self, command: MediaCommand<Client>) {
        self.handle.order(command);
    }

    /// Waits for a fact, passing over others; panics on the end of the stream.
    pub async fn expect<T>(&mut self, pick: impl Fn(Fact) -> Option<T>) -> T {
        let wait = async {
            loop {
                let MediaFact { fact, .. } = self.facts.recv().await.expect("the stream lives");
                let text = short(&fact);
                if let Some(found) = pick(fact) {
                    return found;
                }
                assert!(!text.starts_with("Unanchorable"), "{text}");
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("the fact comes in time")
    }

    /// Waits for the whole proof of the current epoch.
    pub async fn proof(&mut self) -> bool {
        let wanted = self.epoch;
        self.expect(|fact| match fact {
            Fact::Flowing { epoch, key_frame, complete: true } if epoch == wanted => Some(key_frame),
            Fact::UpstreamFailed { reason, .. } => panic!("the upstream leg failed: {reason}"),
            _ => None,
        })
        .await
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&ClientStats) -> bool) -> ClientStats {
        match self.client.wait_for(LIMIT, condition).await {
            Ok(stats) => stats,
            Err(stats) => panic!("{what} did not happen: {stats:#?}"),
        }
    }
}

fn short(fact: &Fact) -> String {
    format!("{fact:?}").chars().take(200).collect()
}

/// Video and audio arrive, and key frames among them.
pub fn flowing(stats: &ClientStats) -> bool {
    stats.video.packets_received > 60 && stats.audio.packets_received > 30 && stats.video.key_frames > 0
}

/// What a receiver may never see.
pub fn assert_continuous(stats: &ClientStats, what: &str) {
    for (kind, track) in [("video", &stats.video), ("audio", &stats.audio)] {
        assert_eq!(track.ssrc_changes, 0, "{what}, {kind}: one SSRC for life: {stats:#?}");
        assert_eq!(track.timestamp_steps_back, 0, "{what}, {kind}: time goes on: {stats:#?}");
    }
}

/// A publisher and its player, both anchored at the same server.
pub async fn pair(
    handle: &MediaHandle,
    pool: &ClientPool,
    server: &Media,
    name: &str,
    answer: &AnswerOptions,
) -> (Anchored, Anchored) {
    let mut publisher =
        Anchored::start(handle, pool, server, name, ClientOptions::publish(), answer.clone()).await;
    assert!(publisher.proof().await, "a key frame went up");
    let mut player = Anchored::start(handle, pool, server, name, ClientOptions::play(), answer.clone()).await;
    assert!(player.proof().await, "a key frame came down");
    (publisher, player)
}
