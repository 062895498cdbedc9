//! What strangers send to the sockets of upstream legs changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use holdfast::{
    load::webrtc_client::ClientOptions,
    simulator::media::{AnswerOptions, AnswerShape},
};

use media_support::{Anchored, anchor, counter, front::Front, pool, server, wait_until};

/// Sends to an address, over and over, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(to: SocketAddr, datagrams: Vec<Vec<u8>>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Nobody answers: the time-out is the pause.
            socket.set_read_timeout(Some(Duration::from_micros(500))).unwrap();
            while !until.load(Ordering::Relaxed) {
                for datagram in &datagrams {
                    // An error of an earlier datagram may be told here.
                    let _ = socket.send_to(datagram, to);
                }
                let _ = socket.recv(&mut [0; 64]);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A DTLS record in the clear, in DTLS 1.2.
fn record(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let header = [kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, sequence, 0, body.len() as u8];
    [&header[..], body].concat()
}

fn junk() -> Vec<Vec<u8>> {
    let alerts = (0..8).map(|n| record(21, n, &[2, [0, 10, 20, 40, 47, 50, 70, 80][usize::from(n)]]));
    let handshake = record(22, 0, &[1; 40]);
    let rtp = [vec![0x80, 96, 0, 1], vec![0; 4], vec![9; 100]].concat();
    let rtcp = [vec![0x80, 203, 0, 1], vec![9; 4]].concat();
    alerts.chain([handshake, rtp, rtcp, vec![22], vec![255; 40]]).collect()
}

#[tokio::test]
async fn junk_disturbs_no_leg_that_is_being_set_up() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let front = Front::start().await;
    // In it we see which port the legs share.
    let mut first = Anchored::start_through(
        &handle,
        &pool,
        &server,
        "first",
        ClientOptions::publish(),
        AnswerOptions::default(),
        |sdp| front.answer(sdp),
    )
    .await;
    assert!(first.proof().await);
    let shared = front.anchors()[0];
    let _flood = Flood::start(shared, junk());
    for shape in [AnswerShape::A, AnswerShape::E, AnswerShape::B] {
        for round in 0..3 {
            let name = format!("{shape:?}{round}");
            let answer = AnswerOptions::shape(shape);
            let options = ClientOptions::publish();
            let mut publisher =
                Anchored::start(&handle, &pool, &server, &name, options, answer.clone()).await;
            assert!(publisher.proof().await, "{name}: a key frame went up");
            let mut player =
                Anchored::start(&handle, &pool, &server, &name, ClientOptions::play(), answer).await;
            assert!(player.proof().await, "{name}: a key frame came down");
        }
    }
    assert_eq!(counter(&handle, "upstream_sockets"), 0, "all of it came to the socket they share");
    assert!(counter(&handle, "datagrams_foreign_upstream") > 100);
}

#[tokio::test]
async fn a_check_without_the_password_proves_no_address() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let front = Front::start().await;
    let mut publisher = Anchored::open(&handle, &pool, "n", ClientOptions::publish()).await;
    let offer = publisher.upstream_offer().await;
    let sdp = server.publish("p", "n", &offer, AnswerOptions::default()).await.unwrap();
    let (stream, epoch) = (publisher.key, publisher.epoch);
    let theirs = sdp.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:")).unwrap().to_owned();
    publisher.order(holdfast::media::MediaCommand::UpstreamAnswer {
        key: stream,
        epoch,
        sdp: front.answer(&sdp),
    });
    wait_until("the anchor's address is seen", || !front.anchors().is_empty()).await;
    let ours = offer.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:")).unwrap();

    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    check.extend([7; 12]);
    let name = format!("{ours}:{theirs}");
    check.extend([0, 6, 0, name.len() as u8]);
    check.extend(name.as_bytes());
    check.resize(check.len().next_multiple_of(4), 0);
    check.extend([0, 0x24, 0, 4, 1, 2, 3, 4, 0x80, 0x29, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 8, 0, 20]);
    check.extend([7; 20]);
    let length = (check.len() - 20) as u16;
    check[2..4].copy_from_slice(&length.to_be_bytes());
    let addresses = counter(&handle, "upstream_addresses");
    for _ in 0..100 {
        stranger.send_to(&check, front.anchors()[0]).unwrap();
    }
    wait_until("all were turned away", || counter(&handle, "datagrams_foreign_upstream") >= 100).await;
    assert_eq!(counter(&handle, "upstream_addresses"), addresses.max(1));
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 2_000]).is_err(), "nothing is sent to who did not prove the password");
}
