//! What makes a transport be of no use.

use std::net::SocketAddr;

use is::IceError;
use str0m::RtcError;

/// Why a transport was not built, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// No check of ours could carry it.
    #[error("the ICE name of the peer is too long")]
    NameTooLong,
    /// The certificate of the peer could not be judged.
    #[error("no fingerprint to check the certificate of the peer by")]
    NoFingerprint,
    /// The cryptographic library does not work.
    #[error("SHA-256 does not work")]
    NoDigest,
    /// A codec that nobody can play.
    #[error("a clock rate of zero")]
    NoClockRate,
    /// An address of ours that is none.
    #[error("local address {address}: {error}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What is wrong with it.
        error: IceError,
    },
    /// ICE, DTLS or SRTP.
    #[error(transparent)]
    Protocol(#[from] RtcError),
}
