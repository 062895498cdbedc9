//! Addresses of clients in the log: whole, or cut so far that they name a network and nobody in it.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

/// What is left of an address: a /24 of IPv4, a /48 of IPv6.
const IPV4_MASK: u32 = u32::MAX << 8;
const IPV6_MASK: u128 = u128::MAX << 80;

/// Whether they are cut.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// From now on they are cut, or not.
pub(super) fn set(is_on: bool) {
    IS_ON.store(is_on, Ordering::Relaxed);
}

/// The address of a client, as it may be shown.
pub(crate) fn shown(client: IpAddr) -> IpAddr {
    if IS_ON.load(Ordering::Relaxed) { cut(client) } else { client }
}

/// A text about a client, as it may be shown.
pub(crate) fn text(text: &dyn fmt::Display) -> String {
    let text = text.to_string();
    if IS_ON.load(Ordering::Relaxed) { cut_all(&text).into_owned() } else { text }
}

/// The network of an address.
pub(crate) fn cut(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & IPV4_MASK).into(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => Ipv4Addr::from_bits(mapped.to_bits() & IPV4_MASK).to_ipv6_mapped().into(),
            None => Ipv6Addr::from_bits(address.to_bits() & IPV6_MASK).into(),
        },
    }
}

/// Each word that is an address, with a port (which goes) or without.
fn cut_all(text: &str) -> Cow<'_, str> {
    let is_of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']' | '%');
    let mut cut_text = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_address(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A full stop or a colon behind an address belongs to the sentence.
        let bare = word.trim_end_matches(['.', ':']);
        let bare = if word.ends_with("::") { word } else { bare };
        cut_text.push_str(&cut_word(bare));
        cut_text.push_str(word.get(bare.len()..).unwrap_or_default());
        let next = after.chars().next().map_or(0, char::len_utf8);
        let (border, after) = after.split_at(next);
        cut_text.push_str(border);
        rest = after;
    }
    if cut_text == text { Cow::Borrowed(text) } else { Cow::Owned(cut_text) }
}

fn cut_word(word: &str) -> Cow<'_, str> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Cow::Owned(cut(address).to_string());
    }
    let Ok(address) = word.parse::<SocketAddr>() else { return Cow::Borrowed(word) };
    Cow::Owned(cut(address.ip()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_cut_wherever_they_stand() {
        for (whole, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("203.0.113.77:5000", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("[2001:db8:1:2::77]:5000", "2001:db8:1::"),
            ("::ffff:203.0.113.77", "::ffff:203.0.113.0"),
            ("[::ffff:203.0.113.77]:1", "::ffff:203.0.113.0"),
            ("PROXY of 203.0.113.77: refused.", "PROXY of 203.0.113.0: refused."),
            ("gone (2001:db8:1:2::77), 10.1.2.3.", "gone (2001:db8:1::), 10.1.2.0."),
            ("a face in 12:30, version 1.2.3", "a face in 12:30, version 1.2.3"),
            ("ü 1.2.3.4 ü", "ü 1.2.3.0 ü"),
        ] {
            assert_eq!(cut_all(whole), expected);
        }
    }
}
