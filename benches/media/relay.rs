//! A bare UDP relay: one call to receive, one to send, nothing between. It reads no packet; what
//! it costs is what the system calls cost.

use std::{collections::HashMap, io::ErrorKind, net::SocketAddr};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};

const CONTROL: Token = Token(0);

/// A leg: the way to the other one, and where its own side was last heard.
struct Leg {
    socket: UdpSocket,
    other: usize,
    peer: Option<SocketAddr>,
}

/// Relays until it is killed. Each datagram to `address` names a server; the answer is the port
/// that leads there.
pub(crate) fn run(address: SocketAddr) {
    let mut poll = Poll::new().unwrap();
    let mut control = UdpSocket::bind(address).unwrap();
    poll.registry().register(&mut control, CONTROL, Interest::READABLE).unwrap();
    let mut legs: HashMap<usize, Leg> = HashMap::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 65_536];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == CONTROL {
                while let Ok((count, asker)) = control.recv_from(&mut buffer) {
                    let server = std::str::from_utf8(&buffer[..count]).unwrap().parse().unwrap();
                    let port = open(&poll, &mut legs, server);
                    control.send_to(port.to_string().as_bytes(), asker).unwrap();
                }
            } else {
                relay(&mut legs, event.token().0, &mut buffer);
            }
        }
    }
}

fn open(poll: &Poll, legs: &mut HashMap<usize, Leg>, server: SocketAddr) -> u16 {
    let first = legs.len() + 1;
    let mut port = 0;
    for (token, other, peer) in [(first, first + 1, None), (first + 1, first, Some(server))] {
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        poll.registry().register(&mut socket, Token(token), Interest::READABLE).unwrap();
        if peer.is_none() {
            port = socket.local_addr().unwrap().port();
        }
        legs.insert(token, Leg { socket, other, peer });
    }
    port
}

fn relay(legs: &mut HashMap<usize, Leg>, token: usize, buffer: &mut [u8]) {
    loop {
        let leg = legs.get_mut(&token).unwrap();
        let (count, source) = match leg.socket.recv_from(buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // A port that is not there any more.
            Err(_) => continue,
        };
        leg.peer = Some(source);
        let other = leg.other;
        let other = &legs[&other];
        if let Some(peer) = other.peer {
            // What the system cannot take now is dropped, as networks do.
            let _ = other.socket.send_to(&buffer[..count], peer);
        }
    }
}
