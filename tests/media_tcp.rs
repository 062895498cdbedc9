//! Media over TCP: clients whose network lets no UDP pass reach the anchor on the same port number,
//! and the anchor connects to a server that answers with TCP candidates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Fact, MediaCommand, MediaHandle, MediaSettings},
    simulator::media::{AnswerOptions, AnswerShape, Media, MediaSettings as ServerSettings},
};

use media_support::{
    Anchored, anchor, assert_continuous, flowing, flows_again, pair, pool, server, settings,
};

fn over_tcp(shape: AnswerShape) -> AnswerOptions {
    AnswerOptions { transport_tcp: true, ..AnswerOptions::shape(shape) }
}

async fn upstream_failure(anchored: &mut Anchored) -> String {
    anchored.expect(|f| if let Fact::UpstreamFailed { reason, .. } = f { Some(reason) } else { None }).await
}

/// Starts a client that is told the TCP candidates alone.
async fn start_over_tcp(handle: &MediaHandle, server: &Media, options: ClientOptions) -> Anchored {
    let mut anchored = Anchored::open(handle, &pool(), "n", options).await;
    anchored.attach_to(server, AnswerOptions::default()).await;
    let sdp = anchored.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    let tcp: String = sdp.lines().filter(|l| !l.contains(" udp ")).map(|l| format!("{l}\r\n")).collect();
    assert!(tcp.contains("tcptype passive"), "{sdp}");
    anchored.client.apply_answer(&tcp).await.unwrap();
    anchored
}

#[tokio::test]
async fn media_flows_over_tcp_and_through_a_restart() {
    let (handle, server) = (anchor(), server());
    let mut publisher = start_over_tcp(&handle, &server, ClientOptions::publish()).await;
    assert!(publisher.proof().await);
    let mut player = start_over_tcp(&handle, &server, ClientOptions::play()).await;
    assert!(player.proof().await);
    player.until("media", flowing).await;
    drop(server);
    let server =
        Media::start(ServerSettings { randomise: true, seed: 5, ..ServerSettings::default() }).unwrap();
    publisher.restore(&server, AnswerOptions::default()).await;
    player.restore(&server, AnswerOptions::default()).await;
    assert!(publisher.proof().await && player.proof().await);
    let seen = player.client.stats().video.key_frames;
    let stats = player.until("media after the restart", |s| s.video.key_frames >= seen.max(2)).await;
    assert_continuous(&stats, "over TCP");
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let handle = MediaHandle::start(MediaSettings { tcp: false, ..settings() }).unwrap();
    let server = server();
    let mut player = Anchored::open(&handle, &pool(), "n", ClientOptions::play()).await;
    player.attach_to(&server, AnswerOptions::default()).await;
    let sdp = player.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    assert!(!sdp.contains(" tcp "), "{sdp}");
}

#[tokio::test]
async fn a_server_that_answers_with_tcp_is_reached_and_reached_again_after_its_death() {
    let (handle, pool, mut server) = (anchor(), pool(), server());
    // Own ports and bundled; the server as server and as client of the DTLS handshake.
    let shapes = [AnswerShape::C, AnswerShape::A, AnswerShape::E];
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &over_tcp(AnswerShape::C)).await;
    player.until("media", flowing).await;
    for (round, shape) in shapes.into_iter().enumerate() {
        drop(server);
        // Unlike in UDP, the death of a server is seen by its media soon.
        for anchored in [&mut publisher, &mut player] {
            let reason = upstream_failure(anchored).await;
            assert!(reason.contains("TCP"), "{reason}");
        }
        let seed = round as u64;
        server = Media::start(ServerSettings { randomise: true, seed, ..ServerSettings::default() }).unwrap();
        let before = player.client.stats();
        publisher.restore(&server, over_tcp(shape)).await;
        player.restore(&server, over_tcp(shape)).await;
        assert!(publisher.proof().await && player.proof().await);
        let after = player.until("media after the restart", flows_again(&before, 60)).await;
        assert_continuous(&after, &format!("{shape:?} over TCP"));
        assert_eq!(after.video.missing, 0, "no hole where the sources meet: {after:#?}");
    }
    assert!(!publisher.client.stats().failed && !player.client.stats().failed);
}

#[tokio::test]
async fn tcp_is_taken_where_udp_leads_nowhere() {
    let (handle, server) = (anchor(), server());
    let mut publisher = Anchored::open(&handle, &pool(), "n", ClientOptions::publish()).await;
    let offer = publisher.upstream_offer().await;
    let answer = server.publish("p", "n", &offer, over_tcp(AnswerShape::A)).await.unwrap();
    // Somebody who never says a word.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead =
        format!("candidate:9 1 udp 2130706431 127.0.0.1 {} typ host", silent.local_addr().unwrap().port());
    let sdp = answer.replace("a=candidate:1 1 tcp", &format!("a={dead}\r\na=candidate:1 1 tcp"));
    assert!(sdp.contains(&dead), "{sdp}");
    publisher.order(MediaCommand::UpstreamAnswer { key: publisher.key, epoch: publisher.epoch, sdp });
    let sdp = publisher.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    publisher.client.apply_answer(&sdp).await.unwrap();
    assert!(publisher.proof().await, "a key frame went up");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_reported_at_once() {
    let (handle, server) = (anchor(), server());
    let mut publisher = Anchored::open(&handle, &pool(), "n", ClientOptions::publish()).await;
    let offer = publisher.upstream_offer().await;
    let sdp = server.publish("p", "n", &offer, over_tcp(AnswerShape::A)).await.unwrap();
    drop(server);
    let port = sdp.lines().find_map(|l| l.strip_prefix("a=rtcp:")?.split(' ').next()?.parse().ok()).unwrap();
    // The server's thread ends in its own time.
    media_support::wait_until("a closed port", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
        .await;
    publisher.order(MediaCommand::UpstreamAnswer { key: publisher.key, epoch: publisher.epoch, sdp });
    let reason = upstream_failure(&mut publisher).await;
    assert!(reason.contains("TCP"), "{reason}");
}

/// The other end has closed.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    !matches!(stream.read(&mut [0; 8]), Err(e) if e.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn strangers_on_tcp_are_few_and_do_not_stay() {
    let unchecked = Duration::from_secs(2);
    let handle = MediaHandle::start(MediaSettings { tcp_unchecked_max: unchecked, ..settings() }).unwrap();
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, handle.addresses()[0].port()));
    let started = Instant::now();
    let mut strangers: Vec<_> = (0..40).map(|_| TcpStream::connect(port).unwrap()).collect();
    let counter = |name: &str| handle.counters().get(name).and_then(serde_json::Value::as_u64).unwrap();
    media_support::wait_until("the oldest gave way", || counter("tcp_refused") >= 24).await;
    let mut open = strangers.iter_mut().map(|s| usize::from(!is_closed(s))).sum::<usize>();
    assert!(open <= 16, "{open} connections of one address");
    // Clients of that address come through all the same, and stay.
    let server = server();
    let mut publisher = start_over_tcp(&handle, &server, ClientOptions::publish()).await;
    assert!(publisher.proof().await);
    // A byte now and then buys no time: a frame that never ends.
    while open > 0 {
        assert!(started.elapsed() < media_support::LIMIT, "{open} strangers are still here");
        for stream in &mut strangers {
            let _ = stream.write(&[0]);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        open = strangers.iter_mut().map(|s| usize::from(!is_closed(s))).sum();
    }
    media_support::wait_until("only the client's connection", || counter("tcp_connections") == 1).await;
    let before = publisher.client.stats().video.packets_sent;
    publisher.until("media goes on", |s| s.video.packets_sent > before + 60).await;
    // Its connection ends with its leg.
    publisher.order(MediaCommand::Close { key: publisher.key });
    media_support::wait_until("no connection", || counter("tcp_connections") == 0).await;
}
