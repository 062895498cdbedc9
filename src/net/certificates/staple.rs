//! An OCSP answer out of a file: whether it is about a certificate, signed by whom it has to be, says good, and until
//! when.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::Duration,
};

use der::{
    AnyRef, Decode, Reader, SliceReader, Tag, Tagged,
    asn1::{GeneralizedTime, OctetStringRef},
};
use openssl::{
    hash::{MessageDigest, hash},
    x509::X509Ref,
};

use super::signature;

/// Most bytes of the file: answers have two to four thousand.
const BYTES_MAX: u64 = 65_536;
/// Clocks of those who sign may be ahead of ours.
const AHEAD_MAX: Duration = Duration::from_secs(300);
/// id-pkix-ocsp-basic.
const BASIC: [u8; 9] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// An answer that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    pub(super) der: Vec<u8>,
    /// In seconds of Unix time; `None`: there is always newer information, nobody knows when.
    pub(super) until: Option<u64>,
    /// Whether its signature was checked: only where the issuer of the certificate is known.
    pub(super) is_verified: bool,
}

/// Why an answer cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) why: String,
    /// It says that the certificate is not good: then what was said before is not to be shown either.
    pub(super) is_verdict: bool,
}

impl From<&str> for Unfit {
    fn from(why: &str) -> Self {
        Self::from(why.to_owned())
    }
}

impl From<String> for Unfit {
    fn from(why: String) -> Self {
        Self { why, is_verdict: false }
    }
}

/// One statement of an answer.
struct Single<'a> {
    name_hash: &'a [u8],
    serial: &'a [u8],
    is_good: bool,
    from: Duration,
    until: Option<Duration>,
}

impl Staple {
    /// Reads the answer about this certificate of that issuer, at this time since 1970. Without the issuer, anybody may
    /// have signed it: clients look for themselves.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub(super) fn read(
        path: &Path,
        certificate: &X509Ref,
        issuer: Option<&X509Ref>,
        now: Duration,
    ) -> Result<Self, Unfit> {
        let der = bytes_of(path).map_err(|error| format!("cannot be read: {error}"))?;
        Self::parse(der, certificate, issuer, now)
    }

    fn parse(
        der: Vec<u8>,
        certificate: &X509Ref,
        issuer: Option<&X509Ref>,
        now: Duration,
    ) -> Result<Self, Unfit> {
        let statements = statements(&der)
            .map_err(|_| "is no OCSP answer in DER (as `openssl ocsp -respout FILE` writes it)".to_owned())?
            .ok_or("is an answer of a responder that says why it has none")?;
        let serial = certificate.serial_number().to_bn().map(|serial| serial.to_vec()).unwrap_or_default();
        let issuer_name = certificate.issuer_name().to_der().unwrap_or_default();
        let about =
            |one: &&Single<'_>| without_zeros(one.serial) == serial && is_hash(one.name_hash, &issuer_name);
        let one = statements.iter().find(about).ok_or("is about another certificate")?;
        if let Some(issuer) = issuer {
            signature::check(&der, issuer, now)?;
        }
        if !one.is_good {
            let why = "says that the certificate is revoked, or unknown to its issuer".to_owned();
            return Err(Unfit { why, is_verdict: true });
        }
        if one.from > now + AHEAD_MAX {
            return Err("is not valid yet: are the clocks right?".into());
        }
        if one.until.is_some_and(|until| until <= now) {
            return Err("has expired".into());
        }
        let until = one.until.map(|until| until.as_secs());
        Ok(Self { der, until, is_verified: issuer.is_some() })
    }
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(first..).unwrap_or_default()
}

/// Whether this is the hash of the name, by whichever function has hashes of that length.
fn is_hash(told: &[u8], name: &[u8]) -> bool {
    let digest = match told.len() {
        20 => MessageDigest::sha1(),
        32 => MessageDigest::sha256(),
        48 => MessageDigest::sha384(),
        64 => MessageDigest::sha512(),
        _ => return false,
    };
    hash(digest, name).is_ok_and(|hash| *hash == *told)
}

/// What an answer states (RFC 6960 section 4.2.1); `None` where it is no answer but a refusal.
fn statements(der: &[u8]) -> der::Result<Option<Vec<Single<'_>>>> {
    let answer = parts(AnyRef::from_der(der)?)?;
    let [status, bytes] = answer.as_slice() else { return no_answer(&answer) };
    if status.value() != [0] {
        return Ok(None);
    }
    let bytes = parts(first(*bytes)?)?;
    let [kind, basic] = bytes.as_slice() else { return Err(Tag::Sequence.value_error().into()) };
    if kind.value() != BASIC {
        return Err(Tag::ObjectIdentifier.value_error().into());
    }
    let basic = basic.decode_as::<&OctetStringRef>()?;
    let data = parts(first(AnyRef::from_der(basic.as_bytes())?)?)?;
    // Version and responder stand before the time at which the answer was made, the statements behind it.
    let mut behind = data.into_iter().skip_while(|part| part.tag() != Tag::GeneralizedTime).skip(1);
    let list = behind.next().ok_or_else(|| Tag::Sequence.value_error())?;
    parts(list)?.into_iter().map(single).collect::<der::Result<_>>().map(Some)
}

/// A refusal has its status alone.
fn no_answer<'a>(answer: &[AnyRef<'a>]) -> der::Result<Option<Vec<Single<'a>>>> {
    match answer {
        [status] if status.tag() == Tag::Enumerated => Ok(None),
        _ => Err(Tag::Sequence.value_error().into()),
    }
}

fn single(statement: AnyRef<'_>) -> der::Result<Single<'_>> {
    let of = parts(statement)?;
    let [id, status, from, more @ ..] = of.as_slice() else { return Err(Tag::Sequence.value_error().into()) };
    let id = parts(*id)?;
    let [_, name_hash, _, serial] = id.as_slice() else { return Err(Tag::Sequence.value_error().into()) };
    let context = |any: &AnyRef<'_>| match any.tag() {
        Tag::ContextSpecific { number, .. } => Some(number.value()),
        _ => None,
    };
    let until = more.iter().find(|one| context(one) == Some(0)).map(|one| time(first(*one)?)).transpose()?;
    Ok(Single {
        name_hash: name_hash.value(),
        serial: serial.value(),
        is_good: context(status) == Some(0),
        from: time(*from)?,
        until,
    })
}

fn time(any: AnyRef<'_>) -> der::Result<Duration> {
    Ok(any.decode_as::<GeneralizedTime>()?.to_unix_duration())
}

fn first(any: AnyRef<'_>) -> der::Result<AnyRef<'_>> {
    AnyRef::decode(&mut SliceReader::new(any.value())?)
}

fn parts(any: AnyRef<'_>) -> der::Result<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(any.value())?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader)?);
    }
    Ok(parts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use openssl::x509::X509;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Made by `openssl ocsp`, about the certificate beside it, and good for a day from 2026-11-28.
    const ANSWER: &[u8] = include_bytes!("staple/good.der");
    const CERTIFICATE: &[u8] = include_bytes!("staple/certificate.pem");

    fn parse(der: &[u8], at: u64) -> Result<Staple, String> {
        let certificate = X509::from_pem(CERTIFICATE).unwrap();
        Staple::parse(der.to_vec(), &certificate, None, Duration::from_secs(at)).map_err(|unfit| unfit.why)
    }

    #[test]
    fn an_answer_counts_from_its_time_to_its_end() {
        let made = statements(ANSWER).unwrap().unwrap()[0].from.as_secs();
        let until = parse(ANSWER, made).unwrap().until.unwrap();
        assert_eq!(until, made + 86_400);
        parse(ANSWER, until - 1).unwrap();
        assert!(parse(ANSWER, until).unwrap_err().contains("expired"));
        parse(ANSWER, made - AHEAD_MAX.as_secs()).unwrap();
        assert!(parse(ANSWER, made - AHEAD_MAX.as_secs() - 1).unwrap_err().contains("not valid yet"));
    }

    #[test]
    fn half_an_answer_is_none() {
        for length in 0..ANSWER.len() {
            assert!(statements(&ANSWER[..length]).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_and_breaks_nothing(bytes in vec(any::<u8>(), 0..200), at in 0..ANSWER.len(), byte: u8) {
            let _ = statements(&bytes);
            let mut changed = ANSWER.to_vec();
            changed[at] = byte;
            let _ = statements(&changed);
        }
    }
}
