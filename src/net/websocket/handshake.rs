//! The two keys of the opening handshake (RFC 6455, 1.3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server answers to this `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// A fresh `Sec-WebSocket-Key`.
#[must_use]
pub fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}
