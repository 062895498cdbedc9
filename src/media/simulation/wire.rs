//! What is on the wire of the simulation: headers as RTP, RTCP, DTLS and STUN have them, so that our
//! own code tells them apart, and a seal in place of cryptography: a packet is authentic if it was
//! sealed with the key that its receiver expects. Keys are numbers, and each engine and peer has its own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use is::stun::{StunMessage, TransId};
use str0m::crypto::CryptoProvider;

use crate::media::sdp::Credentials;

const HEADER: usize = 12;
const SEAL: usize = 8;

/// A packet of media.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rtp {
    pub(super) payload_type: u8,
    pub(super) marker: bool,
    /// Extended.
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Of whoever sealed it.
    pub(super) key: u64,
    pub(super) payload: Vec<u8>,
}

fn seal(secret: u64, bytes: &[u8]) -> [u8; SEAL] {
    let mut hasher = DefaultHasher::new();
    (secret, bytes).hash(&mut hasher);
    hasher.finish().to_be_bytes()
}

fn sealed(secret: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    let seal = seal(secret, &bytes);
    bytes.extend(seal);
    bytes
}

/// What is before the seal, if that is right.
fn unsealed(secret: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (before, found) = bytes.split_last_chunk::<SEAL>()?;
    (*found == seal(secret, before)).then_some(before)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
}

impl Rtp {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0x80, self.payload_type | u8::from(self.marker) << 7];
        bytes.extend((self.sequence as u16).to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(self.key.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(&self.payload);
        sealed(self.key, bytes)
    }

    /// None: not sealed by the key that it names.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let key = number(bytes, HEADER)?;
        let bytes = unsealed(key, bytes)?;
        Some(Self {
            payload_type: bytes[1] & 0x7f,
            marker: bytes[1] & 0x80 != 0,
            sequence: number(bytes, HEADER + 8)?,
            timestamp: half(bytes, 4)?,
            ssrc: half(bytes, 8)?,
            key,
            payload: bytes.get(HEADER + 16..)?.to_vec(),
        })
    }
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    KeyFrame {
        ssrc: u32,
    },
    Again {
        ssrc: u32,
        lost: u16,
    },
    /// For nothing: it is a report.
    Nothing,
}

/// The first bytes of RTCP feedback.
const FEEDBACK: [u8; 2] = [0x81, 206];

impl Feedback {
    pub(super) fn encode(self, key: u64) -> Vec<u8> {
        let (kind, ssrc, lost) = match self {
            Self::KeyFrame { ssrc } => (0, ssrc, 0),
            Self::Again { ssrc, lost } => (1, ssrc, lost),
            Self::Nothing => (2, 0, 0),
        };
        let mut bytes = [FEEDBACK.as_slice(), &[kind, 0], &key.to_be_bytes(), &ssrc.to_be_bytes()].concat();
        bytes.extend(lost.to_be_bytes());
        sealed(key, bytes)
    }

    /// With the key that sealed it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let key = number(bytes, 4)?;
        let bytes = unsealed(key, bytes)?;
        let ssrc = half(bytes, 12)?;
        let lost = u16::from_be_bytes(bytes.get(16..18)?.try_into().ok()?);
        let feedback = match bytes[2] {
            0 => Self::KeyFrame { ssrc },
            1 => Self::Again { ssrc, lost },
            _ => Self::Nothing,
        };
        Some((feedback, key))
    }
}

/// The first byte of a handshake, and of its end.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

fn secret(password: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    password.hash(&mut hasher);
    hasher.finish()
}

/// Tells a peer by which key we seal. Whoever does not know the password cannot say it.
pub(super) fn hello(key: u64, password: &str) -> Vec<u8> {
    sealed(secret(password), [[HANDSHAKE].as_slice(), &key.to_be_bytes()].concat())
}

/// The key of a peer that knows our password.
pub(super) fn heard(bytes: &[u8], password: &str) -> Option<u64> {
    let bytes = unsealed(secret(password), bytes).filter(|bytes| bytes[0] == HANDSHAKE)?;
    number(bytes, 1)
}

/// The end of what a key sealed.
pub(super) fn goodbye(key: u64) -> Vec<u8> {
    sealed(key, [[ALERT].as_slice(), &key.to_be_bytes()].concat())
}

/// Whose end it is.
pub(super) fn ended(bytes: &[u8]) -> Option<u64> {
    let key = number(bytes, 1)?;
    unsealed(key, bytes).filter(|bytes| bytes[0] == ALERT).map(|_| key)
}

/// A connectivity check of `ours` at `theirs`, signed as it is on the internet.
pub(super) fn check(
    ours: &Credentials,
    theirs: &Credentials,
    nominates: bool,
    crypto: &CryptoProvider,
) -> Vec<u8> {
    let names = format!("{}:{}", theirs.ufrag, ours.ufrag);
    let message = StunMessage::binding_request(&names, TransId::new(), true, 7, 1, nominates);
    signed(&message, &theirs.password, crypto)
}

fn signed(message: &StunMessage<'_>, password: &str, crypto: &CryptoProvider) -> Vec<u8> {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let mut bytes = vec![0; 600];
    let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).unwrap();
    bytes.truncate(length);
    bytes
}

/// What a message of STUN is to an agent with these credentials.
#[derive(Debug)]
pub(super) enum Checked {
    /// A check; send this back.
    Check { answer: Vec<u8> },
    /// An answer to a check.
    Answer,
}

/// None: it is not for this agent, or not signed as it has to be.
pub(super) fn checked(
    bytes: &[u8],
    from: std::net::SocketAddr,
    ours: &Credentials,
    theirs: &Credentials,
    crypto: &CryptoProvider,
) -> Option<Checked> {
    let hmac = |key: &[u8], parts: &[&[u8]]| crypto.sha1_hmac_provider.sha1_hmac(key, parts);
    let message = StunMessage::parse(bytes).ok()?;
    if message.is_binding_request() {
        let names = (ours.ufrag.as_str(), theirs.ufrag.as_str());
        if message.split_username()? != names || !message.verify(ours.password.as_bytes(), hmac) {
            return None;
        }
        let reply = StunMessage::binding_reply(message.trans_id(), from);
        return Some(Checked::Check { answer: signed(&reply, &ours.password, crypto) });
    }
    let signed = message.is_successful_binding_response() && message.verify(theirs.password.as_bytes(), hmac);
    signed.then_some(Checked::Answer)
}
