//! What real sessions were told and decided is recorded, and replays to the same decisions: outages, moves, anchored media,
//! sessions that are only passed through. And who may have that, how much of it, and what is never in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{net::IpAddr, sync::Arc, time::Duration};

use common::{
    anchor, config, direct,
    outage::Outage,
    page::{Page, stream},
    pool,
    server::Server,
    wait_until,
};
use holdfast::{
    config::MediaMode,
    load::webrtc_client::ClientOptions,
    net::{DrainOrder, Proxy, RecordBounds, RecordOrder, RecordRefused, Recorded},
    recording::{Line, Replay, Report},
    session::SessionId,
};
use serde_json::json;

const BOUNDS: RecordBounds = RecordBounds { count_max: 4, bytes_max: 8 * 1024 * 1024 };
const HOME: &str = "127.0.0.1";
const LONG: Duration = Duration::from_secs(300);

fn order(recorded: Recorded) -> RecordOrder {
    RecordOrder { recorded, time_max: LONG, bytes_max: 2 * 1024 * 1024, is_anonymous: false }
}

fn of_stream(name: &str) -> RecordOrder {
    order(Recorded::Stream(name.to_owned()))
}

fn of_address() -> RecordOrder {
    order(Recorded::Address(HOME.parse::<IpAddr>().unwrap()))
}

fn record(proxy: &Proxy, order: RecordOrder) -> u64 {
    proxy.record(order, BOUNDS).unwrap().id
}

/// All lines that there are until now.
async fn lines(proxy: &Proxy, id: u64) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < status(proxy, id).lines {
        all.extend(proxy.recorded_lines(id, all.len(), Duration::ZERO).await.unwrap().lines);
    }
    all
}

fn status(proxy: &Proxy, id: u64) -> holdfast::net::RecordingStatus {
    proxy.recordings().into_iter().find(|one| one.id == id).unwrap()
}

fn replay(lines: &[String]) -> Report {
    let mut replay = Replay::default();
    for line in lines {
        replay.line(line).unwrap();
    }
    replay.finish().unwrap()
}

/// Waits until a line says this.
async fn until_line(proxy: &Proxy, id: u64, says: &str) {
    let mut from = 0;
    loop {
        let more = proxy.recorded_lines(id, from, common::PATIENCE).await.unwrap();
        if more.lines.iter().any(|line| line.contains(says)) {
            return;
        }
        assert!(!more.lines.is_empty(), "in vain waited for {says}");
        from = more.next;
    }
}

/// The recording once so many of its sessions have ended.
async fn ended(proxy: &Proxy, id: u64, sessions: usize) -> Vec<String> {
    let ends =
        |lines: &[String]| lines.iter().filter(|line| line.contains(r#""line":"session_end""#)).count();
    let mut all = Vec::new();
    while ends(&all) < sessions {
        let more = proxy.recorded_lines(id, all.len(), common::PATIENCE).await.unwrap();
        assert!(!more.lines.is_empty(), "in vain waited for the end of {sessions} sessions");
        all.extend(more.lines);
    }
    all
}

fn assert_same(lines: &[String], sessions: usize) -> Report {
    let report = replay(lines);
    assert_eq!(report.sessions.len(), sessions, "{report:#?}");
    assert_eq!(report.is_same(), Some(true), "{:#?}", report.sessions);
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_replays_and_two_recordings_of_it_do_not_disturb_each_other() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let (one, two) = (record(&proxy, of_stream("cam")), record(&proxy, of_address()));
    let publisher = Page::establish(proxy.address()).await;
    publisher.publishing("p", "cam").await;
    let other = Page::establish(proxy.address()).await;
    other.publishing("o", "another").await;
    Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    // Direct media that was answered: its page is told, and publishes anew.
    publisher.wait_status("p", "FAILED").await;
    publisher.publishing("p2", "cam").await;
    publisher.disconnect().await;
    other.disconnect().await;
    let of_cam = ended(&proxy, one, 1).await;
    let report = assert_same(&of_cam, 1);
    assert!(report.sessions[0].decisions > 20, "{report:?}");
    for expected in [r#""upstream_lost""#, r#""out":"dial""#, "SessionRestored", r#""out":"send_to_client""#]
    {
        assert!(of_cam.iter().any(|line| line.contains(expected)), "{expected}");
    }
    assert!(!of_cam.iter().any(|line| line.contains("another")), "the other session is not in it");
    assert_same(&ended(&proxy, two, 2).await, 2);
    assert!(proxy.forget_recording(one) && !proxy.forget_recording(one));
    assert_eq!(proxy.recordings().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anchored_media_replays_with_what_its_workers_reported() {
    let mut server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let id = record(&proxy, of_address());
    let publisher = Page::establish(proxy.address()).await;
    let pool = pool();
    let camera = publisher.start_media(&pool, "p", "cam", ClientOptions::publish()).await;
    publisher.wait_status("p", "PUBLISHING").await;
    Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    until_line(&proxy, id, "outcome: Restored").await;
    drop(camera);
    publisher.disconnect().await;
    let recorded = ended(&proxy, id, 1).await;
    assert_same(&recorded, 1);
    let text = recorded.join("\n");
    for expected in
        [r#"{"upstream_offer":"#, r#"{"flowing":"#, "StreamOutcome", "media", r#"outcome: Restored"#]
    {
        assert!(text.contains(expected), "{expected}");
    }
    for line in text.split("\\r\\n").flat_map(|text| text.split("\\\\r\\\\n")) {
        let line = line.split('"').next().unwrap();
        for secret in ["a=ice-pwd:", "a=ice-ufrag:"] {
            assert!(line.strip_prefix(secret).is_none_or(|value| value.starts_with("redacted-")), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_another_node_replays() {
    let (here, there) = (Server::fake(json!({})).await, Server::fake(json!({})).await);
    let mut config = config(here.address, MediaMode::Direct);
    config.net.upstream.url.push(format!("ws://{}", there.address).parse().unwrap());
    let proxy = Proxy::launch(config).await.unwrap();
    let id = record(&proxy, of_address());
    let page = Page::establish(proxy.address()).await;
    let from = proxy.survey(1).await[0].node;
    proxy
        .drain(from, DrainOrder { rate: 10, force_after: None, then_maintenance: false, is_forced: false })
        .unwrap();
    until_line(&proxy, id, r#""out":"moved""#).await;
    assert_ne!(proxy.survey(1).await[0].node, from);
    page.disconnect().await;
    let recorded = ended(&proxy, id, 1).await;
    assert_same(&recorded, 1);
    for expected in [r#"{"move":"#, r#""out":"dial_beside""#, r#""out":"lead""#, r#""out":"moved""#] {
        assert!(recorded.iter().any(|line| line.contains(expected)), "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_passed_through_is_in_it_with_what_passed() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let id = record(&proxy, of_address());
    let page = Page::open(proxy.address(), "/").await;
    page.send("connection", json!({"appKey": "sfuApp", "authToken": "canary-token"}));
    page.send("joinRoom", json!({"roomName": "r1", "pin": "canary-pin"}));
    until_line(&proxy, id, "joinRoom").await;
    page.disconnect().await;
    let recorded = ended(&proxy, id, 1).await;
    assert_same(&recorded, 1);
    let passed = recorded.iter().find(|line| line.contains("joinRoom")).unwrap();
    assert!(passed.contains(r#""line":"passed""#) && passed.contains("r1"), "{passed}");
    assert!(!recorded.join("\n").contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_began_before_the_recording_is_in_it_and_is_not_replayed() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p", "cam").await;
    let session = proxy.survey(1).await[0].session;
    let (by_id, by_stream) =
        (record(&proxy, order(Recorded::Session(session))), record(&proxy, of_stream("cam")));
    let later = record(&proxy, of_stream("cam2"));
    let all_there = || [by_id, by_stream].iter().all(|id| status(&proxy, *id).sessions == 1);
    wait_until("the session is recorded", all_there).await;
    page.publishing("p2", "cam2").await;
    page.disconnect().await;
    for id in [by_id, by_stream, later] {
        let report = replay(&ended(&proxy, id, 1).await);
        assert_eq!((report.is_same(), report.sessions[0].from_start), (None, false), "{report:?}");
        assert!(report.sessions[0].inputs > 0);
    }
    let refused = proxy.record(order(Recorded::Session(SessionId(99))), BOUNDS).unwrap_err();
    assert_eq!(refused, RecordRefused::NoSession);
}

/// Canaries in everything that a client says, and in what the server says of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_recording() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let shown = record(&proxy, of_address());
    let anonymous = record(&proxy, RecordOrder { is_anonymous: true, ..of_address() });
    let page = Page::establish_as(
        proxy.address(),
        json!({
            "appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"], "keepAlive": true,
            "authToken": "canary-auth-token", "custom": {"token": "canary-custom", "canary-key": 1},
            "sipLogin": "canary-sip-login", "sipAuthenticationName": "canary-sip-name",
            "sipPassword": "canary-sip-password", "clientInfo": {"a": ["canary-info"]}, "canaryUnknown": "canary-x",
        }),
    )
    .await;
    let offer = "v=0\r\no=canary-user 1 2 IN IP4 10.11.12.13\r\ns=canary-name\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
                 a=ice-ufrag:canary-ufrag\r\na=ice-pwd:canary-pwd\r\na=fingerprint:sha-256 canary-fingerprint\r\n\
                 a=crypto:1 canary-crypto\r\na=rtpmap:111 opus/48000/2\r\na=candidate:1 1 udp 1 10.11.12.13 5 typ host ufrag canary-u\r\n";
    let mut publish = stream("p", "cam", true, "WebRTC", offer);
    publish["custom"] = json!({"key": "canary-stream-custom"});
    publish["rtmpUrl"] = json!("rtmp://user:canary-password@live.example/canary-app");
    page.send("publishStream", publish);
    page.wait_status("p", "PUBLISHING").await;
    page.send(
        "playStream",
        stream("v", "rtsp://admin:canary-camera@10.1.1.1/1?key=canary", false, "WebRTC", offer),
    );
    page.send_data("op", json!({"secret": "canary-data"}));
    page.send(
        "sendStreamEvent",
        json!({"mediaSessionId": "p", "type": "data", "payload": "canary-stream-data"}),
    );
    page.send("pushLogs", json!({"logs": "canary-log"}));
    page.send("sendDtmf", json!({"callId": "c", "type": "INFO", "dtmf": "canary-dtmf"}));
    page.send("unheardOf", json!({"token": "canary-unknown", "pin": 471_147_114}));
    page.send_text(r#"{"message":"sendData","data":["canary-broken"#.to_owned());
    Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    page.wait_status("p", "FAILED").await;
    let token = page.user_data["authToken"].as_str().unwrap().to_owned();
    page.disconnect().await;
    for id in [shown, anonymous] {
        let recorded = ended(&proxy, id, 1).await;
        for line in &recorded {
            for secret in ["canary-", "471147114", &token] {
                assert!(!line.contains(secret), "{secret} in {line}");
            }
        }
        let text = recorded.join("\n");
        assert_eq!(text.contains("\\\"name\\\":\\\"cam\\\""), id == shown);
        assert_eq!(text.contains("10.11.12.13"), id == shown);
        let report = assert_same(&recorded, 1);
        assert_eq!(report.sessions[0].unreadable, 1);
        assert_eq!(report.heading.anonymous, id == anonymous);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_by_itself_after_its_bytes_and_after_its_time() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let small = record(&proxy, RecordOrder { bytes_max: 16 * 1024, ..of_address() });
    let short = record(&proxy, RecordOrder { time_max: Duration::from_secs(1), ..of_address() });
    let page = Page::establish(proxy.address()).await;
    let ended_as = |id: u64, reason: &'static str| {
        let proxy = &proxy;
        move || status(proxy, id).ended.as_deref() == Some(reason)
    };
    let mut said = 0;
    while status(&proxy, small).ended.is_none() {
        page.send("unheardOf", json!({"number": said}));
        page.wait_for_pings(1).await;
        said += 1;
        assert!(said < 1_000);
    }
    wait_until("its bytes are over", ended_as(small, "it has as many bytes as it may")).await;
    wait_until("its time is over", ended_as(short, "its time is over")).await;
    for id in [small, short] {
        let status = status(&proxy, id);
        assert!(status.bytes <= status.bytes_max, "{status:?}");
        let recorded = lines(&proxy, id).await;
        assert_same(&recorded, 1);
        let last: Line = serde_json::from_str(recorded.last().unwrap()).unwrap();
        assert!(matches!(last, Line::End { .. }), "{last:?}");
        let more = proxy.recorded_lines(id, recorded.len(), LONG).await.unwrap();
        assert!(more.lines.is_empty() && more.ended.is_some(), "whoever waits for more is told at once");
    }
    page.disconnect().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_recordings_together_are_bounded_and_those_that_are_over_make_room() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    assert!(proxy.recordings().is_empty(), "nothing is recorded unless somebody orders it");
    let off = RecordBounds { bytes_max: 0, ..BOUNDS };
    assert_eq!(proxy.record(of_stream("a"), off).unwrap_err(), RecordRefused::Off);
    let few = RecordBounds { count_max: 2, ..BOUNDS };
    let first =
        proxy.record(RecordOrder { time_max: Duration::from_secs(1), ..of_stream("a") }, few).unwrap().id;
    proxy.record(of_stream("b"), few).unwrap();
    assert_eq!(proxy.record(of_stream("c"), few).unwrap_err(), RecordRefused::Count);
    let larger = RecordOrder { bytes_max: 5 * 1024 * 1024, ..of_stream("c") };
    assert_eq!(proxy.record(larger.clone(), BOUNDS).unwrap_err(), RecordRefused::Bytes);
    wait_until("the first is over", || status(&proxy, first).ended.is_some()).await;
    proxy.record(larger, few).unwrap();
    assert!(proxy.recordings().iter().all(|one| one.id != first), "it made room");
    assert!(proxy.recorded_lines(first, 0, Duration::ZERO).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_as_they_are_written_and_an_end_wakes_whoever_waits() {
    let server = Server::fake(json!({})).await;
    let proxy = Arc::new(direct(server.address).await);
    let id = record(&proxy, of_address());
    let heading = proxy.recorded_lines(id, 0, Duration::ZERO).await.unwrap();
    assert_eq!((heading.lines.len(), heading.next, &heading.ended), (1, 1, &None));
    let waiting = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.recorded_lines(id, 1, LONG).await }
    });
    let page = Page::establish(proxy.address()).await;
    let more = tokio::time::timeout(common::PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(more.lines[0].contains(r#""line":"session""#), "{more:?}");
    page.disconnect().await;
    let all = ended(&proxy, id, 1).await.len();
    let waiting = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move { proxy.recorded_lines(id, all, LONG).await }
    });
    tokio::task::yield_now().await;
    assert!(proxy.forget_recording(id));
    let last = tokio::time::timeout(common::PATIENCE, waiting).await.unwrap().unwrap();
    assert!(last.is_none_or(|last| last.ended.is_some()), "it ended");
}
