//! What the node tells of itself to balancers: the page of figures and the agent (protocol S14).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use holdfast_lab::simulator::Fault;

use crate::client::Client;
use crate::simulator;

const SHORT: Duration = Duration::from_millis(200);

async fn get(address: SocketAddr, target: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("GET {target} HTTP/1.1\r\nHost: wcs\r\n\r\n").as_bytes()).await.unwrap();
    read(tcp).await
}

async fn read(mut tcp: TcpStream) -> String {
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn ask_agent(address: SocketAddr) -> String {
    read(TcpStream::connect(address).await.unwrap()).await
}

#[tokio::test]
async fn figures_follow_what_is_there() {
    let server = simulator(json!({"stat": "127.0.0.1:0"})).await;
    let stat = server.stat_address().unwrap();
    let empty = get(stat, "/?action=stat").await;
    assert!(empty.starts_with("HTTP/1.1 200"), "{empty}");
    assert!(
        empty.contains("\nconnections_websocket=0\n") && empty.contains("\nstreams_webrtc_in=0\n"),
        "{empty}"
    );
    let mut publisher = Client::establish(server.address()).await;
    publisher.publish("a", "cam").await;
    let mut player = Client::establish(server.address()).await;
    player.play("b", "cam").await;
    let full = get(stat, "/?action=stat").await;
    for line in ["connections=2", "connections_websocket=2", "streams_webrtc_in=1", "streams_webrtc_out=1"] {
        assert!(full.lines().any(|found| found == line), "{line}: {full}");
    }
    assert!(get(stat, "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_agent_says_what_it_is_told() {
    let server = simulator(json!({"agent": "127.0.0.1:0"})).await;
    let agent = server.agent_address().unwrap();
    assert_eq!(ask_agent(agent).await, "up\n");
    for word in ["75%", "drain", "maint", "down # upgrade"] {
        server.switch(&json!({"agent_says": word})).unwrap();
        assert_eq!(ask_agent(agent).await, format!("{word}\n"));
    }
}

#[tokio::test]
async fn a_frozen_server_answers_neither_and_both_when_it_goes_on() {
    let server = simulator(json!({"agent": "127.0.0.1:0", "stat": "127.0.0.1:0"})).await;
    let (agent, stat) = (server.agent_address().unwrap(), server.stat_address().unwrap());
    let freeze: Fault = serde_json::from_value(json!({"fault": "freeze"})).unwrap();
    let thaw: Fault = serde_json::from_value(json!({"fault": "thaw"})).unwrap();
    server.fault(freeze).unwrap();
    let (mut asked, mut got) = (Box::pin(ask_agent(agent)), Box::pin(get(stat, "/?action=stat")));
    assert!(timeout(SHORT, &mut asked).await.is_err());
    assert!(timeout(SHORT, &mut got).await.is_err());
    server.fault(thaw).unwrap();
    assert_eq!(asked.await, "up\n");
    assert!(got.await.contains("connections=0"));
}
