//! Anchored media: the client's transport ends at the proxy. In every outage the media goes on
//! there, nobody is told anything, and the receiver sees one continuous stream.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast::{
    config::{ListenAddress, MediaMode, MediaSettings},
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats, PoolSettings, WebRtcClient},
    media::{Fault, Kind, LegStats, StreamKey, StreamStats},
    net::Proxy,
    session::SessionId,
    session::StreamSnapshot,
};
use serde_json::json;

use crate::{
    common::{
        PATIENCE, anchor,
        checks::{assert_intents_once, assert_no_violation, count},
        let_pass,
        outage::{OUTAGES, Outage},
        page::{Page, media_until},
        pool, proxy_with,
        server::Server,
        wait_until,
    },
    side_by_side,
};

/// A publisher and its player with real media, both running.
pub struct Pair {
    pub publisher: Page,
    pub player: Page,
    pub camera: Arc<WebRtcClient>,
    pub screen: Arc<WebRtcClient>,
}

impl Pair {
    pub async fn start(address: std::net::SocketAddr, pool: &ClientPool, name: &str) -> Self {
        let publisher = Page::establish(address).await;
        let player = Page::establish(address).await;
        let camera = publisher.start_media(pool, "p1", name, ClientOptions::publish()).await;
        publisher.wait_status("p1", "PUBLISHING").await;
        let screen = player.start_media(pool, "v1", name, ClientOptions::play()).await;
        player.wait_status("v1", "PLAYING").await;
        let pair = Self { publisher, player, camera, screen };
        pair.media_goes_on("the first picture", &ClientStats::default()).await;
        pair
    }

    /// Waits for a new key frame, and video and audio after it.
    pub async fn media_goes_on(&self, what: &str, before: &ClientStats) -> ClientStats {
        media_until(&self.screen, what, |now| {
            now.video.key_frames > before.video.key_frames
                && now.video.packets_received > before.video.packets_received + 60
                && now.audio.packets_received > before.audio.packets_received + 30
        })
        .await
    }

    /// What neither client may have noticed.
    pub fn assert_unaware(&self, what: &str) {
        for (page, id, running) in [(&self.publisher, "p1", "PUBLISHING"), (&self.player, "v1", "PLAYING")] {
            assert!(page.is_open(), "{what}: {}", page.summary());
            assert_eq!(page.statuses(id), [running], "{what}: {}", page.summary());
            // Where this process gets no processor for seconds, a client leg is silent and is revived: the same
            // transport with new credentials. Another answer would be another transport.
            assert_eq!(page.remote_sdps(id) - page.revivals(id), 1, "{what}: the same transport");
            assert_eq!(page.session_callbacks(), 2, "{what}: {}", page.summary());
        }
        assert!(self.camera.stats().connected && !self.camera.stats().failed, "{what}");
        let stats = self.screen.stats();
        assert!(stats.connected && !stats.failed, "{what}");
        for (kind, track) in [("video", &stats.video), ("audio", &stats.audio)] {
            assert_eq!(track.ssrc_changes, 0, "{what}: one SSRC of {kind}");
            assert_eq!(track.timestamp_steps_back, 0, "{what}: time of {kind} goes on: {track:#?}");
            // Sequence numbers that began anew would make every packet since then a late one.
            assert!(track.late < 40, "{what}: sequence numbers of {kind} go on: {track:#?}");
        }
    }
}

/// The proxy holds no stream and no upstream socket of sessions that are gone.
pub async fn assert_nothing_left(proxy: &Proxy, what: &str) {
    let media = proxy.media().unwrap();
    wait_until(&format!("{what}: all streams are gone"), || {
        let counters = media.counters();
        media.streams() == 0 && counters["streams"] == 0 && counters["upstream_sockets"] == 0
    })
    .await;
    wait_until(&format!("{what}: all sessions are gone"), || proxy.facts().places_taken == 0).await;
}

/// What the proxy shows of all streams, as soon as it counts so many gaps in each.
async fn shown_with_gaps(proxy: &Proxy, gaps: u64) -> Vec<StreamSnapshot> {
    let limit = Instant::now() + PATIENCE;
    loop {
        let streams: Vec<StreamSnapshot> =
            proxy.describe(10).await.into_iter().flat_map(|session| session.streams).collect();
        if streams.len() == 2 && streams.iter().all(|stream| is_counted(stream, gaps)) {
            return streams;
        }
        assert!(Instant::now() < limit, "in vain: {streams:#?}");
        let_pass(Duration::from_millis(50)).await;
    }
}

/// The reports that tell loss and round trip come every few seconds.
fn is_counted(stream: &StreamSnapshot, gaps: u64) -> bool {
    stream.numbers.as_ref().is_some_and(|numbers| {
        let (from, to) = from_and_to(numbers);
        numbers.gaps == gaps
            && from.loss_received.is_some()
            && to.loss_sent.is_some()
            && to.round_trip_ms.is_some()
    })
}

fn from_and_to(numbers: &StreamStats) -> (&LegStats, &LegStats) {
    if numbers.kind == Some(Kind::Publish) {
        (&numbers.client, &numbers.upstream)
    } else {
        (&numbers.upstream, &numbers.client)
    }
}

async fn the_picture_goes_on(outage: Outage) {
    let mut server = Server::start(json!({"pings": {"interval_ms": 200, "missed_max": 7}})).await;
    let proxy = anchor(server.address).await;
    let what = format!("{outage:?}");
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    let before = pair.screen.stats();
    outage.strike(&mut server).await;
    pair.media_goes_on(&what, &before).await;
    pair.assert_unaware(&what);
    let journal = server.journal().await;
    assert_eq!(count(&journal, "session"), 4, "{what}: one connection per epoch\n{journal:#?}");
    assert_intents_once(&journal, &what);
    assert_no_violation(&server, &what).await;
    drop(pair);
    assert_nothing_left(&proxy, &what).await;
    server.wait_for("no ghost", |state| state["now"]["sessions"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_each_outage_the_picture_goes_on_and_nobody_is_told() {
    // Real media costs time of the processor: a few at once.
    for outages in OUTAGES.chunks(3) {
        side_by_side(outages.iter().map(|outage| the_picture_goes_on(*outage))).await;
    }
}

/// Here the death of a server is seen by the media as well, before or after the signaling sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_the_picture_goes_on_as_well() {
    let mut server = Server::start(json!({"streams": {"answer_shape": "C"}})).await;
    let proxy = anchor(server.address).await;
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    for round in 0..2 {
        let before = pair.screen.stats();
        Outage::Kill(Duration::from_secs(1)).strike(&mut server).await;
        pair.media_goes_on(&format!("over TCP, restart {round}"), &before).await;
        pair.assert_unaware(&format!("over TCP, restart {round}"));
    }
    assert_intents_once(&server.journal().await, "over TCP");
    assert_no_violation(&server, "over TCP").await;
    for stream in shown_with_gaps(&proxy, 2).await {
        let numbers = stream.numbers.unwrap();
        assert_eq!((stream.restored, numbers.attached), (2, 3), "{numbers:?}");
        assert!(stream.last_outage_ms.is_some_and(|ms| ms >= 900), "{:?}", stream.last_outage_ms);
        assert!(numbers.gaps_ms.len() == 2 && numbers.gaps_ms.iter().all(|ms| *ms >= 900), "{numbers:?}");
        assert_eq!(numbers.video_codec.as_deref(), Some("VP8"));
        assert_eq!(numbers.audio_codec.as_deref(), Some("opus"));
        assert!(numbers.key_frames >= 3, "{numbers:?}");
        let (from, to) = from_and_to(&numbers);
        assert!(from.packets_received > 100 && to.packets_sent > 100, "{numbers:?}");
    }
    drop(pair);
    assert_nothing_left(&proxy, "over TCP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_ipv6_the_picture_goes_on_as_well() {
    let mut server = Server::start(json!({"media_server": {"bind_ip": "::1"}})).await;
    let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let proxy = proxy_with(server.address, MediaMode::Anchor, |config| {
        config.net.listen.address = vec![ListenAddress { address: loopback, tls: None }];
        // As by default, but for the port.
        config.media.listen = SocketAddr::new(MediaSettings::default().listen.ip(), 0);
    })
    .await;
    let address = proxy.address();
    assert!(address.is_ipv6());
    let pool = ClientPool::start(PoolSettings { bind_ip: loopback.ip(), ..PoolSettings::default() }).unwrap();
    let pair = Pair::start(address, &pool, "cam").await;
    let before = pair.screen.stats();
    Outage::Kill(Duration::from_secs(1)).strike(&mut server).await;
    pair.media_goes_on("IPv6", &before).await;
    pair.assert_unaware("IPv6");
    assert_no_violation(&server, "IPv6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_restarts_and_slow_publishes_are_survived() {
    let mut server = Server::start(json!({"streams": {"publish_delay_ms": 700}})).await;
    let proxy = anchor(server.address).await;
    let pair = Pair::start(proxy.address(), &pool(), "cam").await;
    for round in 0..3 {
        let before = pair.screen.stats();
        Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
        // Killed again while the replayed publish waits for its answer.
        server.wait_for("the replay is asked for", |state| state["now"]["streams_pending"] == 1).await;
        Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
        pair.media_goes_on(&format!("restart {round}"), &before).await;
        pair.assert_unaware(&format!("restart {round}"));
    }
    assert_intents_once(&server.journal().await, "restarts");
    assert_no_violation(&server, "restarts").await;
}

/// Whatever goes wrong in the media code, the clients hear the truth and can start again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_the_media_code_is_told_to_those_it_hits() {
    let server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let (media, pool) = (proxy.media().unwrap(), pool());
    let pair = Pair::start(proxy.address(), &pool, "cam").await;
    // Sessions are numbered in the order they came: the publisher, then its player.
    media.break_on_purpose(StreamKey { session: SessionId(2), number: 1 }, Fault::Step);
    pair.player.wait_status("v1", "FAILED").await;
    assert_eq!(pair.publisher.statuses("p1"), ["PUBLISHING"]);
    assert!(media.health().is_healthy() && media.health().worker_restarts == 0, "{:?}", media.health());
    let again = pair.player.start_media(&pool, "v2", "cam", ClientOptions::play()).await;
    let moves = |now: &ClientStats| now.video.key_frames > 0 && now.video.packets_received > 60;
    media_until(&again, "the publisher goes on, and its player is back", moves).await;
    for lane in 0..media.health().workers as u64 {
        media.break_on_purpose(StreamKey { session: SessionId(lane), number: 1 }, Fault::Worker);
    }
    pair.publisher.wait_status("p1", "FAILED").await;
    pair.player.wait_status("v2", "FAILED").await;
    wait_until("all workers work again", || {
        let health = media.health();
        health.is_healthy() && health.worker_restarts == health.workers as u64
    })
    .await;
    let _camera = pair.publisher.start_media(&pool, "p3", "next", ClientOptions::publish()).await;
    pair.publisher.wait_status("p3", "PUBLISHING").await;
    let screen = pair.player.start_media(&pool, "v3", "next", ClientOptions::play()).await;
    media_until(&screen, "the next picture", moves).await;
    assert!(pair.publisher.is_open() && pair.player.is_open(), "nobody lost its socket");
    wait_until("the count", || media.counters()["streams_broken"] == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_straight_at_the_server_the_picture_dies() {
    let mut server = Server::start(json!({})).await;
    let pair = Pair::start(server.address, &pool(), "cam").await;
    Outage::Kill(Duration::from_secs(1)).strike(&mut server).await;
    for page in [&pair.publisher, &pair.player] {
        page.wait("the end of the socket", |told| told.ended.clone()).await;
    }
    let before = pair.screen.stats();
    media_until(&pair.screen, "ICE gives up", |now| now.failed).await;
    assert_eq!(pair.screen.stats().video.packets_received, before.video.packets_received);
}
