//! The client's side: silence and revival, the watchdog over a publisher's video, and the end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::time::Duration;

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Fact, MediaCommand, MediaHandle, MediaSettings},
    simulator::media::AnswerOptions,
};

use media_support::{Anchored, anchor, assert_continuous, flowing, pair, pool, server, settings};

/// Far more than the pause between the reports of a player that has nothing else to send.
const SILENCE: Duration = Duration::from_secs(3);

fn impatient(settings: MediaSettings) -> MediaHandle {
    MediaHandle::start(MediaSettings { client_silence: SILENCE, ..settings }).unwrap()
}

async fn silent(anchored: &mut Anchored) -> u32 {
    anchored.expect(|fact| if let Fact::ClientSilent { tries, .. } = fact { Some(tries) } else { None }).await
}

#[tokio::test]
async fn a_silent_player_is_revived_with_new_credentials_again_and_again() {
    let (handle, pool, server) = (impatient(settings()), pool(), server());
    let (_publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    for round in 0..2 {
        player.client.set_silent(true);
        assert_eq!(silent(&mut player).await, 1, "round {round}");
        assert_eq!(silent(&mut player).await, 2, "it is said again while it lasts");
        player.order(MediaCommand::Revive { key: player.key });
        let sdp = player
            .expect(|fact| if let Fact::NewClientCredentials { sdp } = fact { Some(sdp) } else { None })
            .await;
        player.client.set_silent(false);
        player.client.apply_answer(&sdp).await.unwrap();
        let silence = player
            .expect(|fact| if let Fact::ClientRevived { silence } = fact { Some(silence) } else { None })
            .await;
        assert!(silence >= 2 * SILENCE, "{silence:?}");
        let before = player.client.stats();
        let after = player
            .until("media after the revival", |s| {
                s.video.packets_received > before.video.packets_received + 60
            })
            .await;
        assert_continuous(&after, "revived");
    }
}

#[tokio::test]
async fn a_publisher_comes_back_with_the_credentials_it_had() {
    let (handle, pool, server) = (impatient(settings()), pool(), server());
    let (mut publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    publisher.client.set_silent(true);
    silent(&mut publisher).await;
    // The new credentials are lost with the network.
    publisher.order(MediaCommand::Revive { key: publisher.key });
    publisher.expect(|fact| matches!(fact, Fact::NewClientCredentials { .. }).then_some(())).await;
    publisher.client.set_silent(false);
    publisher.expect(|fact| matches!(fact, Fact::ClientRevived { .. }).then_some(())).await;
    let before = player.client.stats().video.packets_received;
    player.until("media", |s| s.video.packets_received > before + 60).await;
}

#[tokio::test]
async fn a_client_that_stays_silent_is_given_up() {
    let settings = MediaSettings { client_revive_tries_max: 2, ..settings() };
    let (handle, pool, server) = (impatient(settings), pool(), server());
    let (_publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.client.set_silent(true);
    assert_eq!(silent(&mut player).await, 1);
    assert_eq!(silent(&mut player).await, 2);
    player.expect(|fact| matches!(fact, Fact::ClientGone { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_never_comes_is_given_up() {
    let settings = MediaSettings { client_connect_max: Duration::from_millis(300), ..settings() };
    let handle = MediaHandle::start(settings).unwrap();
    let (pool, server) = (pool(), server());
    let mut player = Anchored::open(&handle, &pool, "n", ClientOptions::play()).await;
    player.attach_to(&server, AnswerOptions::default()).await;
    player.expect(|fact| matches!(fact, Fact::ClientGone { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_publisher_that_stops_its_video_is_seen_and_seen_again() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    publisher.proof().await;
    publisher.client.set_sending(false);
    let never = publisher
        .expect(|fact| if let Fact::NoVideo { never_sent, .. } = fact { Some(never_sent) } else { None })
        .await;
    assert!(!never);
    publisher.client.set_sending(true);
    publisher.expect(|fact| matches!(fact, Fact::VideoBack).then_some(())).await;
}

#[tokio::test]
async fn a_publisher_that_never_sends_video_is_told_apart() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let silent = ClientOptions { video_from_start: false, ..ClientOptions::publish() };
    let mut publisher = Anchored::start(&handle, &pool, &server, "n", silent, AnswerOptions::default()).await;
    let never = publisher
        .expect(|fact| if let Fact::NoVideo { never_sent, .. } = fact { Some(never_sent) } else { None })
        .await;
    assert!(never);
}

#[tokio::test]
async fn muted_video_is_not_missed() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    publisher.proof().await;
    publisher.order(MediaCommand::Muted { key: publisher.key, video: true });
    publisher.client.set_sending(false);
    // Five reports are 2.5 s; unmuted video would be missed after 1.5 s.
    for _ in 0..5 {
        publisher
            .expect(|fact| match fact {
                Fact::Stats(_) => Some(()),
                Fact::NoVideo { .. } => panic!("muted video was missed"),
                _ => None,
            })
            .await;
    }
}
