//! Who is let in, and what is remembered of it.

use serde_json::json;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use crate::client::Client;
use crate::simulator;

fn request(address: std::net::SocketAddr, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}/wss/path?key=1").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

async fn status(address: std::net::SocketAddr, headers: &[(&'static str, &str)]) -> u16 {
    match Client::dial_with(address, request(address, headers)).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn path_query_and_headers_are_recorded() {
    let server = simulator(json!({})).await;
    let headers = [("origin", "https://page.example"), ("cookie", "a=1"), ("x-forwarded-for", "10.1.2.3")];
    let (_client, _) =
        Client::dial_with(server.address(), request(server.address(), &headers)).await.unwrap();
    let state = server.state();
    let handshake = &state["connections"][0]["handshake"];
    assert_eq!(handshake["target"], "/wss/path?key=1");
    assert_eq!(handshake["headers"]["origin"], "https://page.example");
    assert_eq!(handshake["headers"]["cookie"], "a=1");
    assert_eq!(handshake["headers"]["x-forwarded-for"], "10.1.2.3");
    assert_eq!(state["handshakes"][0]["status"], 101);
}

#[tokio::test]
async fn origins_cookies_and_credentials_are_demanded() {
    let server = simulator(json!({"handshake": {"origins": ["https://good.example"]}})).await;
    let address = server.address();
    assert_eq!(status(address, &[]).await, 403);
    assert_eq!(status(address, &[("origin", "https://bad.example")]).await, 403);
    assert_eq!(status(address, &[("origin", "https://good.example")]).await, 101);
    server.switch(&json!({"handshake": {"origins": null, "require_cookie": "auth=yes"}})).unwrap();
    assert_eq!(status(address, &[("cookie", "auth=no")]).await, 403);
    assert_eq!(status(address, &[("cookie", "x=1; auth=yes")]).await, 101);
    server
        .switch(&json!({"handshake": {"require_cookie": null, "require_authorization": "Basic abc"}}))
        .unwrap();
    assert_eq!(status(address, &[]).await, 401);
    assert_eq!(status(address, &[("authorization", "Basic abc")]).await, 101);
    assert_eq!(server.summary()["counters"]["handshakes_refused"], json!({"401": 1, "403": 3}));
}

#[tokio::test]
async fn handshakes_are_refused_a_number_of_times() {
    let server =
        simulator(json!({"handshake": {"refuse_status": 503, "refuse_times": 2, "retry_after_s": 7}})).await;
    let address = server.address();
    let refused = Client::dial_with(address, request(address, &[])).await;
    let Err(Error::Http(response)) = refused else { panic!("not refused") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(status(address, &[]).await, 503);
    assert_eq!(status(address, &[]).await, 101);
}

#[tokio::test]
async fn an_extension_can_be_answered_though_none_was_offered() {
    let server = simulator(json!({"handshake": {"answer_extension": "permessage-deflate"}})).await;
    let address = server.address();
    // Read by hand: the library refuses such an answer, as it should.
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tcp.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("sec-websocket-extensions: permessage-deflate"), "{answer}");
}

#[tokio::test]
async fn connections_past_the_bound_are_dropped() {
    let server = simulator(json!({"limits": {"connections_max": 1}})).await;
    let _first = Client::establish(server.address()).await;
    let address = server.address();
    assert!(Client::dial_with(address, request(address, &[])).await.is_err());
    assert_eq!(server.summary()["counters"]["over_limit"], 1);
    assert_eq!(server.summary()["counters"]["dials"], 2);
}
