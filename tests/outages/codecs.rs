//! A server that does not take H264 (part of rule R9): the publish goes through with VP8.

use holdfast::load::webrtc_client::ClientOptions;
use holdfast::simulator::media::VideoCodec;
use serde_json::json;

use crate::common::{
    anchor,
    checks::assert_no_violation,
    direct,
    page::{OFFER, Page, media_until},
    pool,
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_media_goes_through_with_vp8() {
    let server = Server::fake(json!({"streams": {"refuse_publish_codecs": ["H264"]}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publishing("p1", "cam").await;
    assert_eq!(page.statuses("p1"), ["PUBLISHING"], "{}", page.summary());
    assert_eq!(page.remote_sdps("p1"), 1);
    let answer = page.look(|told| {
        let message = told.messages.iter().find(|heard| heard.name == "setRemoteSDP").unwrap();
        message.data[1].as_str().unwrap().to_owned()
    });
    assert!(answer.contains("VP8") && !answer.contains("H264"), "{answer}");
    assert!(OFFER.contains("H264"), "the page offered it");
    assert_no_violation(&server, "no H264").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anchored_media_goes_through_with_vp8() {
    let mut server = Server::start(json!({"streams": {"refuse_publish_codecs": ["H264"]}})).await;
    let proxy = anchor(server.address).await;
    let (publisher, player) =
        (Page::establish(proxy.address()).await, Page::establish(proxy.address()).await);
    let pool = pool();
    let options =
        ClientOptions { video: vec![VideoCodec::H264, VideoCodec::Vp8], ..ClientOptions::publish() };
    let camera = publisher.start_media(&pool, "p1", "cam", options).await;
    publisher.wait_status("p1", "PUBLISHING").await;
    let screen = player.start_media(&pool, "v1", "cam", ClientOptions::play()).await;
    media_until(&screen, "a picture in VP8", |now| {
        now.video.codec.as_deref() == Some("VP8") && now.video.key_frames > 0
    })
    .await;
    // The same after an outage.
    server.kill().await;
    server.start_again().await;
    let before = screen.stats();
    media_until(&screen, "the picture goes on", |now| now.video.key_frames > before.video.key_frames).await;
    assert_eq!(publisher.statuses("p1"), ["PUBLISHING"], "{}", publisher.summary());
    assert_eq!(publisher.remote_sdps("p1"), 1);
    assert_eq!(camera.stats().video.codec.as_deref(), Some("VP8"));
    assert_no_violation(&server, "no H264").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_without_h264_as_well_it_is_the_servers_word() {
    let server = Server::fake(json!({"streams": {"refuse_publish_codecs": ["H264", "VP8"]}})).await;
    let proxy = direct(server.address).await;
    let page = Page::establish(proxy.address()).await;
    page.publish("p1", "cam");
    assert_eq!(page.status_info("p1", "FAILED").await, "No common codecs");
    assert_eq!(page.statuses("p1"), ["FAILED"]);
    assert_no_violation(&server, "no codec").await;
}
