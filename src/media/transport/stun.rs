//! Connectivity checks of clients, verified and answered.

use is::stun::StunMessage;
use str0m::crypto::CryptoProvider;

use crate::media::{routes::Origin, sdp::Credentials};

/// Room for an answer: header, address, integrity and fingerprint are 100 bytes at most.
const ANSWER_BYTES: usize = 128;

/// What a check that is signed with our credentials asks for.
#[derive(Debug)]
pub(super) struct Check {
    /// The client selects the address that it came from.
    pub(super) nominates: bool,
    /// What to send back there.
    pub(super) answer: Vec<u8>,
}

/// Reads a check that is addressed to `ours` and comes from the peer with the fragment `theirs`.
/// None: it is none, or not signed with our password.
pub(super) fn verify(
    bytes: &[u8],
    from: Origin,
    ours: &Credentials,
    theirs: &str,
    crypto: &CryptoProvider,
) -> Option<Check> {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let check = StunMessage::parse(bytes).ok().filter(StunMessage::is_binding_request)?;
    let names = check.split_username()?;
    let password = ours.password.as_bytes();
    if names != (ours.ufrag.as_str(), theirs) || check.prio().is_none() || !check.verify(password, hmac) {
        return None;
    }
    let mut answer = vec![0; ANSWER_BYTES];
    let reply = StunMessage::binding_reply(check.trans_id(), from.address);
    let length = reply.to_bytes(Some(password), &mut answer, hmac).ok()?;
    answer.truncate(length);
    Some(Check { nominates: check.use_candidate(), answer })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use is::stun::TransId;

    use super::*;

    const OURS: &str = "ours";
    const THEIRS: &str = "their";

    fn credentials(password: &str) -> Credentials {
        Credentials { ufrag: OURS.to_owned(), password: password.to_owned() }
    }

    fn check(password: &str, names: &str, nominates: bool) -> Vec<u8> {
        let crypto = crate::media::authentic::provider();
        let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let message = StunMessage::binding_request(names, TransId::new(), true, 7, 1, nominates);
        let mut bytes = vec![0; 600];
        let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).unwrap();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn only_checks_signed_with_our_password_are_answered() {
        let crypto = crate::media::authentic::provider();
        let from = Origin::udp(SocketAddr::from((Ipv6Addr::LOCALHOST, 4711)));
        let verified =
            |bytes: &[u8]| verify(bytes, from, &credentials("a password of 24 chars.."), THEIRS, &crypto);
        let good = check("a password of 24 chars..", "ours:their", true);
        let found = verified(&good).unwrap();
        assert!(found.nominates);
        let answer = StunMessage::parse(&found.answer).unwrap();
        assert!(answer.is_successful_binding_response());
        assert_eq!(answer.mapped_address(), Some(from.address));
        assert!(!verified(&check("a password of 24 chars..", "ours:their", false)).unwrap().nominates);
        assert!(verified(&check("another password", "ours:their", true)).is_none());
        assert!(verified(&check("a password of 24 chars..", "ours:nobody", true)).is_none());
        assert!(verified(&check("a password of 24 chars..", "other:their", true)).is_none());
        assert!(verified(&found.answer).is_none(), "an answer is no check");
        for length in 0..good.len() {
            assert!(verified(&good[..length]).is_none());
        }
    }
}
