//! Attacks on the media ports. None of these senders knows a credential.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::{RngExt as _, rngs::StdRng};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
};

use super::{
    attack::Target,
    common::let_pass,
    mutate::{self, Corpus},
};

const DATAGRAMS: usize = 100;
const PORTS: usize = 50;

fn port(target: &Target, random: &mut StdRng) -> SocketAddr {
    target.media[random.random_range(0..target.media.len())]
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

pub async fn noise(target: Arc<Target>, mut random: StdRng) {
    let socket = socket().await;
    for _ in 0..DATAGRAMS {
        let _ = socket.send_to(&mutate::noise(&mut random, 2_000), port(&target, &mut random)).await;
    }
}

pub async fn mutated(target: Arc<Target>, mut random: StdRng) {
    let socket = socket().await;
    for _ in 0..DATAGRAMS {
        let mut bytes = mutate::from(Corpus::Packets, &mut random);
        bytes.truncate(65_000);
        let _ = socket.send_to(&bytes, port(&target, &mut random)).await;
    }
}

/// Checks for names of streams that do not exist, well formed otherwise.
pub async fn many_ports(target: Arc<Target>, mut random: StdRng) {
    for _ in 0..PORTS {
        let socket = socket().await;
        let check = binding_request(&mut random);
        for media in &target.media {
            let _ = socket.send_to(&check, media).await;
        }
    }
}

/// RFC 8489 5 and 14.3: a binding request with a USERNAME of random text and a false signature.
fn binding_request(random: &mut StdRng) -> Vec<u8> {
    let user: String = (0..random.random_range(1..64)).map(|_| random.random_range('a'..='z')).collect();
    let user = format!("{user}:peer");
    let mut attributes = Vec::new();
    push_attribute(&mut attributes, 0x0006, user.as_bytes());
    push_attribute(&mut attributes, 0x0008, &[7; 20]);
    let mut bytes = vec![0, 1];
    bytes.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&0x2112_A442_u32.to_be_bytes());
    bytes.extend_from_slice(&random.random::<[u8; 12]>());
    bytes.extend(attributes);
    bytes
}

fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// RFC 4571: a frame of 64 KiB is announced and comes byte by byte.
pub async fn tcp_drip(target: Arc<Target>, mut random: StdRng) {
    let Ok(mut stream) = TcpStream::connect(port(&target, &mut random)).await else { return };
    if stream.write_all(&[0xFF, 0xFF]).await.is_err() {
        return;
    }
    loop {
        let_pass(Duration::from_millis(500)).await;
        if stream.write_all(&[random.random()]).await.is_err() {
            return;
        }
    }
}
