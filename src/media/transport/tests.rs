//! What a peer can make of a transport.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;

use is::stun::{StunMessage, TransId};

use super::*;
use crate::media::{
    certificate::Identity,
    sdp::{Credentials, Fingerprint},
};

const PASSWORD: &str = "a password of 24 chars..";

fn credentials(ufrag: &str) -> Credentials {
    Credentials { ufrag: ufrag.to_owned(), password: PASSWORD.to_owned() }
}

fn transport(
    identity: &Identity,
    theirs: &Credentials,
    ice_lite: bool,
    now: Instant,
) -> Result<Transport, TransportError> {
    let spec = TransportSpec {
        ice_lite,
        local: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 20_900))],
        local_tcp: None,
        dialed: Vec::new(),
        local_credentials: &credentials("ours"),
        remote_credentials: theirs,
        remote_fingerprints: &[Fingerprint::parse(&identity.fingerprint).unwrap()],
        dtls_active: false,
        remote_candidates: Vec::new(),
        media: Vec::new(),
        rtx_packets: 1,
        stats_interval: None,
        limits: PeerLimits { addresses_max: 8, checks_per_second: 100 },
    };
    Transport::new(&spec, &mut identity.clone(), now)
}

fn check(identity: &Identity) -> Vec<u8> {
    let hmac = |key: &[u8], parts: &[&[u8]]| identity.provider.sha1_hmac_provider.sha1_hmac(key, parts);
    let mut bytes = vec![0; 600];
    let message = StunMessage::binding_request("ours:their", TransId::new(), true, 7, 1, true);
    let length = message.to_bytes(Some(PASSWORD.as_bytes()), &mut bytes, hmac).unwrap();
    bytes.truncate(length);
    bytes
}

fn stranger(number: u32) -> Origin {
    let ip = Ipv4Addr::from(0x7f00_0001 + number / 60_000);
    Origin::udp(SocketAddr::from((ip, (1_024 + number % 60_000) as u16)))
}

#[test]
fn checks_from_sixty_thousand_sources_cost_nothing_lasting() {
    const AT_ONCE: u32 = 100;
    let identity = Identity::generate().unwrap();
    let start = Instant::now();
    let [mut old, mut young] =
        [(); 2].map(|()| transport(&identity, &credentials("their"), true, start).unwrap());
    let bytes = check(&identity);
    let checks = |transport: &mut Transport, round: u32| {
        let begun = Instant::now();
        for number in round * AT_ONCE..(round + 1) * AT_ONCE {
            // Slowly enough that each is looked at.
            let now = start + Duration::from_millis(11) * number;
            let from = (stranger(number), None);
            let checked = transport.check(&credentials("ours"), from, &bytes, &identity.provider, now);
            assert!(checked.unwrap().is_some(), "{number} is answered");
            transport.drive(now, &mut |_, _| {}, &mut Vec::new(), 0);
        }
        begun.elapsed()
    };
    for round in 0..550 {
        checks(&mut old, round);
    }
    // In turns, and the least of many: what else runs here slows both down, and only adds.
    let (mut first, mut last) = (Duration::MAX, Duration::MAX);
    for round in 0..50 {
        first = first.min(checks(&mut young, round));
        last = last.min(checks(&mut old, 550 + round));
    }
    assert_eq!(old.addresses().count(), 8);
    assert!(last < first * 2, "{AT_ONCE} checks took {first:?} and later {last:?}");
}

#[test]
fn checks_are_bounded_per_second_before_they_are_verified() {
    let identity = Identity::generate().unwrap();
    let now = Instant::now();
    let mut transport = transport(&identity, &credentials("their"), true, now).unwrap();
    let forged = b"not signed by anybody with the password....".repeat(2);
    let ours = credentials("ours");
    let answered = |transport: &mut Transport, from, bytes: &[u8]| {
        transport.check(&ours, (from, None), bytes, &identity.provider, now).unwrap().is_some()
    };
    assert!(answered(&mut transport, stranger(0), &check(&identity)));
    for number in 1..1_000 {
        assert!(!answered(&mut transport, stranger(number), &forged));
    }
    assert!(!answered(&mut transport, stranger(1_000), &check(&identity)), "one too many of strangers");
    assert!(answered(&mut transport, stranger(0), &check(&identity)), "the known one is not touched");
    assert_eq!(transport.addresses().count(), 1);
}

#[test]
fn a_name_that_no_request_can_carry_is_refused_where_requests_are_made() {
    let identity = Identity::generate().unwrap();
    let now = Instant::now();
    for (length, is_taken) in [(1, true), (UFRAG_BYTES_MAX, true), (UFRAG_BYTES_MAX + 1, false), (256, false)]
    {
        let theirs = credentials(&"x".repeat(length));
        assert_eq!(transport(&identity, &theirs, false, now).is_ok(), is_taken, "{length}");
        assert!(transport(&identity, &theirs, true, now).is_ok(), "we make no requests to clients");
    }
}
