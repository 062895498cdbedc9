//! The anchor between synthetic browsers and the simulated server, over real UDP on loopback:
//! publish → anchor → server → anchor → play, in every shape a server may answer in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use holdfast::{
    load::webrtc_client::ClientOptions,
    simulator::media::{AnswerOptions, AnswerShape, DtlsRole, Media, MediaSettings as ServerSettings},
};

use media_support::{Anchored, anchor, assert_continuous, flowing, pair, pool, server};

/// All but the one over TCP.
const SHAPES: [AnswerShape; 5] =
    [AnswerShape::A, AnswerShape::B, AnswerShape::D, AnswerShape::E, AnswerShape::G];

#[tokio::test]
async fn media_flows_in_every_answer_shape() {
    let (handle, pool, server) = (anchor(), pool(), server());
    for shape in SHAPES {
        let name = format!("{shape:?}");
        let (_publisher, player) = pair(&handle, &pool, &server, &name, &AnswerOptions::shape(shape)).await;
        let stats = player.until(&name, flowing).await;
        assert_continuous(&stats, &name);
        assert_eq!(stats.video.codec.as_deref(), Some("VP8"));
    }
}

#[tokio::test]
async fn audio_alone_and_video_alone_flow() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let audio = |options: ClientOptions| ClientOptions { video: Vec::new(), ..options };
    let video = |options: ClientOptions| ClientOptions { audio: false, ..options };
    let answer = AnswerOptions::default;

    let mut publisher =
        Anchored::start(&handle, &pool, &server, "a", audio(ClientOptions::publish()), answer()).await;
    assert!(!publisher.proof().await, "audio is all the proof there is");
    let player = Anchored::start(&handle, &pool, &server, "a", audio(ClientOptions::play()), answer()).await;
    player.until("audio", |s| s.audio.packets_received > 50).await;

    let _publisher =
        Anchored::start(&handle, &pool, &server, "v", video(ClientOptions::publish()), answer()).await;
    let player = Anchored::start(&handle, &pool, &server, "v", video(ClientOptions::play()), answer()).await;
    player.until("video", |s| s.video.packets_received > 50 && s.video.key_frames > 0).await;
}

#[tokio::test]
async fn a_player_of_both_hears_a_publisher_without_video() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let audio = ClientOptions { video: Vec::new(), ..ClientOptions::publish() };
    let _publisher = Anchored::start(&handle, &pool, &server, "n", audio, AnswerOptions::default()).await;
    let mut player =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::play(), AnswerOptions::default()).await;
    assert!(!player.proof().await, "sound is all the proof where there never was a picture");
    player.until("audio", |s| s.audio.packets_received > 50).await;
}

#[tokio::test]
async fn servers_with_rsa_and_either_dtls_role_connect() {
    for (rsa, role) in [(true, DtlsRole::ByShape), (true, DtlsRole::Active), (false, DtlsRole::Active)] {
        let settings = ServerSettings {
            rsa_certificate: rsa,
            dtls_role: role,
            randomise: true,
            seed: 7,
            ..ServerSettings::default()
        };
        let server = Media::start(settings).unwrap();
        let (handle, pool) = (anchor(), pool());
        let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
        let stats = player.until(&format!("media with rsa {rsa}, {role:?}"), flowing).await;
        assert_continuous(&stats, "an odd server");
    }
}

#[tokio::test]
async fn a_players_key_frame_request_reaches_the_publisher() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    let seen = player.until("media", flowing).await.video.key_frames;
    let asked = publisher.client.stats().key_frame_requests;
    player.client.request_key_frame();
    publisher.until("the request", |s| s.key_frame_requests > asked).await;
    player.until("the key frame", |s| s.video.key_frames > seen).await;
}
