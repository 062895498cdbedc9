//! Whom the proxy takes in: the one place where a connection or a session is refused for want of room,
//! or because its address has enough.
//!
//! Refused is early: a connection before anything is read of it, a session before its upstream is dialled.
//! Whoever got in has what a session needs; nothing is served by half.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use http::{HeaderMap, header};
use parking_lot::Mutex;

use crate::{
    address::Counted,
    limits::{FILES_PER_SESSION, FilesHeld, Use},
    telemetry::{Told, counts::Refusal, events},
};

use super::{
    addresses::TooMany,
    http::InFlight,
    live::Place,
    request::{self, Answer},
    shared::Shared,
};

/// How often one kind of refusal is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// More kinds than there are.
const KINDS_TOLD_MAX: usize = 16;

/// Why somebody is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// There are as many sessions, or connections before their request, as there may be.
    Places,
    /// There are no file descriptors left for it.
    Files,
    /// There is too little memory for new sessions.
    Memory,
    /// Its address has enough.
    Address(TooMany),
    /// All clients together have.
    Rate,
    /// Its address is not admitted.
    Network,
    /// Pages of its origin are not.
    Origin,
    /// There are as many requests as there may be.
    Requests,
}

impl Refused {
    /// What the client hears.
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::Requests => request::unavailable("too many requests at once"),
            Self::Places | Self::Files => request::unavailable("all places are taken"),
            Self::Memory => request::unavailable("short of memory"),
            Self::Address(_) => request::too_many("your address has too many of these"),
            Self::Rate => request::too_many("too many clients come at once"),
            Self::Network => request::forbidden("your address is not admitted"),
            Self::Origin => request::forbidden("pages of this origin are not admitted"),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Places => "all places are taken (limits.sessions_max)",
            Self::Memory => "short of memory (limits.memory_bytes_max)",
            Self::Files => "no file descriptors are left (ulimit -n)",
            Self::Rate => "too many handshakes (limits.handshakes_per_second)",
            Self::Network => "its address is not admitted (listen.allow, listen.deny)",
            Self::Origin => "its origin is not admitted (listen.origins)",
            Self::Requests => "too many requests at once (http.requests_max)",
            Self::Address(TooMany::Requests) => {
                "too many requests of its address at once (http.address_requests_max)"
            }
            Self::Address(TooMany::RequestRate) => {
                "too many requests of its address (http.address_requests_per_second)"
            }
            Self::Address(TooMany::Sessions) => {
                "too many sessions of its address (limits.address_sessions_max)"
            }
            Self::Address(TooMany::Connections) => {
                "too many unauthenticated connections of its address (limits.address_unauthenticated_max)"
            }
            Self::Address(TooMany::Handshakes) => {
                "too many handshakes of its address (limits.address_handshakes_per_second)"
            }
            Self::Address(TooMany::FirstMessages) => {
                "too many first messages of its address (limits.address_first_messages_per_second)"
            }
        })
    }
}

/// Refusals that were told: strangers cause them.
#[derive(Debug)]
pub(crate) struct RefusalLog(Mutex<Told<Refused>>);

impl Default for RefusalLog {
    fn default() -> Self {
        Self(Mutex::new(Told::with_pause(KINDS_TOLD_MAX, TOLD_EVERY)))
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Places => Self::Places,
            Refused::Files => Self::Descriptors,
            Refused::Memory => Self::Memory,
            Refused::Rate => Self::HandshakeRate,
            Refused::Network => Self::Network,
            Refused::Origin => Self::Origin,
            Refused::Requests => Self::Requests,
            Refused::Address(TooMany::Requests) => Self::AddressRequests,
            Refused::Address(TooMany::RequestRate) => Self::AddressRequestRate,
            Refused::Address(TooMany::Sessions) => Self::AddressSessions,
            Refused::Address(TooMany::Connections) => Self::AddressConnections,
            Refused::Address(TooMany::Handshakes) => Self::AddressHandshakes,
            Refused::Address(TooMany::FirstMessages) => Self::AddressFirstMessages,
        }
    }
}

/// Counts a refusal, and tells it unless it was told of others like it a moment ago.
pub(super) fn tell(shared: &Shared, client: IpAddr, refused: Refused) {
    shared.counts.refusals.inc(refused.into());
    let may_tell = shared.refusals.0.lock().may_tell(refused, Instant::now());
    match may_tell {
        Some(0) => events::connection_refused(&client, &refused),
        Some(more) => {
            let cause = format_args!("{refused}; {more} more since this was told");
            events::connection_refused(&client, &cause);
        }
        None => {}
    }
}

/// Whether pages of the origin that a request names are admitted; whoever names none is no page.
pub(super) fn check_origin(shared: &Shared, headers: &HeaderMap) -> Result<(), Refused> {
    let settings = shared.settings.load();
    let admitted = &settings.listen.origins;
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| !admitted.is_empty()) else { return Ok(()) };
    let is_admitted = |origin: &str| admitted.iter().any(|pattern| pattern.matches(origin));
    origin.to_str().is_ok_and(is_admitted).then_some(()).ok_or(Refused::Origin)
}

/// A connection before its 101.
#[derive(Debug)]
pub(super) struct Entry {
    file: FilesHeld,
    connection: Option<Arc<Counted>>,
}

impl Entry {
    /// What it has of its address's bound, for whoever keeps the connection beyond a refusal.
    pub(super) fn of_address(&self) -> Option<Arc<Counted>> {
        self.connection.clone()
    }
}

/// What a new session has of its client's address until it is a session in the server's eyes as well.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// The client's address.
    pub(crate) ip: IpAddr,
    /// None: a balancer that does not say who its clients are. Its address has no limits.
    _connection: Option<Arc<Counted>>,
}

/// A new connection. Whose it is, behind a trusted proxy, its request will tell.
pub(super) fn enter(shared: &Shared, peer: IpAddr) -> Result<Entry, Refused> {
    if shared.handshakes.len() >= shared.handshakes_max.load(Ordering::Relaxed) {
        return Err(Refused::Places);
    }
    let connection = of_address(shared, peer)?;
    let file = shared.files.take(Use::Handshake, 1).ok_or(Refused::Files)?;
    Ok(Entry { file, connection })
}

/// The connection is that of this client: a balancer has told it before the request.
pub(super) fn belongs_to(shared: &Shared, entry: Entry, client: IpAddr) -> Result<Entry, Refused> {
    let connection = if entry.connection.is_some() { entry.connection } else { of_address(shared, client)? };
    Ok(Entry { connection, ..entry })
}

/// One more connection of this address, if it is admitted at all; none: it is that of a proxy that is trusted.
fn of_address(shared: &Shared, ip: IpAddr) -> Result<Option<Arc<Counted>>, Refused> {
    if !is_limited(shared, ip) {
        return Ok(None);
    }
    if !shared.settings.load().listen.admits(ip) {
        return Err(Refused::Network);
    }
    shared.addresses.connection(ip).map(|counted| Some(Arc::new(counted))).map_err(Refused::Address)
}

/// A new session of this client: from now on it has all descriptors that it needs.
pub(super) fn admit(shared: &Shared, entry: Entry, client: IpAddr) -> Result<(Place, Newcomer), Refused> {
    if !shared.settings.load().listen.admits(client) {
        return Err(Refused::Network);
    }
    if shared.memory.is_short() {
        return Err(Refused::Memory);
    }
    let Entry { file, connection } = belongs_to(shared, entry, client)?;
    let mut session = None;
    if is_limited(shared, client) {
        let addresses = &shared.addresses;
        addresses.handshake(client).map_err(Refused::Address)?;
        session = Some(addresses.session(client).map_err(Refused::Address)?);
    }
    if !shared.addresses.handshake_of_any() {
        return Err(Refused::Rate);
    }
    // It becomes one of the two of the session.
    drop(file);
    let files = shared.files.take(Use::Session, FILES_PER_SESSION).ok_or(Refused::Files)?;
    let place = shared.live.take_place(files, session).ok_or(Refused::Places)?;
    Ok((place, Newcomer { ip: client, _connection: connection }))
}

/// Whether a request may be answered that is to be no session.
pub(super) fn check_request(shared: &Shared, client: IpAddr) -> Result<(), Refused> {
    if !shared.settings.load().listen.admits(client) {
        return Err(Refused::Network);
    }
    if is_limited(shared, client) {
        shared.addresses.request(client).map_err(Refused::Address)?;
    }
    Ok(())
}

/// One more request that is passed on; it counts until it is dropped.
pub(super) fn pass_on(shared: &Shared, client: IpAddr) -> Result<InFlight, Refused> {
    check_request(shared, client)?;
    if shared.memory.is_short() {
        return Err(Refused::Memory);
    }
    let (all, of_address) = {
        let http = &shared.settings.load().http;
        (http.requests_max, http.address_requests_max)
    };
    let of_address = if is_limited(shared, client) {
        Some(shared.http.of_address(client, of_address).ok_or(Refused::Address(TooMany::Requests))?)
    } else {
        None
    };
    shared.http.take(of_address, all).ok_or(Refused::Requests)
}

/// Whether the first message of a session may go on to its server.
pub(crate) fn allows_first_message(shared: &Shared, newcomer: &Newcomer) -> bool {
    if !is_limited(shared, newcomer.ip) {
        return true;
    }
    let Err(too_many) = shared.addresses.first_message(newcomer.ip) else { return true };
    tell(shared, newcomer.ip, Refused::Address(too_many));
    false
}

/// A trusted proxy stands for many clients.
fn is_limited(shared: &Shared, ip: IpAddr) -> bool {
    !shared.settings.load().listen.trusts(ip)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_refusal_is_told_once_in_a_while() {
        let begin = Instant::now();
        let log = RefusalLog::default();
        let note = |refused, ms| log.0.lock().may_tell(refused, begin + Duration::from_millis(ms));
        assert_eq!(note(Refused::Files, 5), Some(0));
        for now in 6..1_006 {
            assert_eq!(note(Refused::Files, now), None);
        }
        assert_eq!(note(Refused::Places, 7), Some(0));
        assert_eq!(note(Refused::Files, 5 + 10_000), Some(1_000));
    }
}
