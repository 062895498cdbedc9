//! Attacks by those who get past the handshake, which anybody does.

use std::{io, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{
    attack::Target,
    common::{let_pass, page},
    control::STREAM_NAME,
    mutate::{self, Corpus},
};

type Socket = WebSocketStream<TcpStream>;

async fn connect(target: &Target) -> Option<Socket> {
    let stream = TcpStream::connect(target.clients).await.ok()?;
    // At a limit it is refused, which is right.
    client_async(format!("ws://{}/", target.clients), stream).await.ok().map(|(socket, _)| socket)
}

/// A session that was answered, as long as the proxy gives one.
async fn establish(target: &Target, random: &mut StdRng) -> Option<Socket> {
    let mut socket = connect(target).await?;
    let connection = json!({"message": "connection", "data": [{
        "appKey": "defaultApp", "mediaProviders": ["WebRTC"], "custom": {"attacker": random.random::<u32>()},
    }]});
    socket.send(Message::text(connection.to_string())).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if message.to_text().is_ok_and(|text| text.contains("getUserData")) {
            return Some(socket);
        }
    }
    None
}

/// Reads whatever comes until the end, at most for this long.
async fn listen(socket: &mut Socket, time: Duration) {
    let all = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(time, all).await;
}

pub async fn noise(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = connect(&target).await else { return };
    let bytes = mutate::noise(&mut random, 64 * 1024);
    let _ = socket.get_mut().write_all(&bytes).await;
    listen(&mut socket, Duration::from_secs(2)).await;
}

pub async fn frames(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    for _ in 0..20 {
        let bytes = mutate::from(Corpus::Frames, &mut random);
        if socket.get_mut().write_all(&bytes).await.is_err() {
            return;
        }
    }
    listen(&mut socket, Duration::from_secs(1)).await;
}

pub async fn messages(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    for _ in 0..50 {
        let bytes = mutate::from(Corpus::Messages, &mut random);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
    listen(&mut socket, Duration::from_secs(1)).await;
}

pub async fn offers(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    for _ in 0..10 {
        let sdp = mutate::from(Corpus::Offers, &mut random);
        let sdp = String::from_utf8_lossy(&sdp).into_owned();
        let (id, name) =
            (format!("{:032x}", random.random::<u128>()), format!("n{}", random.random::<u16>()));
        let publish = random.random_bool(0.5);
        let argument = page::stream(&id, &name, publish, "WebRTC", &sdp);
        let message = if publish { "publishStream" } else { "playStream" };
        let text = json!({"message": message, "data": [argument]}).to_string();
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
    listen(&mut socket, Duration::from_secs(2)).await;
}

/// Writes pings for as long as they are taken.
pub async fn never_reads(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    let mut pings = Vec::new();
    for _ in 0..2_000 {
        pings.extend_from_slice(&[0x89, 0x80 | 125, 0, 0, 0, 0]);
        pings.extend_from_slice(&[b'p'; 125]);
    }
    loop {
        if socket.get_mut().write_all(&pings).await.is_err() {
            return;
        }
    }
}

pub async fn unfinished(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    let header = [0x82, 0xFF, 0, 0, 0, 0, 0x00, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    let part = vec![0x55; 64 * 1024];
    if socket.get_mut().write_all(&header).await.is_err() {
        return;
    }
    for _ in 0..200 {
        if socket.get_mut().write_all(&part).await.is_err() {
            return;
        }
    }
    listen(&mut socket, Duration::from_secs(3)).await;
}

pub async fn heavy(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    for _ in 0..10 {
        let id = format!("{:032x}", random.random::<u128>());
        let name = "n".repeat(random.random_range(1..256 * 1024));
        let sdp = format!("{}{}", page::OFFER, "a=x\r\n".repeat(random.random_range(1..50_000)));
        let argument = page::stream(&id, &name, true, "WebRTC", &sdp);
        let text = json!({"message": "publishStream", "data": [argument]}).to_string();
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
    listen(&mut socket, Duration::from_secs(2)).await;
}

/// The name is known to everybody who may watch it; that gives no right to it.
pub async fn takes_name(target: Arc<Target>, mut random: StdRng) {
    let Some(mut socket) = establish(&target, &mut random).await else { return };
    let id = format!("{:032x}", random.random::<u128>());
    let argument = page::stream(&id, STREAM_NAME, true, "WebRTC", page::OFFER);
    let text = json!({"message": "publishStream", "data": [argument]}).to_string();
    if socket.send(Message::text(text)).await.is_ok() {
        listen(&mut socket, Duration::from_secs(4)).await;
    }
}

pub async fn flapping(target: Arc<Target>, mut random: StdRng) {
    let Some(socket) = establish(&target, &mut random).await else { return };
    let reset: io::Result<()> = if random.random_bool(0.5) {
        // RST instead of FIN.
        socket2::SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO))
    } else {
        Ok(())
    };
    reset.unwrap();
    let_pass(Duration::from_millis(random.random_range(0..50))).await;
}
