//! The binary sockets of MSE and WSPlayer players, with made-up media.

use serde_json::json;

use crate::client::{Client, Ended, MSE_OFFER, wait_until};
use crate::{assert_no_violation, simulator};

async fn play(client: &mut Client, id: &str, provider: &str) {
    let argument = json!({
        "mediaSessionId": id, "name": "cam", "published": false, "mediaProvider": provider, "sdp": MSE_OFFER,
    });
    client.send("playStream", argument).await;
}

async fn media_socket(address: std::net::SocketAddr, token: &str) -> Client {
    let mut socket = Client::dial(address).await;
    socket.send("connectMediaTransport", json!({"authToken": token})).await;
    socket
}

fn counter(record: &[u8]) -> u32 {
    u32::from_be_bytes(record[record.len() - 4..].try_into().unwrap())
}

#[tokio::test]
async fn an_mse_player_gets_records_that_count() {
    let server = simulator(json!({"streams": {"fake_frame_interval_ms": 2}})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    play(&mut client, "p", "MSE").await;
    let remote = client.wait_for_all("setRemoteSDP").await;
    let sdp = remote[1].as_str().unwrap();
    assert!(sdp.contains("m=audio 0 ") && !sdp.contains("m=video 0 "), "{sdp}");
    assert_eq!(client.status_of("p").await["status"], "PLAYING");
    let mut socket = media_socket(server.address(), &client.token).await;
    for expected in 0..30 {
        let record = socket.binary().await;
        assert_eq!((record[0], counter(&record)), (9, expected));
    }
    client.stop("stopStream", "p", "cam").await;
    client.status_of("p").await;
    assert!(server.state()["streams"][0]["media_socket"].is_null());
    assert_no_violation(&server);
}

#[tokio::test]
async fn a_wsplayer_socket_comes_before_its_play() {
    let server = simulator(json!({"streams": {"fake_frame_interval_ms": 2}})).await;
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    let mut socket = media_socket(server.address(), &client.token).await;
    wait_until("the socket is attached", || !server.state()["sessions"][0]["media_sockets"][0].is_null())
        .await;
    play(&mut client, "p", "WSPlayer").await;
    assert_eq!(counter(&socket.binary().await), 0);
    assert_eq!(counter(&socket.binary().await), 1);
    drop(socket);
    wait_until("the loss is noticed", || server.summary()["now"]["connections"] == 1).await;
    let mut socket = media_socket(server.address(), &client.token).await;
    assert_eq!(counter(&socket.binary().await), 0);
}

#[tokio::test]
async fn an_unknown_token_is_refused_and_recorded() {
    let server = simulator(json!({})).await;
    let mut socket = media_socket(server.address(), "nobody's").await;
    assert_eq!(socket.end().await, Ended::Closed(Some(1008)));
    assert_eq!(server.summary()["violations"]["kinds"], json!({"unknown_media_token": 1}));
}

#[tokio::test]
async fn media_sockets_are_pinged_without_payload() {
    let server = simulator(json!({"pings": {"interval_ms": 10}})).await;
    let client = Client::establish(server.address()).await;
    let mut socket = media_socket(server.address(), &client.token).await;
    socket.pongs = false;
    for _ in 0..3 {
        socket.wait_for_pings(1).await;
        socket.send_text(r#"{"message":"pong"}"#.to_owned()).await;
    }
    assert_no_violation(&server);
}

#[tokio::test]
async fn the_end_of_the_session_ends_its_media_sockets() {
    let server = simulator(json!({})).await;
    let client = Client::establish(server.address()).await;
    let mut socket = media_socket(server.address(), &client.token).await;
    wait_until("the socket is attached", || !server.state()["sessions"][0]["media_sockets"][0].is_null())
        .await;
    client.close().await;
    assert_eq!(socket.end().await, Ended::Closed(None));
}
