//! Peers that send what they should not: everything is bounded before a library sees it, and
//! nothing that is not authentic moves anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;
#[path = "media_support/raw_peer.rs"]
mod raw_peer;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Client, Fact, Kind, MediaCommand, MediaFact, MediaHandle, MediaHealth, StreamKey},
    session::Epoch,
    simulator::media::{AnswerOptions, Media},
};
use tokio::sync::mpsc::{Receiver, channel};

use media_support::{Anchored, LIMIT, anchor, flowing, new_key, pair, pool, server, wait_until};
use raw_peer::{RawPeer, Rtp, key_frame};

const VIDEO: u32 = 1000;
const REPAIR: u32 = 2000;

fn counter(handle: &MediaHandle, name: &str) -> u64 {
    handle.counters()[name].as_u64().unwrap()
}

/// A publisher whose packets the test writes.
struct Publisher {
    peer: RawPeer,
    handle: MediaHandle,
    key: StreamKey,
    epoch: Epoch,
    facts: Receiver<MediaFact>,
    sequence: u16,
}

impl Publisher {
    async fn open(handle: &MediaHandle) -> Self {
        let peer = RawPeer::new(true);
        let (sender, facts) = channel(256);
        let key = new_key();
        let (handle, epoch) = (handle.clone(), Epoch(0));
        handle.order(MediaCommand::Open {
            key,
            kind: Kind::Publish,
            epoch,
            client_offer: peer.offer(),
            refuse_h264: false,
            client: Client { local_ip: Ipv4Addr::LOCALHOST.into(), facts: sender },
        });
        Self { peer, handle, key, epoch, facts, sequence: 100 }
    }

    /// Publishes at the server and connects.
    async fn start(handle: &MediaHandle, server: &Media, name: &str) -> Self {
        let mut publisher = Self::open(handle).await;
        publisher.attach_to(server, name).await;
        let sdp =
            publisher.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
        publisher.peer.learn(&sdp);
        publisher.peer.connect();
        publisher
    }

    async fn attach_to(&mut self, server: &Media, name: &str) {
        let offer =
            self.expect(|f| if let Fact::UpstreamOffer { sdp, .. } = f { Some(sdp) } else { None }).await;
        let id = format!("{name}-{}-{}", self.key.session, self.epoch.0);
        let sdp = server.publish(&id, name, &offer, AnswerOptions::default()).await.unwrap();
        self.handle.order(MediaCommand::UpstreamAnswer { key: self.key, epoch: self.epoch, sdp });
    }

    async fn expect<T>(&mut self, pick: impl Fn(Fact) -> Option<T>) -> T {
        let wait = async {
            loop {
                let MediaFact { fact, .. } = self.facts.recv().await.expect("the stream lives");
                if let Some(found) = pick(fact) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, wait).await.expect("the fact comes in time")
    }

    fn next(&mut self, payload: Vec<u8>) -> Rtp {
        self.sequence += 1;
        Rtp::new(96, VIDEO, self.sequence, payload)
    }

    fn send_key_frame(&mut self) {
        let packet = self.next(key_frame(200));
        self.peer.send_rtp(&packet);
    }

    /// Sends key frames until one went through the upstream leg of now.
    async fn flow(&mut self) {
        let until = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < until, "nothing flows");
            self.send_key_frame();
            self.peer.turn(Duration::from_millis(20));
            while let Ok(MediaFact { fact, .. }) = self.facts.try_recv() {
                match fact {
                    Fact::Flowing { epoch, key_frame: true, .. } if epoch == self.epoch => return,
                    Fact::UpstreamFailed { reason, .. } | Fact::Broken { reason } => panic!("{reason}"),
                    _ => {}
                }
            }
        }
    }

    /// Of which sources the anchor asks key frames, until there are so many requests.
    fn asked(&mut self, requests: usize) -> Vec<u32> {
        let until = Instant::now() + LIMIT;
        let mut asked = Vec::new();
        while asked.len() < requests {
            assert!(Instant::now() < until, "the anchor asks for nothing");
            self.peer.turn(Duration::from_millis(20));
            for packet in std::mem::take(&mut self.peer.received) {
                asked.extend(self.peer.key_frame_requests(&packet));
            }
        }
        asked
    }
}

/// What a good stream of the same worker sees meanwhile.
async fn assert_goes_on(player: &Anchored) {
    let before = player.client.stats().video.packets_received;
    player.until("the others go on", |s| s.video.packets_received > before + 30).await;
}

fn assert_whole(handle: &MediaHandle) {
    assert_eq!(handle.health(), MediaHealth { workers: 1, workers_alive: 1, worker_restarts: 0 });
    assert_eq!(counter(handle, "streams_broken"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn authentic_packets_of_any_length_harm_nobody() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    let mut hostile = Publisher::start(&handle, &server, "h").await;
    hostile.flow().await;
    let lengths =
        (0..64).chain((64..1_900).step_by(61)).chain(1_900..2_120).chain([3_000, 4_060, 9_000, 60_000]);
    let mut too_long = 0;
    for length in lengths {
        let mut payload = key_frame(length);
        payload.truncate(length);
        too_long += u64::from(length > 1_700 && length < 4_000);
        let packet = hostile.next(payload);
        hostile.peer.send_rtp(&packet);
        // The same as a retransmission, and as sound.
        let again = [packet.sequence.to_be_bytes().to_vec(), packet.payload].concat();
        hostile.peer.send_rtp(&Rtp::new(97, REPAIR, packet.sequence, again.clone()));
        hostile.peer.send_rtp(&Rtp::new(111, 3000, packet.sequence, again));
        hostile.peer.turn(Duration::from_millis(1));
    }
    let stats = hostile
        .expect(|fact| match fact {
            Fact::Stats(stats) if stats.oversized >= too_long / 2 => Some(stats),
            Fact::Broken { reason } | Fact::UpstreamFailed { reason, .. } => panic!("{reason}"),
            _ => None,
        })
        .await;
    assert!(stats.upstream.packets_sent > 100, "{stats:?}");
    hostile.handle.order(MediaCommand::Attach {
        key: hostile.key,
        epoch: Epoch(1),
        narrow: true,
        refuse_h264: false,
        beside: false,
    });
    hostile.epoch = Epoch(1);
    hostile.attach_to(&server, "h2").await;
    hostile.flow().await;
    assert_goes_on(&player).await;
    assert_whole(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn authentic_nonsense_breaks_at_most_its_own_stream() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    let mut hostile = Publisher::start(&handle, &server, "h").await;
    hostile.flow().await;
    let mut random = 1_u32;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    for round in 0..3_000_u32 {
        let length = next() as usize % 120;
        let mut noise: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        if round % 2 == 0 {
            // RTCP: a plausible header before the noise.
            let kind = [200, 201, 202, 203, 205, 206, 207][next() as usize % 7];
            noise.resize(noise.len().next_multiple_of(4), 0);
            let words = (1 + noise.len() / 4 - usize::from(round % 5 == 0)) as u16;
            let header =
                [&[0x80 | (next() as u8 & 0x3f), kind][..], &words.to_be_bytes(), &VIDEO.to_be_bytes()];
            hostile.peer.send_rtcp(&[header.concat(), noise].concat());
        } else {
            let mut packet = hostile.next(noise);
            packet.timestamp = next();
            packet.sequence = if round % 7 == 0 { next() as u16 } else { packet.sequence };
            packet.extensions = (0..next() % 4)
                .map(|_| (1 + next() as u8 % 14, vec![next() as u8; 1 + next() as usize % 16]))
                .collect();
            hostile.peer.send_rtp(&packet);
        }
        if round % 16 == 0 {
            hostile.peer.turn(Duration::from_millis(1));
        }
    }
    assert_goes_on(&player).await;
    assert_eq!(handle.health(), MediaHealth { workers: 1, workers_alive: 1, worker_restarts: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_attributes_of_any_length_harm_nobody() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    for length in [1, 3, 99, 100, 101, 119, 120, 128, 200, 256, 257, 512, 5_000] {
        for attribute in
            ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=mid:", "a=candidate:", "a=msid:"]
        {
            let mut hostile = Publisher::open(&handle).await;
            let epoch = hostile.epoch;
            hostile.expect(|f| matches!(f, Fact::UpstreamOffer { .. }).then_some(())).await;
            let upstream = RawPeer::new(false);
            let answer: String = upstream
                .answer("recvonly")
                .lines()
                .map(|line| match line.starts_with(attribute) {
                    true => format!("{attribute}{}\r\n", "a".repeat(length)),
                    false => format!("{line}\r\n"),
                })
                .collect();
            hostile.handle.order(MediaCommand::UpstreamAnswer { key: hostile.key, epoch, sdp: answer });
            let broke = hostile
                .expect(|fact| match fact {
                    Fact::ClientAnswer { .. } | Fact::UpstreamFailed { .. } => Some(None),
                    Fact::Broken { reason } => Some(Some(reason)),
                    _ => None,
                })
                .await;
            assert_eq!(broke, None, "{attribute} of {length}");
            // Time for what it sends.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_goes_on(&player).await;
    assert_whole(&handle);
}

/// The same from the other side: a server that sends what it likes to a player.
#[tokio::test(flavor = "multi_thread")]
async fn packets_of_a_server_of_any_length_harm_nobody() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, good) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    good.until("media", flowing).await;
    let mut player = Anchored::open(&handle, &pool, "h", ClientOptions::play()).await;
    let offer = player.upstream_offer().await;
    let mut hostile = RawPeer::new(false);
    hostile.learn(&offer);
    let sdp = hostile.answer("sendonly");
    player.order(MediaCommand::UpstreamAnswer { key: player.key, epoch: player.epoch, sdp });
    let sdp = player.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    player.client.apply_answer(&sdp).await.unwrap();
    hostile.connect();
    player.until("its connection", |s| s.connected).await;
    let refused = counter(&handle, "datagrams_refused");
    for (number, length) in (0..200).chain((200..1_900).step_by(83)).chain(1_900..2_100).enumerate() {
        let sequence = 100 + number as u16;
        hostile.send_rtp(&Rtp::new(96, VIDEO, sequence, key_frame(length)));
        hostile.send(&Rtp::new(96, 6_000 + number as u32, sequence, key_frame(length)).forged());
        hostile.send(&Rtp::new(97, 7_000 + number as u32, sequence, key_frame(length)).forged());
        hostile.turn(Duration::from_millis(1));
    }
    player.until("what fits", |s| s.video.packets_received > 100).await;
    wait_until("strangers were refused", || counter(&handle, "datagrams_refused") > refused + 400).await;
    let before = player.client.stats().video.packets_received;
    for number in 0..20 {
        hostile.send_rtp(&Rtp::new(96, VIDEO, 2_000 + number, key_frame(900)));
    }
    player.until("what comes after", |s| s.video.packets_received >= before + 20).await;
    assert_goes_on(&good).await;
    assert_whole(&handle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_source_moves_neither_requests_nor_repairs() {
    let (handle, server) = (anchor(), server());
    let mut publisher = Publisher::start(&handle, &server, "n").await;
    publisher.flow().await;
    let refused = counter(&handle, "datagrams_refused");
    let mut forged = 0;
    for number in 0..40_u16 {
        for (payload_type, ssrc) in [(96, 6_000), (97, 7_000), (111, 8_000), (96, VIDEO), (97, VIDEO)] {
            let ssrc = if ssrc == VIDEO { ssrc } else { ssrc + u32::from(number) };
            let mut packet = Rtp::new(payload_type, ssrc, 30_000 + number, key_frame(300));
            for extensions in [Vec::new(), vec![(4, b"1".to_vec())], vec![(4, b"0".to_vec())]] {
                packet.extensions = extensions;
                publisher.peer.send(&packet.forged());
                forged += 1;
            }
        }
        // No more at once than a socket's buffer takes while its worker waits for a processor.
        if number % 5 == 4 {
            wait_until("all of it was refused", || counter(&handle, "datagrams_refused") >= refused + forged)
                .await;
        }
    }
    publisher.flow_again(&server, "n1").await;
    // A lost packet comes by RTX from a source that nobody announced.
    publisher.sequence += 1;
    let lost = publisher.sequence;
    publisher.send_key_frame();
    let before = publisher.sent().await;
    let again = [lost.to_be_bytes().to_vec(), key_frame(250)].concat();
    for number in [500, 501] {
        publisher.peer.send_rtp(&Rtp::new(97, REPAIR, number, again.clone()));
    }
    publisher
        .expect(|fact| match fact {
            Fact::Stats(stats) if stats.upstream.packets_sent > before => Some(()),
            _ => None,
        })
        .await;
    assert_whole(&handle);
}

impl Publisher {
    /// What was passed on when two reports are the same.
    async fn sent(&mut self) -> u64 {
        let mut last = u64::MAX;
        loop {
            let sent = self
                .expect(|f| if let Fact::Stats(s) = f { Some(s.upstream.packets_sent) } else { None })
                .await;
            if sent == last {
                return sent;
            }
            last = sent;
        }
    }

    /// A new upstream leg: key frames are asked of the true source.
    async fn flow_again(&mut self, server: &Media, name: &str) {
        self.peer.received.clear();
        self.handle.order(MediaCommand::Detach { key: self.key });
        self.epoch = Epoch(self.epoch.0 + 1);
        let (stream, epoch) = (self.key, self.epoch);
        self.handle.order(MediaCommand::Attach {
            key: stream,
            epoch,
            narrow: true,
            refuse_h264: false,
            beside: false,
        });
        self.attach_to(server, name).await;
        let asked = self.asked(3);
        assert!(asked.iter().all(|ssrc| *ssrc == VIDEO), "{asked:?}");
        self.flow().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_announcement_gives_way_to_what_packets_show() {
    let (handle, server) = (anchor(), server());
    let mut publisher = Publisher::open(&handle).await;
    let key = new_key();
    let (sender, facts) = channel(256);
    handle.order(MediaCommand::Close { key: publisher.key });
    (publisher.key, publisher.facts) = (key, facts);
    let wrong = "a=rtpmap:97 rtx/90000\r\na=ssrc-group:FID 5555 5556\r\na=ssrc:5555 cname:x\r\na=ssrc:5556 cname:x\r\n";
    handle.order(MediaCommand::Open {
        key,
        kind: Kind::Publish,
        epoch: Epoch(0),
        client_offer: publisher.peer.offer().replace("a=rtpmap:97 rtx/90000\r\n", wrong),
        refuse_h264: false,
        client: Client { local_ip: Ipv4Addr::LOCALHOST.into(), facts: sender },
    });
    publisher.attach_to(&server, "w").await;
    let sdp = publisher.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    publisher.peer.learn(&sdp);
    publisher.peer.connect();
    publisher.flow().await;
    publisher.flow_again(&server, "w1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_from_thousands_of_ports_move_nothing() {
    const PORTS: u32 = 20_000;
    let (handle, server) = (anchor(), server());
    let mut publisher = Publisher::start(&handle, &server, "n").await;
    publisher.flow().await;
    let port = publisher.peer.remote;
    let received = counter(&handle, "datagrams_received");
    for number in 0..PORTS {
        // Signed as the peer signs, as somebody who has seen one could send it again.
        let ip = Ipv4Addr::new(127, 0, 1 + (number / 5_000) as u8, 1);
        let stranger = UdpSocket::bind(SocketAddr::from((ip, 0))).unwrap();
        stranger.send_to(&publisher.peer.check(true), port).unwrap();
        if number % 500 == 0 {
            publisher.send_key_frame();
            publisher.peer.turn(Duration::from_millis(1));
            // The worker needs a processor, too.
            wait_until("most of them arrived", || {
                counter(&handle, "datagrams_received") >= received + u64::from(number / 2)
            })
            .await;
        }
    }
    wait_until("most of all arrived", || {
        counter(&handle, "datagrams_received") > received + u64::from(PORTS / 2)
    })
    .await;
    // What the anchor wants still comes to where the peer is.
    publisher.flow_again(&server, "n1").await;
    let checked = |publisher: &mut Publisher| {
        publisher.peer.answers = 0;
        let until = Instant::now() + LIMIT;
        while publisher.peer.answers == 0 {
            assert!(Instant::now() < until, "the true peer is not answered");
            publisher.peer.send(&publisher.peer.check(true));
            publisher.peer.turn(Duration::from_millis(50));
        }
    };
    checked(&mut publisher);
    assert_whole(&handle);
}
