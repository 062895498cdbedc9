//! The server dies and is there again, as another process with other keys and numbers: the client
//! transports of publisher and player never notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::Fact,
    simulator::media::{AnswerOptions, AnswerShape, CodecRules, VideoCodec},
};

use media_support::{Anchored, anchor, assert_continuous, flowing, flows_again, odd_server, pair, pool};

#[tokio::test]
async fn the_picture_goes_on_through_five_restarts() {
    let (handle, pool) = (anchor(), pool());
    let shapes = [AnswerShape::A, AnswerShape::B, AnswerShape::E, AnswerShape::G, AnswerShape::D];
    let mut server = odd_server(0);
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    for (round, shape) in shapes.into_iter().enumerate() {
        drop(server);
        server = odd_server(round as u64 + 1);
        let before = player.client.stats();
        let answer = AnswerOptions::shape(shape);
        publisher.restore(&server, answer.clone()).await;
        player.restore(&server, answer).await;
        assert!(publisher.proof().await, "a key frame went up after restart {round}");
        assert!(player.proof().await, "a key frame came down after restart {round}");
        let after = player.until("media after the restart", flows_again(&before, 40)).await;
        assert_continuous(&after, &format!("restart {round} with shape {shape:?}"));
        assert_eq!(after.video.missing, 0, "no hole where the sources meet: {after:#?}");
    }
    assert!(!publisher.client.stats().failed && !player.client.stats().failed);
}

#[tokio::test]
async fn a_player_that_comes_before_its_publisher_waits_for_a_key_frame() {
    let (handle, pool) = (anchor(), pool());
    let server = odd_server(0);
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    drop(server);
    let server = odd_server(1);
    player.restore(&server, AnswerOptions::default()).await;
    player
        .expect(|fact| matches!(fact, Fact::UpstreamConnected { epoch } if epoch.0 == 1).then_some(()))
        .await;
    publisher.restore(&server, AnswerOptions::default()).await;
    assert!(player.proof().await);
    let stats = player.until("media", |s| s.video.key_frames > 1).await;
    assert_continuous(&stats, "publisher after player");
}

#[tokio::test]
async fn a_publishers_restore_offers_what_is_being_sent() {
    let (handle, pool) = (anchor(), pool());
    let prefer = |codec| AnswerOptions {
        codecs: CodecRules { prefer: vec![codec], ..CodecRules::default() },
        ..AnswerOptions::default()
    };
    let server = odd_server(0);
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), prefer(VideoCodec::H264))
            .await;
    publisher.proof().await;
    assert_eq!(publisher.client.stats().video.codec.as_deref(), Some("H264"));
    publisher.attach(true);
    let offer = publisher.upstream_offer().await;
    assert!(offer.contains("H264/90000") && !offer.contains("VP8/90000"), "{offer}");
    // A server with another taste has no choice.
    let server = odd_server(1);
    publisher.attach(true);
    publisher.attach_to(&server, prefer(VideoCodec::Vp8)).await;
    assert!(publisher.proof().await);
}

#[tokio::test]
async fn a_muted_publisher_is_proven_by_a_standing_leg() {
    let (handle, pool) = (anchor(), pool());
    let server = odd_server(0);
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    publisher.proof().await;
    publisher.client.set_sending(false);
    drop(server);
    let server = odd_server(1);
    publisher.restore(&server, AnswerOptions::default()).await;
    assert!(!publisher.proof().await, "there is nothing to pass on");
    publisher.client.set_sending(true);
    let id = publisher.id();
    let mut player =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::play(), AnswerOptions::default()).await;
    assert!(player.proof().await, "{id}: media flows again when there is some");
}

#[tokio::test]
async fn an_upstream_that_never_answers_checks_is_reported() {
    let mut settings = media_support::settings();
    settings.upstream_connect_max = std::time::Duration::from_millis(300);
    let handle = holdfast::media::MediaHandle::start(settings).unwrap();
    let pool = pool();
    let server = odd_server(0);
    let mut publisher = Anchored::open(&handle, &pool, "n", ClientOptions::publish()).await;
    let offer = publisher.upstream_offer().await;
    let sdp = server.publish("id", "n", &offer, AnswerOptions::default()).await.unwrap();
    server.close("id");
    publisher.order(holdfast::media::MediaCommand::UpstreamAnswer {
        key: publisher.key,
        epoch: publisher.epoch,
        sdp,
    });
    let reason = publisher
        .expect(|fact| if let Fact::UpstreamFailed { reason, .. } = fact { Some(reason) } else { None })
        .await;
    assert!(reason.contains("time limit"), "{reason}");
}
