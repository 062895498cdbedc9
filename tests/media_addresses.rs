//! Where media goes: IPv6 and IPv4, the addresses that an operator advertises, and what an upstream's
//! answer says about where it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool, PoolSettings},
    media::{Fact, MediaHandle, MediaSettings},
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings},
};

use media_support::{Anchored, LIMIT, assert_continuous, flowing, flows_again, pool, server, settings};

const LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Address and transport of each candidate of the first section, in order.
fn candidates(sdp: &str) -> Vec<(String, String)> {
    let section = sdp.split("\r\nm=").nth(1).unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2].to_owned(), words[4].to_owned())
        })
        .collect()
}

fn v6_server(seed: u64) -> Media {
    let settings = ServerSettings { bind_ip: LOOPBACK, randomise: true, seed, ..ServerSettings::default() };
    Media::start(settings).unwrap()
}

async fn client_answer(anchored: &mut Anchored) -> String {
    anchored.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await
}

#[tokio::test]
async fn media_flows_over_ipv6_and_through_a_restart() {
    for listen in [SocketAddr::new(LOOPBACK, 0), SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)] {
        let handle = MediaHandle::start(MediaSettings { listen, ..settings() }).unwrap();
        let pool = ClientPool::start(PoolSettings { bind_ip: LOOPBACK, ..PoolSettings::default() }).unwrap();
        let server = v6_server(0);
        let mut pair = Vec::new();
        for options in [ClientOptions::publish(), ClientOptions::play()] {
            let mut anchored = Anchored::open_at(&handle, &pool, "n", options, LOOPBACK).await;
            anchored.attach_to(&server, AnswerOptions::default()).await;
            let sdp = client_answer(&mut anchored).await;
            assert!(candidates(&sdp).iter().all(|(_, ip)| ip == "::1"), "{sdp}");
            assert!(sdp.contains("c=IN IP6 ::1\r\n"), "{sdp}");
            anchored.client.apply_answer(&sdp).await.unwrap();
            assert!(anchored.proof().await);
            pair.push(anchored);
        }
        pair[1].until("media", flowing).await;
        drop(server);
        let server = v6_server(1);
        let before = pair[1].client.stats();
        for anchored in &mut pair {
            anchored.restore(&server, AnswerOptions::default()).await;
        }
        for anchored in &mut pair {
            assert!(anchored.proof().await);
        }
        let after = pair[1].until("media after the restart", flows_again(&before, 60)).await;
        assert_continuous(&after, &format!("IPv6 at {listen}"));
    }
}

#[tokio::test]
async fn a_server_on_the_other_family_is_no_matter() {
    let (handle, pool, server) = (MediaHandle::start(settings()).unwrap(), pool(), v6_server(0));
    let options = ClientOptions::publish();
    let mut publisher =
        Anchored::start(&handle, &pool, &server, "n", options, AnswerOptions::default()).await;
    assert!(publisher.proof().await, "from a client on IPv4 to a server on IPv6");
}

#[tokio::test]
async fn clients_are_given_the_advertised_addresses_and_no_other() {
    let advertise: Vec<IpAddr> =
        ["203.0.113.7", "127.0.0.1", "2001:db8::7"].iter().map(|ip| ip.parse().unwrap()).collect();
    let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let settings = MediaSettings { listen, advertise: advertise.clone(), ..settings() };
    let handle = MediaHandle::start(settings).unwrap();
    let server = server();
    let mut publisher = Anchored::open(&handle, &pool(), "n", ClientOptions::publish()).await;
    publisher.attach_to(&server, AnswerOptions::default()).await;
    let sdp = client_answer(&mut publisher).await;
    let expected: Vec<(String, String)> = ["udp", "tcp"]
        .iter()
        .flat_map(|transport| advertise.iter().map(|ip| ((*transport).to_owned(), ip.to_string())))
        .collect();
    assert_eq!(candidates(&sdp), expected, "{sdp}");
    let port = handle.addresses()[0].port();
    let ports = sdp.lines().filter(|l| l.starts_with("a=candidate:")).map(|l| l.split(' ').nth(5).unwrap());
    assert!(ports.into_iter().all(|p| p == port.to_string()), "{sdp}");
    // One of them is where we are: a client finds it.
    publisher.client.apply_answer(&sdp).await.unwrap();
    publisher.until("media goes up", |s| s.connected && s.video.packets_sent > 60).await;
    assert!(tokio::time::timeout(LIMIT, publisher.proof()).await.unwrap());
}

#[tokio::test]
async fn clients_are_given_the_address_where_media_is_listened_for_wherever_their_signaling_arrives() {
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let handle = MediaHandle::start(MediaSettings { listen, ..settings() }).unwrap();
    let (server, elsewhere) = (server(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    let options = ClientOptions::publish();
    let mut publisher = Anchored::open_at(&handle, &pool(), "n", options, elsewhere).await;
    publisher.attach_to(&server, AnswerOptions::default()).await;
    let sdp = client_answer(&mut publisher).await;
    assert!(candidates(&sdp).iter().all(|(_, ip)| ip == "127.0.0.1"), "{sdp}");
    publisher.client.apply_answer(&sdp).await.unwrap();
    publisher.until("media goes up", |s| s.connected && s.video.packets_sent > 60).await;
}

/// Puts candidates before those of an answer, or in their place.
fn with_candidates(sdp: &str, change: impl Fn(&str) -> String) -> String {
    let line = |line: &str| match line.strip_prefix("a=candidate:") {
        Some(_) => change(line),
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

/// Somebody who never says a word.
fn silent(ip: IpAddr) -> (std::net::UdpSocket, String) {
    let socket = std::net::UdpSocket::bind((ip, 0)).unwrap();
    let line =
        format!("a=candidate:9 1 udp 2130706431 {ip} {} typ host", socket.local_addr().unwrap().port());
    (socket, line)
}

#[tokio::test]
async fn candidates_of_the_other_family_come_first_and_lead_nowhere() {
    let handle = MediaHandle::start(settings()).unwrap();
    for (server, elsewhere) in [
        (server(), LOOPBACK),
        (v6_server(0), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        // Of the same family, too.
        (self::server(), IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ] {
        let dead: Vec<_> = (0..3).map(|_| silent(elsewhere)).collect();
        let change = |line: &str| {
            // An address without a route is no reason to give up either.
            let unroutable = "a=candidate:9 1 udp 2130706431 fe80::1 9 typ host";
            let lines: Vec<&str> = dead.iter().map(|(_, l)| l.as_str()).chain([unroutable, line]).collect();
            lines.join("\r\n") + "\r\n"
        };
        let mut publisher = Anchored::start_through(
            &handle,
            &pool(),
            &server,
            "n",
            ClientOptions::publish(),
            AnswerOptions::default(),
            |sdp| with_candidates(sdp, change),
        )
        .await;
        assert!(publisher.proof().await, "with {elsewhere} first");
    }
}

#[tokio::test]
async fn names_are_looked_up_and_those_of_multicast_dns_passed_over() {
    let handle = MediaHandle::start(settings()).unwrap();
    let server = server();
    let tcp = AnswerOptions { transport_tcp: true, ..AnswerOptions::default() };
    for answer in [AnswerOptions::default(), tcp] {
        let change = |line: &str| {
            let with = |host: &str| line.replace(" 127.0.0.1 ", &format!(" {host} "));
            format!("{}\r\n{}\r\n", with("3f2b9a.local"), with("localhost"))
        };
        let mut publisher = Anchored::start_through(
            &handle,
            &pool(),
            &server,
            if answer.transport_tcp { "tcp" } else { "udp" },
            ClientOptions::publish(),
            answer,
            |sdp| with_candidates(sdp, change),
        )
        .await;
        assert!(publisher.proof().await, "a key frame went up");
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told() {
    let handle = MediaHandle::start(settings()).unwrap();
    let server = server();
    // No name server is asked for a label of this length.
    let nowhere = format!(" {}.example ", "n".repeat(64));
    let mut publisher = Anchored::open(&handle, &pool(), "n", ClientOptions::publish()).await;
    let change = |line: &str| line.replace(" 127.0.0.1 ", &nowhere) + "\r\n";
    publisher.attach_changed(&server, AnswerOptions::default(), |sdp| with_candidates(sdp, change)).await;
    let reason = publisher
        .expect(|f| if let Fact::UpstreamFailed { reason, .. } = f { Some(reason) } else { None })
        .await;
    assert!(reason.contains("no name among the candidates"), "{reason}");
}
