//! The load of the media benchmark (`media.py` starts it): pages with real media through whatever
//! stands between them and a server, and the bare UDP relay that is the measure of them all.
//!
//! ```text
//! media_load load SERVER direct|relay=ADDRESS|rtpengine=ADDRESS BITRATE_BPS
//! media_load relay ADDRESS
//! ```
//! The load is steered by lines on its input, each answered by a line of JSON: `pairs N` adds N
//! publishers with one player each, `count` tells what was sent and received.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod path;
mod relay;

use std::{
    io::{BufRead as _, stdin},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use holdfast::load::webrtc_client::{ClientOptions, ClientPool, PoolSettings, WebRtcClient};
use path::Path;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// How long a stream may take to flow.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["load", server, path, bitrate] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let path = Path::named(path).expect("direct, relay=ADDRESS or rtpengine=ADDRESS");
            runtime.block_on(load(server.parse().unwrap(), path, bitrate.parse().unwrap()));
        }
        ["relay", address] => relay::run(address.parse().unwrap()),
        _ => panic!("see the top of benches/media/load.rs"),
    }
}

async fn load(server: SocketAddr, path: Path, bitrate_bps: u32) {
    let (commands, mut queue) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if commands.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let pool = ClientPool::start(PoolSettings::default()).unwrap();
    let path = Arc::new(path);
    let mut clients: Vec<(bool, Arc<WebRtcClient>)> = Vec::new();
    while let Some(line) = queue.recv().await {
        let answer = match line.split_once(' ') {
            Some(("pairs", count)) => {
                for _ in 0..count.parse::<usize>().unwrap() {
                    let name = format!("cost-{}", clients.len());
                    for publish in [true, false] {
                        let options = if publish { ClientOptions::publish() } else { ClientOptions::play() };
                        let options = ClientOptions { bitrate_bps, ..options };
                        let client = join(server, &pool, &path, &name, options).await;
                        clients.push((publish, client));
                    }
                }
                for (publish, client) in &clients {
                    let flows = client.wait_for(PATIENCE, |stats| {
                        if *publish { stats.video.packets_sent > 0 } else { stats.video.key_frames > 0 }
                    });
                    flows.await.unwrap_or_else(|stats| panic!("no media flows: {stats:#?}"));
                }
                json!({ "streams": clients.len() })
            }
            _ => count(&clients),
        };
        println!("{answer}");
    }
}

/// What publishers sent and players received and missed.
fn count(clients: &[(bool, Arc<WebRtcClient>)]) -> Value {
    let (mut sent, mut received, mut missing) = (0, 0, 0);
    for (publish, client) in clients {
        let stats = client.stats();
        for track in [&stats.audio, &stats.video] {
            if *publish {
                sent += track.packets_sent;
            } else {
                received += track.packets_received;
                missing += track.missing;
            }
        }
    }
    json!({"sent": sent, "received": received, "missing": missing})
}

/// A page with one stream, which lives as long as this process.
async fn join(
    server: SocketAddr,
    pool: &ClientPool,
    path: &Arc<Path>,
    name: &str,
    options: ClientOptions,
) -> Arc<WebRtcClient> {
    let publish = options.publish;
    let tcp = TcpStream::connect(server).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{server}/"), tcp).await.unwrap();
    say(&mut socket, "connection", json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"]})).await;
    hear(&mut socket, "getUserData").await;
    let client = Arc::new(pool.client(options).await.unwrap());
    let id = format!("{:032x}", rand::random::<u128>());
    let stream = json!({"mediaSessionId": id, "name": name, "published": publish, "hasVideo": true,
        "hasAudio": true, "status": "PENDING", "record": false, "mediaProvider": "WebRTC",
        "sdp": path.offer(&id, client.offer()), "bitrate": 0, "minBitrate": 0, "maxBitrate": 0});
    say(&mut socket, if publish { "publishStream" } else { "playStream" }, stream).await;
    let answer = hear(&mut socket, "setRemoteSDP").await;
    client.apply_answer(&path.answer(&id, answer[1].as_str().unwrap())).await.unwrap();
    tokio::spawn(async move {
        loop {
            // Answers pings for good.
            hear(&mut socket, "").await;
        }
    });
    client
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &str, argument: Value) {
    let text = json!({"message": message, "data": [argument]}).to_string();
    socket.send(Message::text(text)).await.unwrap();
}

/// Waits for a message; answers pings meanwhile.
async fn hear(socket: &mut WebSocketStream<TcpStream>, wanted: &str) -> Value {
    loop {
        let message = socket.next().await.expect("the socket stays open").unwrap();
        let Message::Text(text) = message else { continue };
        let mut message: Value = serde_json::from_str(&text).unwrap();
        match message["message"].as_str().unwrap() {
            "ping" => socket.send(Message::text(r#"{"message":"pong","data":[null]}"#)).await.unwrap(),
            name if name == wanted => return message["data"].take(),
            "notifyStreamStatusEvent" if message["data"][0]["status"] == "FAILED" => panic!("{message}"),
            _ => {}
        }
    }
}
