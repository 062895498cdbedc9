//! The control port over HTTP, and a server with many sessions.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Client, Ended};
use crate::{assert_no_violation, simulator};

async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    request_as("localhost", address, method, path, body).await
}

async fn request_as(host: &str, address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn state_faults_and_switches_over_http() {
    let server = simulator(json!({"control": "127.0.0.1:0"})).await;
    let control = server.control_address().unwrap();
    let mut client = Client::establish(server.address()).await;
    client.publish("a", "cam").await;
    let (status, state) = request(control, "GET", "/state", "").await;
    assert_eq!(status, 200);
    assert_eq!(state["streams"][0]["name"], "cam");
    assert_eq!(state["streams"][0]["offered_codecs"], json!(["opus", "VP8", "H264"]));
    assert_eq!(state["sessions"][0]["asked"], json!({"publishStream": 1}));
    assert_eq!(state["counters"]["asked"], json!({"connection": 1, "publishStream": 1}));
    assert_eq!(state["now"]["sessions"], 1);
    assert_eq!(request(control, "GET", "/violations", "").await.1["total"], 0);
    let journal = request(control, "GET", "/journal", "").await.1;
    let whats: Vec<&str> =
        journal.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["session", "publish", "accepted"]);

    let (status, settings) = request(control, "POST", "/switch", r#"{"pings":{"missed_max":4}}"#).await;
    assert_eq!((status, &settings["pings"]["missed_max"]), (200, &json!(4)));
    let (status, refusal) = request(control, "POST", "/switch", r#"{"pings":{"colour":4}}"#).await;
    assert_eq!(status, 400);
    assert!(refusal["error"].as_str().unwrap().contains("colour"));

    let (status, struck) = request(control, "POST", "/fault", r#"{"fault":"drop","how":"rst"}"#).await;
    assert_eq!((status, &struck["struck"]), (200, &json!(1)));
    assert_eq!(client.end().await, Ended::Reset);
    assert_eq!(request(control, "POST", "/fault", r#"{"fault":"earthquake"}"#).await.0, 400);
    assert_eq!(request(control, "GET", "/fault", "").await.0, 405);
    assert_eq!(request(control, "GET", "/nothing", "").await.0, 404);
    // A page that made its own name point here (DNS rebinding) gets nothing.
    assert_eq!(request_as("evil.example", control, "GET", "/state", "").await.0, 403);
}

#[tokio::test]
async fn five_hundred_sessions_publish_at_once() {
    const SESSIONS: usize = 500;
    let server = simulator(json!({})).await;
    let address = server.address();
    let clients: Vec<_> = (0..SESSIONS)
        .map(|number| {
            tokio::spawn(async move {
                let mut client = Client::establish(address).await;
                let name = format!("s-{number}");
                assert_eq!(client.publish(&name, &name).await["status"], "PUBLISHING");
                client
            })
        })
        .collect();
    let mut open = Vec::new();
    for client in clients {
        open.push(client.await.unwrap());
    }
    let summary = server.summary();
    assert_eq!(summary["now"]["publishes"], SESSIONS);
    assert_eq!(summary["counters"]["asked"]["connection"], SESSIONS);
    for rate in ["dials_per_second_max", "connects_per_second_max"] {
        let rate = summary["counters"][rate].as_u64().unwrap();
        assert!((1..=SESSIONS as u64).contains(&rate), "{rate}");
    }
    let order = serde_json::from_value(json!({"fault": "drop", "how": "fin"})).unwrap();
    assert_eq!(server.fault(order).unwrap(), json!({"struck": SESSIONS}));
    for client in &mut open {
        assert_eq!(client.end().await, Ended::Fin);
    }
    assert_no_violation(&server);
}
