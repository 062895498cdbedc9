//! Clients whose network lets no UDP pass reach the anchor over TCP, on the same port number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Fact, MediaHandle, MediaSettings},
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings},
};

use media_support::{Anchored, anchor, assert_continuous, flowing, pool, server, settings};

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
