//! Signaling and the media server together: what is negotiated over the socket carries packets.

use holdfast_lab::load::webrtc_client::{ClientOptions, ClientPool, PoolSettings, WebRtcClient};
use holdfast_lab::simulator::VideoCodec;
use serde_json::{Value, json};

use crate::client::{Client, MSE_OFFER, PATIENCE, wait_until};
use crate::{assert_no_violation, simulator};

/// Negotiates one stream over the socket.
async fn negotiate(client: &mut Client, verb: &str, id: &str, media: &WebRtcClient) {
    let argument =
        json!({"mediaSessionId": id, "name": "cam", "mediaProvider": "WebRTC", "sdp": media.offer()});
    client.send(verb, argument).await;
    let remote = client.wait_for_all("setRemoteSDP").await;
    assert_eq!(remote[0], id);
    media.apply_answer(remote[1].as_str().unwrap()).await.unwrap();
    let status = client.status_of(id).await;
    assert!(status["status"] == "PUBLISHING" || status["status"] == "PLAYING", "{status}");
}

async fn published(pool: &ClientPool, client: &mut Client, options: ClientOptions) -> WebRtcClient {
    let media = pool.client(options).await.unwrap();
    negotiate(client, "publishStream", "a", &media).await;
    media
}

#[tokio::test]
async fn packets_flow_from_publisher_to_player() {
    let server = simulator(json!({"media": "real"})).await;
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let mut publisher = Client::establish(server.address()).await;
    let _sending = published(&pool, &mut publisher, ClientOptions::publish()).await;
    let mut player = Client::establish(server.address()).await;
    let receiving = pool.client(ClientOptions::play()).await.unwrap();
    negotiate(&mut player, "playStream", "p", &receiving).await;
    let flowing = receiving.wait_for(PATIENCE, |stats| stats.video.packets_received > 30).await;
    assert!(flowing.unwrap().video.key_frames > 0);
    let counters = server.summary()["media"].clone();
    assert!(counters["streams"]["a"]["packets_received"].as_u64().unwrap() > 0, "{counters}");
    assert!(counters["streams"]["p"]["packets_sent"].as_u64().unwrap() > 0, "{counters}");

    publisher.stop("unPublishStream", "a", "cam").await;
    assert_eq!(player.status_of("p").await["info"], "Stopped by publisher stop");
    wait_until("the media server closes both streams", || {
        server.summary()["media"]["streams"].as_object().is_some_and(serde_json::Map::is_empty)
    })
    .await;
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_restart_takes_the_media_with_it() {
    let server = simulator(json!({"media": "real"})).await;
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let mut publisher = Client::establish(server.address()).await;
    let sending = published(&pool, &mut publisher, ClientOptions::publish()).await;
    wait_until("packets arrive", || {
        server.summary()["media"]["totals"]["packets_received"].as_u64().unwrap_or_default() > 30
    })
    .await;
    let fingerprint =
        |sdp: &str| sdp.lines().find(|line| line.starts_with("a=fingerprint:")).map(str::to_owned).unwrap();
    server.fault(serde_json::from_value(json!({"fault": "restart"})).unwrap()).unwrap();
    publisher.end().await;
    wait_until("the port is open", || std::net::TcpStream::connect(server.address()).is_ok()).await;
    let mut next = Client::establish(server.address()).await;
    let again = pool.client(ClientOptions::publish()).await.unwrap();
    let argument =
        json!({"mediaSessionId": "b", "name": "cam", "mediaProvider": "WebRTC", "sdp": again.offer()});
    next.send("publishStream", argument).await;
    let second = next.wait_for_all("setRemoteSDP").await[1].as_str().unwrap().to_owned();
    let mut third_client = Client::establish(server.address()).await;
    let argument =
        json!({"mediaSessionId": "c", "name": "c", "mediaProvider": "WebRTC", "sdp": again.offer()});
    third_client.send("publishStream", argument).await;
    let third = third_client.wait_for_all("setRemoteSDP").await[1].as_str().unwrap().to_owned();
    assert_eq!(fingerprint(&second), fingerprint(&third), "one certificate per process");
    assert_eq!(server.summary()["media"]["totals"]["packets_received"], 0, "the old client is not heard");
    drop(sending);
}

#[tokio::test]
async fn an_mse_player_gets_the_published_pictures() {
    let server = simulator(json!({"media": "real", "streams": {"prefer_codecs": ["H264"]}})).await;
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let mut publisher = Client::establish(server.address()).await;
    let options = ClientOptions { video: vec![VideoCodec::H264], ..ClientOptions::publish() };
    let _sending = published(&pool, &mut publisher, options).await;
    let mut player = Client::establish(server.address()).await;
    let argument = json!({
        "mediaSessionId": "p", "name": "cam", "published": false, "mediaProvider": "MSE", "sdp": MSE_OFFER,
    });
    player.send("playStream", argument).await;
    assert_eq!(player.status_of("p").await["status"], "PLAYING");
    let mut socket = Client::dial(server.address()).await;
    socket.send("connectMediaTransport", json!({"authToken": player.token})).await;
    let first = socket.binary().await;
    let length = u32::from_be_bytes(first[5..9].try_into().unwrap()) as usize;
    let (configuration, picture) = first.split_at(9 + length);
    assert_eq!((configuration[0], configuration[9], configuration[10]), (9, 0x17, 0));
    assert_eq!((picture[9], picture[10]), (0x17, 1), "the first picture is a key frame");
    assert_eq!(socket.binary().await[0], 9);
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_publish_without_packets_can_fail() {
    let server = simulator(json!({"media": "real", "streams": {"rtp_activity_ms": 300}})).await;
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let mut publisher = Client::establish(server.address()).await;
    let media = pool.client(ClientOptions::publish()).await.unwrap();
    let argument =
        json!({"mediaSessionId": "a", "name": "cam", "mediaProvider": "WebRTC", "sdp": media.offer()});
    publisher.send("publishStream", argument).await;
    assert_eq!(publisher.status_of("a").await["status"], "PUBLISHING");
    // The answer is never applied.
    let failed = publisher.status_of("a").await;
    assert_eq!((&failed["status"], &failed["info"]), (&json!("FAILED"), &json!("Failed by RTP activity")));
}

#[tokio::test]
async fn a_freeze_stops_the_media_too() {
    let server = simulator(json!({"media": "real"})).await;
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let mut publisher = Client::establish(server.address()).await;
    let _sending = published(&pool, &mut publisher, ClientOptions::publish()).await;
    let received =
        || -> u64 { server.summary()["media"]["totals"]["packets_received"].as_u64().unwrap_or_default() };
    wait_until("packets arrive", || received() > 30).await;
    server.fault(serde_json::from_value(json!({"fault": "freeze"})).unwrap()).unwrap();
    let pause = std::time::Duration::from_millis(300);
    // What was on its way before the freeze may still be counted.
    let mut frozen = u64::MAX;
    while received() != frozen {
        frozen = received();
        publisher.quiet_for(pause).await;
    }
    publisher.quiet_for(2 * pause).await;
    assert_eq!(received(), frozen);
    server.fault(serde_json::from_value(json!({"fault": "thaw"})).unwrap()).unwrap();
    wait_until("packets arrive again", || received() > frozen + 30).await;
    let violations: Value = server.summary()["violations"]["total"].clone();
    assert_eq!(violations, 0);
}
