//! To whom does a datagram belong? Reads just enough of it; any bytes may come in.

/// What a datagram is, by its first bytes (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    /// A STUN binding request for the agent with this user name fragment.
    StunRequest {
        /// The receiving side's fragment.
        ufrag: &'a str,
    },
    /// Any other STUN message.
    StunOther,
    Dtls,
    Rtp {
        ssrc: u32,
        payload_type: u8,
    },
    Rtcp,
    Unknown,
}

const STUN_HEADER: usize = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const STUN_BINDING_REQUEST: [u8; 2] = [0, 1];
const STUN_USERNAME: u16 = 0x0006;

/// Most attributes looked at before giving up.
const STUN_ATTRIBUTES_MAX: usize = 32;

pub(crate) fn classify(datagram: &[u8]) -> Datagram<'_> {
    let Some(first) = datagram.first() else { return Datagram::Unknown };
    match first {
        0..=3 => stun(datagram),
        20..=63 => Datagram::Dtls,
        128..=191 => rtp(datagram),
        _ => Datagram::Unknown,
    }
}

fn rtp(datagram: &[u8]) -> Datagram<'_> {
    let Some(second) = datagram.get(1) else { return Datagram::Unknown };
    let payload_type = second & 0x7f;
    if (64..96).contains(&payload_type) {
        return Datagram::Rtcp;
    }
    match datagram.get(8..12).and_then(|b| <[u8; 4]>::try_from(b).ok()) {
        Some(ssrc) => Datagram::Rtp { ssrc: u32::from_be_bytes(ssrc), payload_type },
        None => Datagram::Unknown,
    }
}

fn stun(datagram: &[u8]) -> Datagram<'_> {
    if datagram.len() < STUN_HEADER || datagram.get(4..8) != Some(&STUN_COOKIE) {
        return Datagram::Unknown;
    }
    if datagram.get(..2) != Some(&STUN_BINDING_REQUEST) {
        return Datagram::StunOther;
    }
    match username(datagram).and_then(|name| name.split_once(':')) {
        Some((ufrag, _)) => Datagram::StunRequest { ufrag },
        None => Datagram::StunOther,
    }
}

fn username(datagram: &[u8]) -> Option<&str> {
    let mut rest = datagram.get(STUN_HEADER..)?;
    for _ in 0..STUN_ATTRIBUTES_MAX {
        let (header, after) = rest.split_first_chunk::<4>()?;
        let [kind_high, kind_low, length_high, length_low] = *header;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let value = after.get(..length)?;
        if u16::from_be_bytes([kind_high, kind_low]) == STUN_USERNAME {
            return std::str::from_utf8(value).ok();
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0];
        bytes.extend(STUN_COOKIE);
        bytes.extend([7; 12]);
        for (kind, value) in attributes {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_fragment_before_the_colon_is_ours() {
        let bytes = request(&[(0x0024, &[1, 2, 3]), (STUN_USERNAME, b"ours:theirs")]);
        assert_eq!(classify(&bytes), Datagram::StunRequest { ufrag: "ours" });
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(classify(&request(&[])), Datagram::StunOther, "a request without a user name");
        assert_eq!(classify(&[22, 254, 253]), Datagram::Dtls);
        let rtp = [0x80, 0x80 | 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        assert_eq!(classify(&rtp), Datagram::Rtp { ssrc: 3, payload_type: 96 });
        assert_eq!(classify(&[0x80, 200, 0, 6]), Datagram::Rtcp);
        assert_eq!(classify(&rtp[..11]), Datagram::Unknown);
        assert_eq!(classify(&[]), Datagram::Unknown);
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = classify(&bytes);
            let mut stun = request(&[]);
            stun.extend(&bytes);
            let _ = classify(&stun);
        }

        #[test]
        fn a_user_name_is_found_behind_other_attributes(
            before in prop::collection::vec((7_u16.., prop::collection::vec(any::<u8>(), 0..20)), 0..STUN_ATTRIBUTES_MAX),
            ufrag in "[a-zA-Z0-9+/]{4,32}",
        ) {
            let name = format!("{ufrag}:peer");
            let mut attributes: Vec<(u16, &[u8])> = before.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
            attributes.push((STUN_USERNAME, name.as_bytes()));
            let bytes = request(&attributes);
            let expected = if before.len() < STUN_ATTRIBUTES_MAX { Datagram::StunRequest { ufrag: &ufrag } } else { Datagram::StunOther };
            prop_assert_eq!(classify(&bytes), expected);
        }
    }
}
