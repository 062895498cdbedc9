//! Fingerprints of certificates (RFC 8122): their text, and whether a certificate has one.

use std::fmt;

use openssl::hash::{MessageDigest, hash};

/// A hash that a fingerprint may be made with. MD5 and MD2 are none (RFC 8122 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// In the order in which they are preferred where a peer gives several: everybody computes
    /// the first.
    const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Sha384, Self::Sha224, Self::Sha1];

    /// The hash of this name, whatever its case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.as_str().eq_ignore_ascii_case(name))
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha224 => MessageDigest::sha224(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// A fingerprint of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) hash: Hash,
    pub(crate) digest: Vec<u8>,
}

impl Fingerprint {
    /// Reads the value of `a=fingerprint`. None: a hash that we do not take, or no fingerprint.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.trim().split_once(char::is_whitespace)?;
        let hash = Hash::named(name)?;
        let digest: Option<Vec<u8>> = hex.trim().split(':').map(byte).collect();
        digest.filter(|digest| digest.len() == hash.digest().size()).map(|digest| Self { hash, digest })
    }

    /// The fingerprint of a certificate (DER).
    pub(crate) fn of(hash_name: Hash, certificate: &[u8]) -> Option<Self> {
        let digest = hash(hash_name.digest(), certificate).ok()?;
        Some(Self { hash: hash_name, digest: digest.to_vec() })
    }

    /// Those by which a certificate is judged: all of the hash that we prefer among them
    /// (RFC 8122 5: it has to have one of these).
    pub(crate) fn preferred(all: &[Self]) -> Vec<Self> {
        let best = Hash::ALL.into_iter().find(|hash| all.iter().any(|f| f.hash == *hash));
        all.iter().filter(|f| Some(f.hash) == best).cloned().collect()
    }

    /// Is this the fingerprint of the certificate?
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        // Both are public: nothing is learned from the time that the comparison takes.
        Self::of(self.hash, certificate).is_some_and(|found| found.digest == self.digest)
    }
}

/// Two hexadecimal digits in either case.
fn byte(text: &str) -> Option<u8> {
    let text = text.trim();
    (text.len() == 2 && !text.starts_with('+')).then(|| u8::from_str_radix(text, 16).ok())?
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.as_str())?;
        for (index, byte) in self.digest.iter().enumerate() {
            let colon = if index > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_reads_back_in_either_case_and_matches_its_certificate_alone() {
        for hash in Hash::ALL {
            let fingerprint = Fingerprint::of(hash, b"a certificate").unwrap();
            let text = fingerprint.to_string();
            for written in [text.clone(), text.to_lowercase(), text.to_uppercase(), format!(" {text}\t")] {
                assert_eq!(Fingerprint::parse(&written).as_ref(), Some(&fingerprint), "{written}");
            }
            assert!(fingerprint.matches(b"a certificate") && !fingerprint.matches(b"another"));
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_none() {
        let good = Fingerprint::of(Hash::Sha1, b"x").unwrap().to_string();
        for text in [
            "",
            "sha-256",
            "sha-256 AA:BB",
            "md5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
            &good.replace(':', ""),
            &good.replacen(':', "::", 1),
            &good[..good.len() - 1],
            &format!("{good}:00"),
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_several_those_of_one_hash_count() {
        let all: Vec<Fingerprint> = [(Hash::Sha1, "a"), (Hash::Sha512, "b"), (Hash::Sha512, "c")]
            .map(|(hash, text)| Fingerprint::of(hash, text.as_bytes()).unwrap())
            .into();
        assert_eq!(Fingerprint::preferred(&all), all[1..]);
        assert_eq!(Fingerprint::preferred(&all[..1]), all[..1]);
        assert!(Fingerprint::preferred(&[]).is_empty());
    }
}
