//! What the anchor refuses, drops and gives back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Client, Fact, Kind, MediaCommand, MediaFact, MediaHandle, MediaSettings},
    session::Epoch,
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings, NetworkConditions},
};
use tokio::sync::mpsc::channel;

use media_support::{
    Anchored, anchor, assert_continuous, counter, flowing, new_key, pair, pool, server, settings, wait_until,
};

async fn refusal(handle: &MediaHandle, kind: Kind, offer: &str) -> String {
    let (sender, mut facts) = channel(4);
    handle.order(MediaCommand::Open {
        key: new_key(),
        kind,
        epoch: Epoch(0),
        client_offer: offer.to_owned(),
        refuse_h264: false,
        client: Client { local_ip: IpAddr::V4(Ipv4Addr::LOCALHOST), facts: sender },
    });
    match facts.recv().await {
        Some(MediaFact { fact: Fact::Unanchorable { reason }, .. }) => reason,
        other => panic!("{offer} was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn offers_that_cannot_be_anchored_say_why() {
    let (handle, pool) = (anchor(), pool());
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let offer = client.offer();
    let without = |text: &str| {
        offer.lines().filter(|l| !l.starts_with(text)).map(|l| format!("{l}\r\n")).collect::<String>()
    };
    for (kind, offer, reason) in [
        (Kind::Publish, String::new(), "an empty description"),
        (Kind::Publish, "v=0\r\n".to_owned(), "no media section"),
        (Kind::Play, offer.to_owned(), "no section that goes the right way"),
        (Kind::Publish, without("a=ice-pwd"), "no ICE credentials"),
        (Kind::Publish, without("a=fingerprint"), "no fingerprint"),
        (Kind::Publish, without("a=rtpmap").replace(" 0 8", ""), "no codec that we can relay"),
        (
            Kind::Publish,
            offer.replace("m=audio", "m=text").replace("m=video", "m=text"),
            "neither audio nor video",
        ),
        (Kind::Publish, format!("{offer}{}", offer.repeat(100)), "too long"),
    ] {
        let said = refusal(&handle, kind, &offer).await;
        assert!(said.contains(reason), "{said} instead of {reason}");
    }
    wait_until("an empty anchor", || counter(&handle, "streams") == 0 && handle.streams() == 0).await;
}

#[tokio::test]
async fn the_number_of_streams_is_bounded() {
    let handle = MediaHandle::start(MediaSettings { streams_max: 1, ..settings() }).unwrap();
    let (pool, server) = (pool(), server());
    let first =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    assert!(refusal(&handle, Kind::Publish, client.offer()).await.contains("as many streams as allowed"));
    first.order(MediaCommand::Close { key: first.key });
    wait_until("room", || handle.streams() == 0).await;
    Anchored::start(&handle, &pool, &server, "m", ClientOptions::publish(), AnswerOptions::default()).await;
}

#[tokio::test]
async fn the_bitrate_of_a_stream_is_bounded() {
    let handle = MediaHandle::start(MediaSettings { bitrate_max: 200_000, ..settings() }).unwrap();
    let (pool, server) = (pool(), server());
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    let dropped = publisher
        .expect(|fact| match fact {
            Fact::Stats(stats) if stats.dropped > 20 => Some(stats),
            _ => None,
        })
        .await;
    assert!(dropped.upstream.packets_sent < dropped.client.packets_received, "{dropped:?}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let holder =
        UdpSocket::bind(taken).unwrap_or_else(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let listen = holder.local_addr().unwrap();
    let error = MediaHandle::start(MediaSettings { listen, ..settings() }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    let not_ours = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let error = MediaHandle::start(MediaSettings { listen: not_ours, ..settings() }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn strangers_on_the_port_change_nothing() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut player = Anchored::open(&handle, &pool, "n", ClientOptions::play()).await;
    let _publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    player.attach_to(&server, AnswerOptions::default()).await;
    let sdp = player.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    player.client.apply_answer(&sdp).await.unwrap();
    player.until("media", flowing).await;

    let ufrag = sdp.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:")).unwrap();
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = SocketAddr::from((Ipv4Addr::LOCALHOST, handle.addresses()[0].port()));
    let foreign = counter(&handle, "datagrams_foreign");
    let mut sent = 0;
    for round in 0..200_u32 {
        // A check with the right name and no idea of the password, then everything else.
        let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        check.extend(round.to_be_bytes().repeat(3));
        let name = format!("{ufrag}:xxxx");
        check.extend([0, 6, 0, name.len() as u8]);
        check.extend(name.as_bytes());
        check.resize(check.len().next_multiple_of(4), 0);
        check.extend([0, 0x24, 0, 4, 1, 2, 3, 4, 0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 8, 0, 20]);
        check.extend([7; 20]);
        let length = (check.len() - 20) as u16;
        check[2..4].copy_from_slice(&length.to_be_bytes());
        let rtp = [vec![0x80, 96, 0, round as u8], vec![0; 8], vec![9; 100]].concat();
        let dtls = [vec![22, 254, 253], vec![round as u8; 40]].concat();
        for bytes in [check, rtp, dtls, vec![round as u8; 1 + round as usize]] {
            sent += u64::from(stranger.send_to(&bytes, port).is_ok());
        }
        // No more at once than a socket's buffer takes while its worker waits for a processor.
        if round % 20 == 19 {
            wait_until("all strangers were turned away", || {
                counter(&handle, "datagrams_foreign") >= foreign + sent
            })
            .await;
        }
    }
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 2000]).is_err(), "nothing is sent to who did not prove the password");
    let before = player.client.stats().video.packets_received;
    let stats = player.until("media goes on", |s| s.video.packets_received > before + 60).await;
    assert_eq!(stats.video.missing, 0, "{stats:?}");
}

#[tokio::test]
async fn loss_and_jitter_are_repaired_on_each_leg() {
    let conditions = NetworkConditions { loss_percent: 3.0, jitter_ms: 20, silent: false };
    let server =
        Media::start(ServerSettings { network: conditions, seed: 11, ..ServerSettings::default() }).unwrap();
    let (handle, pool) = (anchor(), pool());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    let stats = player.until("a good deal of media", |s| s.video.packets_received > 600).await;
    let missing = stats.video.missing as f64 / stats.video.packets_received as f64;
    // Two lossy legs lose 6 % if nothing is sent again.
    assert!(missing < 0.03, "{stats:#?}");
    assert_continuous(&stats, "loss");
}

#[tokio::test]
async fn closed_streams_give_everything_back() {
    let (handle, pool, server) = (anchor(), pool(), server());
    for round in 0..3 {
        let name = round.to_string();
        let (publisher, player) = pair(&handle, &pool, &server, &name, &AnswerOptions::default()).await;
        publisher.order(MediaCommand::Close { key: publisher.key });
        // A session that is simply gone: nobody listens to the facts any more.
        drop(player);
        wait_until("an empty anchor", || {
            handle.streams() == 0 && counter(&handle, "upstream_addresses") == 0
        })
        .await;
    }
    assert_eq!(counter(&handle, "streams_opened"), 6);
}
