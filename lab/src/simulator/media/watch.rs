//! Looks at what a peer sends besides media: who starts the DTLS handshake, what kind of certificate comes, which
//! feedback. It only reads, and only what is not encrypted or is decrypted already.

use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;

/// What is kept of a certificate while it comes in pieces, in bytes.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// The object identifiers of public keys in a certificate, as DER.
const RSA_KEY: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ECDSA_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// What kind of key a certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKey {
    /// Of an elliptic curve.
    Ecdsa,
    /// RSA.
    Rsa,
}

/// What was seen of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// Whether it started the DTLS handshake.
    pub starts_dtls: Option<bool>,
    /// Of its certificate.
    pub certificate: Option<CertificateKey>,
    /// Picture loss indications and full intra requests.
    pub key_frame_requests: u64,
    /// REMB.
    pub remb: u64,
    /// Transport-wide feedback.
    pub transport_feedback: u64,
}

/// Watches one transport.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    facts: PeerFacts,
    certificate: Vec<u8>,
}

impl Watch {
    pub(crate) const fn facts(&self) -> &PeerFacts {
        &self.facts
    }

    /// A datagram that came; true when it told something new.
    pub(crate) fn datagram(&mut self, bytes: &[u8]) -> bool {
        if !bytes.first().is_some_and(|first| (20..64).contains(first)) {
            return false;
        }
        let before = self.facts.clone();
        let mut rest = bytes;
        // Type, version, epoch, number, length (RFC 6347 4.1).
        while let Some((&[kind, _, _, epoch_high, epoch_low, _, _, _, _, _, _, high, low], body)) =
            rest.split_first_chunk::<13>()
        {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some((record, after)) = body.split_at_checked(length) else { break };
            if kind == 22 && (epoch_high, epoch_low) == (0, 0) {
                self.handshake(record);
            }
            rest = after;
        }
        self.facts != before
    }

    /// A handshake record that is not encrypted; it may hold several messages.
    fn handshake(&mut self, record: &[u8]) {
        let mut rest = record;
        // Type, length, number, offset and length of the fragment (RFC 6347 4.2.2).
        while let Some((&[kind, _, _, _, _, _, _, _, _, high, middle, low], body)) =
            rest.split_first_chunk::<12>()
        {
            let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
            let Some((fragment, after)) = body.split_at_checked(length) else { return };
            match kind {
                // ClientHello.
                1 => _ = self.facts.starts_dtls.get_or_insert(true),
                // ServerHello, HelloVerifyRequest.
                2 | 3 => _ = self.facts.starts_dtls.get_or_insert(false),
                11 => self.certificate(fragment),
                _ => {}
            }
            rest = after;
        }
    }

    fn certificate(&mut self, fragment: &[u8]) {
        let room = CERTIFICATE_BYTES_MAX.saturating_sub(self.certificate.len());
        self.certificate.extend(fragment.iter().take(room));
        let place = |key: &[u8]| self.certificate.windows(key.len()).position(|window| window == key);
        // The key of the certificate itself comes before those of a chain.
        self.facts.certificate = match (place(&ECDSA_KEY), place(&RSA_KEY)) {
            (Some(ecdsa), Some(rsa)) if rsa < ecdsa => Some(CertificateKey::Rsa),
            (Some(_), _) => Some(CertificateKey::Ecdsa),
            (None, Some(_)) => Some(CertificateKey::Rsa),
            (None, None) => None,
        };
    }

    /// Feedback that came, decrypted; true when it is of a kind that is counted.
    pub(crate) fn feedback(&mut self, raw: &RawPacket) -> bool {
        let RawPacket::RtcpRx(feedback) = raw else { return false };
        match feedback {
            Rtcp::Pli(_) | Rtcp::Fir(_) => self.facts.key_frame_requests += 1,
            Rtcp::Remb(_) => self.facts.remb += 1,
            Rtcp::Twcc(_) => self.facts.transport_feedback += 1,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        let mut handshake = vec![kind, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length];
        handshake.extend(body);
        let length = u8::try_from(handshake.len()).unwrap();
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, length];
        record.extend(handshake);
        record
    }

    #[test]
    fn who_starts_is_told_by_the_first_flight() {
        let mut watch = Watch::default();
        assert!(!watch.datagram(&[0; 20]) && !watch.datagram(&[22]) && !watch.datagram(&[0x80, 96, 0, 1]));
        assert!(watch.datagram(&record(3, &[1])));
        assert!(!watch.datagram(&record(1, &[1])), "the first word counts");
        assert_eq!(watch.facts().starts_dtls, Some(false));
        let mut watch = Watch::default();
        assert!(watch.datagram(&record(1, &[1])));
        assert_eq!(watch.facts().starts_dtls, Some(true));
    }

    #[test]
    fn a_certificate_may_come_in_pieces() {
        let mut watch = Watch::default();
        let (first, second) = RSA_KEY.split_at(4);
        assert!(!watch.datagram(&record(11, first)));
        let both = [record(11, second), record(14, &[])].concat();
        assert!(watch.datagram(&both));
        assert_eq!(watch.facts().certificate, Some(CertificateKey::Rsa));
    }

    #[test]
    fn a_cut_record_is_left_alone() {
        let whole = record(1, &[1; 20]);
        for length in 0..whole.len() {
            let mut watch = Watch::default();
            assert!(!watch.datagram(whole.get(..length).unwrap()), "{length}");
        }
    }
}
