//! Attacks on the ports that speak HTTP.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{attack::Target, common::let_pass, mutate};

const HANDSHAKE: &[u8] = b"GET /wss?x=1 HTTP/1.1\r\nHost: wcs.example:8443\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nOrigin: https://page.example\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 192.0.2.1, 198.51.100.7\r\nCookie: a=b\r\n\r\n";

/// Sends what there is and reads until the other side ends it. A refused or reset connection is an
/// answer, too.
pub async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    if stream.write_all(bytes).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 16 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

pub async fn touch(target: Arc<Target>, _: StdRng) {
    drop(TcpStream::connect(target.clients).await);
}

pub async fn drip(target: Arc<Target>, mut random: StdRng) {
    let Ok(mut stream) = TcpStream::connect(target.clients).await else { return };
    let start = random.random_range(0..HANDSHAKE.len());
    if stream.write_all(&HANDSHAKE[..start]).await.is_err() {
        return;
    }
    for byte in &HANDSHAKE[start..HANDSHAKE.len() - 1] {
        let_pass(Duration::from_millis(200)).await;
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
}

pub async fn mutated(target: Arc<Target>, mut random: StdRng) {
    let mut bytes = mutate::mutate(HANDSHAKE.to_vec(), &mut random);
    if random.random_bool(0.5) {
        // Complete, whatever became of it.
        bytes.extend_from_slice(b"\r\n\r\n");
    }
    exchange(target.clients, &bytes).await;
}

pub async fn huge(target: Arc<Target>, mut random: StdRng) {
    let mut bytes = HANDSHAKE[..HANDSHAKE.len() - 2].to_vec();
    while bytes.len() < 64 * 1024 {
        let value = "v".repeat(random.random_range(0..4_000));
        bytes.extend_from_slice(format!("X-{}: {value}\r\n", random.random::<u32>()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    exchange(target.clients, &bytes).await;
}

pub async fn with_body(target: Arc<Target>, mut random: StdRng) {
    let method = ["POST", "PUT", "GET", "OPTIONS", "TRACE"][random.random_range(0..5)];
    let length: u64 = [0, 10, 100_000, u64::MAX][random.random_range(0..4)];
    let head = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(mutate::noise(&mut random, 64 * 1024));
    exchange(target.clients, &bytes).await;
}

pub async fn admin(target: Arc<Target>, mut random: StdRng) {
    if random.random_bool(0.5) {
        let Ok(_idle) = TcpStream::connect(target.admin).await else { return };
        std::future::pending().await
    }
    let request = b"GET /status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_vec();
    exchange(target.admin, &mutate::mutate(request, &mut random)).await;
}
