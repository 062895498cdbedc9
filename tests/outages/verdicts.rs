//! What anchored publishers and players are told of their media, and when: legal silence is no
//! failure, and a stream runs when its client's own media path stands.

use std::time::Duration;

use holdfast::{
    config::{CheckBitrate, MediaMode},
    load::webrtc_client::{ClientOptions, ClientStats, WebRtcClient},
    simulator::media::VideoCodec,
};
use serde_json::json;

use crate::common::{
    anchor,
    checks::{assert_intents_once, assert_no_violation},
    let_pass,
    outage::Outage,
    page::{Page, media_until, stream},
    pool, proxy_with,
    server::Server,
};

/// A publisher that sends no video until it is told to.
fn late() -> ClientOptions {
    ClientOptions { video_from_start: false, ..ClientOptions::publish() }
}

fn h264_first() -> ClientOptions {
    ClientOptions { video: vec![VideoCodec::H264, VideoCodec::Vp8], ..ClientOptions::publish() }
}

/// The vendor's verdict would come after 1.5 s without video.
const LONG_SILENCE: Duration = Duration::from_secs(4);

async fn shows_a_picture(screen: &WebRtcClient, before: &ClientStats) {
    media_until(screen, "the picture", |now| now.video.key_frames > before.video.key_frames).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_warms_up_is_waited_for() {
    let server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let (publisher, player) =
        (Page::establish(proxy.address()).await, Page::establish(proxy.address()).await);
    let pool = pool();
    let camera = publisher.start_media(&pool, "p1", "cam", late()).await;
    publisher.wait_status("p1", "PUBLISHING").await;
    let screen = player.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    player.wait_status("v1", "PLAYING").await;
    let_pass(LONG_SILENCE).await;
    camera.set_sending_of(true, true);
    shows_a_picture(&screen, &ClientStats::default()).await;
    assert_eq!(publisher.statuses("p1"), ["PUBLISHING"], "{}", publisher.summary());
    assert_eq!(player.statuses("v1"), ["PLAYING"], "{}", player.summary());
    assert_no_violation(&server, "warming up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_older_check_can_be_had_back() {
    let server = Server::start(json!({})).await;
    let proxy = proxy_with(server.address, MediaMode::Anchor, |config| {
        config.session.video.check_bitrate = CheckBitrate::NeverSent;
    })
    .await;
    let page = Page::establish(proxy.address()).await;
    let camera = page.start_media(&pool(), "p1", "cam", late()).await;
    assert_eq!(page.status_info("p1", "FAILED").await, "Failed by RTP activity");
    assert_eq!(page.statuses("p1"), ["PUBLISHING", "FAILED"], "{}", page.summary());
    drop(camera);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_had_h264_in_vain_and_is_loaded_again_is_answered_without() {
    let server = Server::start(json!({"streams": {"prefer_codecs": ["H264"]}})).await;
    let proxy = anchor(server.address).await;
    let pool = pool();
    let page = Page::establish(proxy.address()).await;
    let silent = ClientOptions { video_from_start: false, ..h264_first() };
    let camera = page.start_media(&pool, "p1", "cam", silent).await;
    page.wait_status("p1", "PUBLISHING").await;
    let_pass(LONG_SILENCE).await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{}", page.summary());
    page.disconnect().await;
    drop((page, camera));
    server.wait_for("the name is free", |state| state["now"]["publishes"] == 0).await;
    let again = Page::establish(proxy.address()).await;
    let camera = again.start_media(&pool, "p2", "cam", h264_first()).await;
    again.wait_status("p2", "PUBLISHING").await;
    media_until(&camera, "VP8 is sent", |now| now.video.codec.as_deref() == Some("VP8")).await;
    assert_no_violation(&server, "H264 in vain").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_frames_far_apart_do_not_make_a_restore_ask_again() {
    let mut server = Server::start(json!({})).await;
    let proxy = anchor(server.address).await;
    let (publisher, player) =
        (Page::establish(proxy.address()).await, Page::establish(proxy.address()).await);
    let pool = pool();
    let options = ClientOptions {
        frames_per_second: 20,
        key_frame_interval: 20 * 15,
        answers_key_frame_requests: false,
        ..ClientOptions::publish()
    };
    let camera = publisher.start_media(&pool, "p1", "cam", options).await;
    publisher.wait_status("p1", "PUBLISHING").await;
    let screen = player.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    player.wait_status("v1", "PLAYING").await;
    shows_a_picture(&screen, &ClientStats::default()).await;
    let before = screen.stats();
    Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
    shows_a_picture(&screen, &before).await;
    for (page, id, running) in [(&publisher, "p1", "PUBLISHING"), (&player, "v1", "PLAYING")] {
        assert_eq!(page.statuses(id), [running], "{}", page.summary());
    }
    assert_intents_once(&server.journal().await, "sparse key frames");
    drop(camera);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_media_path_never_hears_that_its_stream_runs() {
    let server = Server::start(json!({})).await;
    let proxy = proxy_with(server.address, MediaMode::Anchor, |config| {
        config.media.client_connect_timeout = Duration::from_secs(2);
    })
    .await;
    let page = Page::establish(proxy.address()).await;
    // The answer never reaches the one whose offer it is.
    let client = pool().client(ClientOptions::publish()).await.unwrap();
    page.send("publishStream", stream("p1", "cam", true, "WebRTC", client.offer()));
    assert_eq!(page.status_info("p1", "FAILED").await, "Failed by ICE timeout");
    assert_eq!(page.statuses("p1"), ["FAILED"], "{}", page.summary());
    assert_eq!(page.remote_sdps("p1"), 1, "it was anchored: {}", page.summary());
    server.wait_for("the server lets go", |state| state["now"]["publishes"] == 0).await;
}
