//! Legal silence and sparse key frames: a leg is judged by what its sender can give, no harsher.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::time::Duration;

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Fact, MediaHandle, MediaSettings, Tracks},
    simulator::media::{AnswerOptions, Media},
};

use media_support::{Anchored, anchor, flowing, pair, pool, server, settings};

/// A camera that gives a key frame every 8 s, whoever asks.
fn camera(audio: bool) -> ClientOptions {
    ClientOptions {
        audio,
        frames_per_second: 20,
        key_frame_interval: 20 * 8,
        answers_key_frame_requests: false,
        ..ClientOptions::publish()
    }
}

/// Publishes again at the server, which has let go of the name.
async fn publish_again(publisher: &mut Anchored, server: &Media) {
    server.close(&publisher.id());
    publisher.restore(server, AnswerOptions::default()).await;
}

/// The facts of the present epoch up to its proof: signs of life, and whether a key frame proved it.
async fn life_and_proof(anchored: &mut Anchored) -> (usize, bool) {
    let (mut life, wanted) = (0, anchored.epoch);
    loop {
        let fact = anchored
            .expect(|fact| match fact {
                Fact::Flowing { epoch, key_frame, complete } if epoch == wanted => {
                    Some((key_frame, complete))
                }
                Fact::UpstreamFailed { reason, .. } => panic!("{reason}"),
                _ => None,
            })
            .await;
        match fact {
            (_, false) => life += 1,
            (key_frame, true) => return (life, key_frame),
        }
    }
}

#[tokio::test]
async fn packets_without_a_key_frame_are_signs_of_life_until_it_comes() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", camera(false), AnswerOptions::default()).await;
    life_and_proof(&mut publisher).await;
    publish_again(&mut publisher, &server).await;
    let (life, key_frame) = life_and_proof(&mut publisher).await;
    assert!(life >= 2, "about one per second until the key frame: {life}");
    assert!(key_frame);
}

#[tokio::test]
async fn sound_proves_a_leg_whose_key_frame_is_long_in_coming() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", camera(true), AnswerOptions::default()).await;
    life_and_proof(&mut publisher).await;
    let mut player =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::play(), AnswerOptions::default()).await;
    player.until("sound", |now| now.audio.packets_received > 30).await;
    player.until("a picture", |now| now.video.key_frames > 0).await;
    publish_again(&mut publisher, &server).await;
    player.restore(&server, AnswerOptions::default()).await;
    let before = player.client.stats();
    for anchored in [&mut publisher, &mut player] {
        let (life, key_frame) = life_and_proof(anchored).await;
        assert!(life >= 1 && !key_frame, "{life}, {key_frame}");
    }
    player
        .until("the picture comes all the same", |now| now.video.key_frames > before.video.key_frames)
        .await;
}

#[tokio::test]
async fn a_source_that_stopped_its_video_and_keeps_its_sound_is_restored() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    publisher.client.set_sending_of(true, false);
    let still = player.client.stats().audio.packets_received;
    player.until("sound alone", |now| now.audio.packets_received > still + 60).await;
    publish_again(&mut publisher, &server).await;
    assert!(!publisher.proof().await, "without a picture");
    player.restore(&server, AnswerOptions::default()).await;
    assert!(!player.proof().await, "without a picture");
}

#[tokio::test]
async fn a_source_that_was_still_before_the_outage_and_is_after_it_is_restored_for_both_sides() {
    let settings = MediaSettings { upstream_silence: Duration::from_millis(1_500), ..settings() };
    let handle = MediaHandle::start(settings).unwrap();
    let (pool, server) = (pool(), server());
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    // A still canvas without sound: not a packet, for longer than the pause between checks of ICE.
    publisher.client.set_sending(false);
    for _ in 0..12 {
        player.expect(|fact| matches!(fact, Fact::Stats(_)).then_some(())).await;
    }
    publish_again(&mut publisher, &server).await;
    assert!(!publisher.proof().await);
    for _ in 0..2 {
        player.restore(&server, AnswerOptions::default()).await;
        assert!(!player.proof().await, "there is nothing to show");
    }
    publisher.client.set_sending(true);
    let before = player.client.stats();
    player.until("the picture goes on", |now| now.video.key_frames > before.video.key_frames).await;
}

#[tokio::test]
async fn a_player_that_had_media_until_the_outage_is_not_restored_by_silence() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    player.detach();
    publisher.client.set_sending(false);
    player.attach(true);
    player.attach_to(&server, AnswerOptions::default()).await;
    let wanted = player.epoch;
    // Ten reports are 5 s; a leg that needs no proof would have had it after 1.5 s.
    for _ in 0..10 {
        player
            .expect(|fact| match fact {
                Fact::Stats(_) => Some(()),
                Fact::Flowing { epoch, complete: true, .. } if epoch == wanted => panic!("of what?"),
                _ => None,
            })
            .await;
    }
}

#[tokio::test]
async fn an_upstream_that_takes_the_sound_alone_does_not_restore_a_publisher_by_half() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    assert!(publisher.proof().await);
    publisher.detach();
    publisher.attach(true);
    let offer = publisher.upstream_offer().await;
    // The answer of a server that rejects the video: of another name, so that nothing is in use.
    let answer = server.publish("half", "half", &offer, AnswerOptions::default()).await.unwrap();
    let (mut half, mut in_video) = (String::new(), false);
    for line in answer.lines() {
        in_video = if line.starts_with("m=") { line.starts_with("m=video") } else { in_video };
        let rejected = line.strip_prefix("m=video ").and_then(|rest| rest.split_once(' '));
        match rejected {
            Some((_, rest)) => half.push_str(&format!("m=video 0 {rest}\r\n")),
            None => half.push_str(&format!("{line}\r\n")),
        }
    }
    let (stream, epoch) = (publisher.key, publisher.epoch);
    publisher.order(holdfast::media::MediaCommand::UpstreamAnswer { key: stream, epoch, sdp: half });
    let reason = publisher
        .expect(|fact| if let Fact::UpstreamFailed { reason, .. } = fact { Some(reason) } else { None })
        .await;
    assert!(reason.contains("all that the client sends"), "{reason}");
}

#[tokio::test]
async fn the_standing_client_leg_is_told_once() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher = Anchored::open(&handle, &pool, "n", ClientOptions::publish()).await;
    publisher.attach_to(&server, AnswerOptions::default()).await;
    let sdp = publisher
        .expect(|fact| match fact {
            Fact::ClientAnswer { sdp } => Some(sdp),
            Fact::ClientConnected => panic!("before it has an answer"),
            _ => None,
        })
        .await;
    publisher.client.apply_answer(&sdp).await.unwrap();
    publisher.expect(|fact| matches!(fact, Fact::ClientConnected).then_some(())).await;
    publisher.proof().await;
    publish_again(&mut publisher, &server).await;
    let wanted = publisher.epoch;
    publisher
        .expect(|fact| match fact {
            Fact::ClientConnected => panic!("it stood all the time"),
            Fact::Flowing { epoch, complete: true, .. } if epoch == wanted => Some(()),
            _ => None,
        })
        .await;
}

/// Waits until this is said to go, and nothing that was not to be.
async fn goes(anchored: &mut Anchored, wanted: Tracks) {
    let both = Tracks { audio: true, video: true };
    anchored
        .expect(|fact| match fact {
            Fact::Goes { taken, goes, .. } => {
                assert_eq!(taken, both);
                (goes == wanted).then_some(())
            }
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn it_is_told_what_goes_through_a_leg_and_when_that_ends() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    let track = |audio, video| Tracks { audio, video };
    for leg in [&mut publisher, &mut player] {
        goes(leg, track(true, true)).await;
    }
    publisher.client.set_sending_of(true, false);
    goes(&mut publisher, track(true, false)).await;
    publisher.client.set_sending(false);
    goes(&mut publisher, track(false, false)).await;
    goes(&mut player, track(false, false)).await;
    publisher.client.set_sending(true);
    for leg in [&mut publisher, &mut player] {
        goes(leg, track(true, true)).await;
    }
    // A player without a publisher hears nothing from the beginning.
    let mut lone =
        Anchored::start(&handle, &pool, &server, "none", ClientOptions::play(), AnswerOptions::default())
            .await;
    goes(&mut lone, track(false, false)).await;
    // A leg that began beside another and is given up: it is told of the one that is left again.
    player.attach_beside();
    player.attach_to(&server, AnswerOptions::default()).await;
    goes(&mut player, track(true, true)).await;
    player.come_back();
    let left = player
        .expect(|fact| match fact {
            Fact::Goes { epoch, goes, .. } => Some((epoch, goes)),
            _ => None,
        })
        .await;
    assert_eq!(left, (player.epoch, track(true, true)));
}
