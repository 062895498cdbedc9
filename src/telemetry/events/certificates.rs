//! What becomes of the certificates that clients are shown.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use tracing::{info, warn};

/// The end of the year 9999, which dates can be written up to.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A certificate, or one of its chain.
    Certificate,
    /// An OCSP answer.
    Staple,
    /// A list of revoked certificates of clients.
    Revocations {
        /// Without it clients that show a certificate are refused.
        refuses: bool,
    },
}

impl Ending {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Staple => "ocsp",
            Self::Revocations { .. } => "crl",
        }
    }
}

/// What new handshakes go by is another.
pub(crate) fn certificates_changed(changes: &dyn fmt::Display) {
    info!(event = "certificates_changed", %changes, "new connections get what the files hold now");
}

/// A file was changed to what cannot be used.
pub(crate) fn certificate_unusable(file: &dyn fmt::Display, cause: &str) {
    warn!(
        event = "certificate_unusable",
        %file,
        cause,
        "the former certificate is still shown: mend the files, they are looked at again (`holdfast check` says what \
         is wrong)"
    );
}

/// Something ends at this second of Unix time, in so many seconds, or has ended.
pub(crate) fn certificate_ends(file: &dyn fmt::Display, ending: Ending, at: i64, ends_in_s: i64) {
    let what = ending.as_str();
    let since = Duration::from_secs(u64::try_from(at).unwrap_or_default());
    let ends = httpdate::fmt_http_date(UNIX_EPOCH + since.min(LATEST));
    // A day that has begun counts.
    let in_days = if ends_in_s > 0 { (ends_in_s + 86_399) / 86_400 } else { 0 };
    macro_rules! tell {
        ($level:ident, $text:literal) => {
            tracing::$level!(event = "certificate_ends", %file, what, ends, in_days, $text)
        };
    }
    match ending {
        Ending::Certificate if ends_in_s <= 0 => {
            tell!(error, "it has expired and clients refuse it: renew it")
        }
        Ending::Certificate => tell!(warn, "it expires soon: renew it"),
        Ending::Staple => tell!(warn, "it has expired and is not shown: fetch a new one"),
        Ending::Revocations { refuses: true } if ends_in_s <= 0 => {
            tell!(error, "it has ended and clients that show a certificate are refused: fetch a new one")
        }
        Ending::Revocations { refuses: true } => {
            tell!(warn, "it ends soon, then clients that show a certificate are refused: fetch a new one")
        }
        Ending::Revocations { refuses: false } => {
            tell!(warn, "it should have been replaced, and still counts: fetch a new one")
        }
    }
}

/// An OCSP answer is not shown; the former is, or none.
pub(crate) fn staple_unusable(file: &dyn fmt::Display, cause: &str, former_shown: bool) {
    let message = if former_shown {
        "clients get the former OCSP answer until that one ends: fetch a new one"
    } else {
        "clients get the certificate without this OCSP answer: fetch a new one"
    };
    warn!(event = "staple_unusable", %file, cause, former_shown, "{message}");
}
