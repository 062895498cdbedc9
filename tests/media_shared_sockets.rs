//! The upstream legs of a worker share a socket: a stream costs no descriptor, and nothing that
//! the server does with its addresses confuses one leg with another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::{collections::HashSet, net::Ipv4Addr, path::PathBuf, sync::Arc};

use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool},
    media::{Client, Fact, Kind, MediaCommand, MediaFact, MediaHandle, MediaSettings},
    session::Epoch,
    simulator::media::{AnswerOptions, AnswerShape, DtlsRole, Media, MediaSettings as ServerSettings},
};
use tokio::sync::{Mutex, mpsc::channel};

use media_support::{
    Anchored, anchor, assert_continuous, counter, flowing, flows_again, front::Front, new_key, pool, server,
    settings, wait_until,
};

/// Descriptors are counted per process: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

const EXTRA: &str = "upstream_sockets";

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Each of them and what it stands for.
fn open() -> HashSet<(PathBuf, PathBuf)> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    // The directory that was read is closed by now.
    all.filter_map(|path| std::fs::read_link(&path).ok().map(|target| (path, target)))
        .filter(|(_, target)| !target.starts_with("/proc"))
        .collect()
}

/// Their number when the servers and clients of the test before have closed theirs.
async fn settled() -> usize {
    let (mut count, mut since) = (descriptors(), std::time::Instant::now());
    while since.elapsed() < std::time::Duration::from_millis(500) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if descriptors() != count {
            (count, since) = (descriptors(), std::time::Instant::now());
        }
    }
    count
}

/// An answer that takes what is offered, at this address.
fn accept(offer: &str, candidate: &str) -> String {
    offer
        .replace("a=sendonly", "a=recvonly")
        .replace("a=setup:actpass", "a=setup:passive")
        .replace("a=mid:", &format!("a=candidate:1 1 {candidate}\r\na=mid:"))
}

/// A stream at a server that never says a word, and why it has no leg.
async fn open_silent(
    handle: &MediaHandle,
    offer: &str,
    candidate: &str,
) -> (tokio::sync::mpsc::Receiver<MediaFact>, Option<String>) {
    let (sender, mut facts) = channel(16);
    let stream = new_key();
    handle.order(MediaCommand::Open {
        key: stream,
        kind: Kind::Publish,
        epoch: Epoch(0),
        client_offer: offer.to_owned(),
        refuse_h264: false,
        client: Client { local_ip: Ipv4Addr::LOCALHOST.into(), facts: sender },
    });
    loop {
        match facts.recv().await.unwrap().fact {
            Fact::UpstreamOffer { sdp, .. } => {
                let sdp = accept(&sdp, candidate);
                handle.order(MediaCommand::UpstreamAnswer { key: stream, epoch: Epoch(0), sdp });
            }
            Fact::ClientAnswer { .. } => return (facts, None),
            Fact::OutOfSockets { reason, .. } => return (facts, Some(reason)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_costs_no_descriptor() {
    let _alone = ALONE.lock().await;
    let (handle, pool) = (anchor(), pool());
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let before = settled().await;
    let mut streams = Vec::new();
    for port in 1..=100 {
        let candidate = format!("udp 2130706431 127.77.0.1 {port} typ host");
        streams.push(open_silent(&handle, client.offer(), &candidate).await);
    }
    assert_eq!(handle.streams(), 100);
    let more = descriptors().saturating_sub(before);
    assert!(more <= 4, "{more} descriptors for 100 streams");
    assert_eq!(counter(&handle, EXTRA), 0);
    drop(streams);
    wait_until("an empty anchor", || handle.streams() == 0 && counter(&handle, "upstream_addresses") == 0)
        .await;
}

#[tokio::test]
async fn what_the_workers_take_at_rest_is_what_they_say() {
    let _alone = ALONE.lock().await;
    let settings = MediaSettings { workers: 3, ..settings() };
    let said = settings.descriptors();
    let before = open();
    let _handle = MediaHandle::start(settings).unwrap();
    // Those of the test before may still be about to close.
    let new = open().into_iter().filter(|one| !before.contains(one)).count();
    assert_eq!(new, said.fixed);
}

#[tokio::test]
async fn a_socket_too_many_fails_its_stream_and_no_other() {
    let _alone = ALONE.lock().await;
    let handle = MediaHandle::start(MediaSettings { upstream_sockets_max: 2, ..settings() }).unwrap();
    let pool = pool();
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let one_port = "udp 2130706431 127.77.0.1 9 typ host";
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(open_silent(&handle, client.offer(), one_port).await);
    }
    let told: Vec<bool> = streams.iter().map(|(_, reason)| reason.is_some()).collect();
    assert_eq!(told, [false, false, false, true], "one shares, two have their own: {streams:?}");
    wait_until("the third further socket is refused", || counter(&handle, EXTRA) == 2).await;
    assert_eq!(handle.streams(), 4);
    let other = open_silent(&handle, client.offer(), "udp 2130706431 127.77.0.1 10 typ host").await;
    assert!(other.1.is_none() && counter(&handle, EXTRA) == 2, "what can share needs none");
    // In TCP there is nothing to share.
    let tcp = "tcp 2130706431 127.0.0.1 9 typ host tcptype passive";
    let (connecting, reason) = open_silent(&handle, client.offer(), tcp).await;
    assert!(reason.is_some_and(|r| r.contains("descriptor")));
    drop((streams, other, connecting));
    wait_until("an empty anchor", || handle.streams() == 0 && counter(&handle, EXTRA) == 0).await;
}

/// Publisher and player, through a change of the answer.
async fn pair_through(
    (handle, pool): (&MediaHandle, &ClientPool),
    server: &Media,
    name: &str,
    answer: &AnswerOptions,
    change: impl Fn(&str) -> String + Copy,
) -> [Anchored; 2] {
    let start =
        |options| Anchored::start_through(handle, pool, server, name, options, answer.clone(), change);
    let mut publisher = start(ClientOptions::publish()).await;
    assert!(publisher.proof().await, "a key frame went up");
    let mut player = start(ClientOptions::play()).await;
    assert!(player.proof().await, "a key frame came down");
    [publisher, player]
}

/// Restarts under pairs of streams: the media of all of them comes back.
async fn survives(shape: AnswerShape, role: DtlsRole, front: Option<&Front>) -> MediaHandle {
    let change = |sdp: &str| front.map_or_else(|| sdp.to_owned(), |front| front.answer(sdp));
    let (handle, pool) = (anchor(), pool());
    let start = |seed| {
        let settings = ServerSettings { randomise: true, seed, dtls_role: role, ..ServerSettings::default() };
        Media::start(settings).unwrap()
    };
    let (mut server, answer) = (start(0), AnswerOptions::shape(shape));
    let mut pairs = Vec::new();
    for name in ["one", "two", "three"] {
        pairs.push(pair_through((&handle, &pool), &server, name, &answer, change).await);
    }
    for [_, player] in &pairs {
        player.until("media", flowing).await;
    }
    for seed in 1..=2 {
        drop(server);
        server = start(seed);
        let before: Vec<_> = pairs.iter().map(|[_, player]| player.client.stats()).collect();
        for anchored in pairs.iter_mut().flatten() {
            anchored.restore_through(&server, answer.clone(), change).await;
        }
        for anchored in pairs.iter_mut().flatten() {
            assert!(anchored.proof().await);
        }
        for ([_, player], before) in pairs.iter().zip(&before) {
            let after = player.until("media after the restart", flows_again(before, 60)).await;
            assert_continuous(&after, &format!("{shape:?} {role:?}"));
            assert_eq!(after.video.missing, 0, "nothing of another stream: {after:#?}");
        }
    }
    handle
}

#[tokio::test]
async fn legs_with_a_port_each_share_one_socket_in_every_shape_of_answer() {
    let _alone = ALONE.lock().await;
    let cases = [
        (AnswerShape::A, DtlsRole::ByShape),
        (AnswerShape::B, DtlsRole::ByShape),
        (AnswerShape::E, DtlsRole::Passive),
        (AnswerShape::G, DtlsRole::ByShape),
    ];
    for (shape, role) in cases {
        let handle = survives(shape, role, None).await;
        // A new server may have got a port that an old one left a moment ago.
        assert!(counter(&handle, EXTRA) <= 1, "{shape:?}");
    }
}

#[tokio::test]
async fn legs_at_one_address_are_kept_apart_by_sockets_of_their_own() {
    let _alone = ALONE.lock().await;
    // Bundled; two sections at one address; an ICE-lite server that starts the handshake.
    for shape in [AnswerShape::A, AnswerShape::B, AnswerShape::E] {
        let front = Front::start().await;
        let handle = survives(shape, DtlsRole::ByShape, Some(&front)).await;
        let legs = if shape == AnswerShape::B { 12 } else { 6 };
        // What was shared before a restart rests for a while: one more than without.
        let extra = counter(&handle, EXTRA);
        assert!((legs - 1..=legs).contains(&extra), "{shape:?}: {extra} for {legs}");
        assert!(!front.is_reused(), "{shape:?}: an old and a new leg between the same addresses");
    }
}

#[tokio::test]
async fn an_upstream_may_show_another_address_by_a_check() {
    let _alone = ALONE.lock().await;
    let (handle, pool, server) = (anchor(), pool(), server());
    // Two servers whose packets come from one address that no answer names.
    let back = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let fronts = [Front::that_answers_from(back.clone()).await, Front::that_answers_from(back.clone()).await];
    let mut publishers = Vec::new();
    for (name, front) in ["one", "two"].into_iter().zip(&fronts) {
        let change = |sdp: &str| front.answer(sdp);
        let publisher = Anchored::start_through(
            &handle,
            &pool,
            &server,
            name,
            ClientOptions::publish(),
            AnswerOptions::default(),
            change,
        )
        .await;
        publishers.push(publisher);
    }
    wait_until("both addresses are known", || counter(&handle, "upstream_addresses") == 4).await;
    assert_eq!(counter(&handle, EXTRA), 1, "two legs with one address");
}
