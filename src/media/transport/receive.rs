//! What comes in: which datagrams are taken, and as whose. Everything is bounded here before `str0m`
//! sees it, and nothing counts as heard that is not proven.

use std::{net::IpAddr, time::Instant};

use str0m::{crypto::CryptoProvider, net::Protocol};

use crate::media::{
    bucket::Bucket,
    demux::{Datagram, classify},
    engine::Incoming,
    routes::Origin,
    sdp::Credentials,
};

use super::{Transport, TransportError, roaming, sources::Standing, stun};

/// The longest datagram that is looked at.
const DATAGRAM_BYTES_MAX: usize = 4_096;

/// What a datagram was. Only what is proven counts as a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Something of the peer, proven or at least plausible (DTLS).
    Peer,
    /// Nothing that we could take, or not authentic.
    Stranger,
}

/// A check of a client that passed.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The address that gave way to this one.
    pub(crate) gone: Option<Origin>,
    /// What to send back where it came from.
    pub(crate) answer: Vec<u8>,
}

/// Bounds the checks of an upstream, of which `str0m` remembers every address.
#[derive(Debug)]
pub(super) struct Strangers {
    pub(super) known: Vec<Origin>,
    pub(super) known_max: usize,
    pub(super) checks: Bucket,
}

impl Strangers {
    fn admits(&mut self, from: Origin, now: Instant) -> bool {
        self.checks.take(now) && (self.known.contains(&from) || self.known.len() < self.known_max)
    }

    /// The peer said that it may be there as well.
    pub(super) fn expects(&mut self, at: Origin) {
        if !self.known.contains(&at) {
            self.known.push(at);
            self.known_max += 1;
        }
    }

    fn passed(&mut self, from: Origin) {
        if !self.known.contains(&from) {
            self.known.push(from);
        }
    }
}

impl Transport {
    /// Is this a check of the upstream, or an answer to one of ours, wherever it comes from?
    pub(crate) fn accepts(&mut self, from: Origin, bytes: &[u8], now: Instant) -> bool {
        let looked_at = !self.failed && self.roaming.is_none() && bytes.len() <= DATAGRAM_BYTES_MAX;
        looked_at && self.strangers.admits(from, now) && self.engine.accepts(self.incoming(from, bytes), now)
    }

    /// A connectivity check of a client that used these credentials of ours. None: it is not signed
    /// with them, or one too many. Drive the transport afterwards.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    pub(crate) fn check(
        &mut self,
        ours: &Credentials,
        (from, local): (Origin, Option<IpAddr>),
        bytes: &[u8],
        crypto: &CryptoProvider,
        now: Instant,
    ) -> Result<Option<Checked>, TransportError> {
        let looked_at = !self.failed && bytes.len() <= DATAGRAM_BYTES_MAX;
        let Some(roaming) = self.roaming.as_mut().filter(|_| looked_at) else { return Ok(None) };
        if !roaming.admits(from, now) {
            return Ok(None);
        }
        let Some(check) = stun::verify(bytes, from, ours, &self.remote_name, crypto) else { return Ok(None) };
        let gone = roaming.passed(from, local, check.nominates, now);
        self.heard = Some(now);
        if self.name != ours.ufrag {
            self.name.clone_from(&ours.ufrag);
            self.engine.set_credentials(ours);
        }
        self.hand_over(from, bytes, now)?;
        Ok(Some(Checked { gone, answer: check.answer }))
    }

    /// Takes a datagram from an address of the peer. Drive the transport afterwards.
    ///
    /// # Errors
    ///
    /// If the transport is of no use any more.
    pub(crate) fn receive(
        &mut self,
        from: Origin,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Received, TransportError> {
        if self.failed || bytes.len() > DATAGRAM_BYTES_MAX {
            return Ok(Received::Stranger);
        }
        match classify(bytes) {
            Datagram::Unknown => Ok(Received::Stranger),
            Datagram::StunRequest { .. } | Datagram::StunOther => self.receive_stun(from, bytes, now),
            Datagram::Dtls => {
                // Nothing says whose it is. Where there are keys, SRTP tells whether the peer lives.
                if !self.connected {
                    self.heard = Some(now);
                }
                self.hand_over(from, bytes, now).map(|_| Received::Peer)
            }
            Datagram::Rtp { ssrc, payload_type } => self.receive_rtp(from, (ssrc, payload_type), bytes, now),
            Datagram::Rtcp => self.receive_protected(from, bytes, now),
        }
    }

    /// Checks and answers of an upstream; those of clients come in by [`Self::check`].
    fn receive_stun(&mut self, from: Origin, bytes: &[u8], now: Instant) -> Result<Received, TransportError> {
        if !self.accepts(from, bytes, now) {
            return Ok(Received::Stranger);
        }
        self.strangers.passed(from);
        self.heard = Some(now);
        self.hand_over(from, bytes, now)?;
        Ok(Received::Peer)
    }

    fn receive_rtp(
        &mut self,
        from: Origin,
        (ssrc, payload_type): (u32, u8),
        bytes: &[u8],
        now: Instant,
    ) -> Result<Received, TransportError> {
        match self.standing(ssrc, payload_type, now) {
            Standing::Foreign => Ok(Received::Stranger),
            Standing::Known => {
                let received = self.receive_protected(from, bytes, now)?;
                if received == Received::Peer {
                    self.correct(ssrc, payload_type);
                }
                Ok(received)
            }
            Standing::OnTrial { section, repair } => {
                self.begin_trial(ssrc, section);
                let received = self.receive_protected(from, bytes, now)?;
                self.end_trial((ssrc, section, repair), received == Received::Peer, now);
                Ok(received)
            }
        }
    }

    /// Takes SRTP or SRTCP, which is the peer's if it can be decrypted.
    fn receive_protected(
        &mut self,
        from: Origin,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Received, TransportError> {
        if !self.hand_over(from, bytes, now)? {
            return Ok(Received::Stranger);
        }
        self.heard = Some(now);
        if let Some(roaming) = &mut self.roaming {
            roaming.authentic(from, now);
        }
        Ok(Received::Peer)
    }

    /// True: it was SRTP or SRTCP, and authentic.
    fn hand_over(&mut self, from: Origin, bytes: &[u8], now: Instant) -> Result<bool, TransportError> {
        let datagram = self.incoming(from, bytes);
        self.engine.receive(datagram, now).map_err(|e| self.fail(e))
    }

    /// As the engine sees it: it knows a client under one address only.
    fn incoming<'a>(&self, from: Origin, bytes: &'a [u8]) -> Incoming<'a> {
        let (source, protocol) = if self.roaming.is_some() {
            (roaming::peer(self.nominal()), Protocol::Udp)
        } else {
            (from.address, from.protocol())
        };
        let local = self.local_of(Origin { address: source, tcp: protocol == Protocol::Tcp });
        Incoming { protocol, source, local, bytes }
    }
}
