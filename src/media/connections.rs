//! TCP connections of clients whose network lets no UDP pass (RFC 6544 passive candidates).
//!
//! Connections are accepted on the same port number as UDP. Until one has passed a connectivity
//! check it is a stranger's: it lives for seconds, little is read of it, and there are few of
//! them per address and in all; the oldest gives way to the next. After that it lives as long as
//! its leg, or until checks cease.
//!
//! Decides about connections and has none: whoever accepts and reads them tells, and closes and
//! writes what the outputs say.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::address::{Counted, network};

use super::{
    framing::Frames,
    output::{ConnectionId, Output},
};

/// The places of unchecked connections: how many each address has, over all workers.
pub(crate) use crate::address::Counts as Places;

/// Time without a check after which a connection that passed one is let go: its leg has moved
/// elsewhere, or was given up. Clients check every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Pause between two searches for those.
const SWEEP_PACE: Duration = Duration::from_secs(1);

/// A connection of a client.
#[derive(Debug)]
struct Connection {
    frames: Frames,
    peer: SocketAddr,
    local: Option<IpAddr>,
    standing: Standing,
}

/// What a connection has proven.
#[derive(Debug)]
enum Standing {
    Unchecked {
        since: Instant,
        received_bytes: usize,
        place: Counted,
    },
    /// Passed a check, the last time then.
    Checked {
        at: Instant,
    },
}

/// All connections of one worker.
#[derive(Debug)]
pub(crate) struct Connections {
    by_id: HashMap<ConnectionId, Connection>,
    by_peer: HashMap<SocketAddr, ConnectionId>,
    /// Numbers count up: the oldest first.
    unchecked: BTreeSet<ConnectionId>,
    places: Places,
    first: usize,
    next: usize,
    limits: Limits,
    swept: Instant,
    refused: u64,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections at once.
    pub(crate) connections_max: usize,
    /// Most bytes that wait for a client that does not read.
    pub(crate) output_bytes_max: usize,
    /// Time to pass a connectivity check.
    pub(crate) unchecked_max: Duration,
    /// Most bytes read until then.
    pub(crate) unchecked_bytes_max: usize,
    /// Most connections without a check, in all.
    pub(crate) unchecked_connections_max: usize,
    /// The same per address, over all workers; 0 = as many as in all.
    pub(crate) unchecked_per_address_max: usize,
}

/// What was read of a connection: whole datagrams.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) source: SocketAddr,
    /// The address of ours that it came to.
    pub(crate) local: Option<IpAddr>,
    pub(crate) datagrams: Vec<Vec<u8>>,
}

impl Connections {
    /// None yet. They are numbered from `first`.
    pub(crate) fn new(first: usize, limits: Limits, places: Places, now: Instant) -> Self {
        Self {
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            unchecked: BTreeSet::new(),
            places,
            first,
            next: first,
            limits,
            swept: now,
            refused: 0,
        }
    }

    /// Is this the number of a client's connection?
    pub(crate) const fn owns(&self, connection: ConnectionId) -> bool {
        connection.0 >= self.first
    }

    /// A client has connected. None: there is no place for it, it is to be closed.
    pub(crate) fn accepted(
        &mut self,
        peer: SocketAddr,
        local: Option<IpAddr>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Option<ConnectionId> {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = self.place(peer.ip(), outputs) else {
            self.refused += 1;
            return None;
        };
        let id = ConnectionId(self.next);
        self.next += 1;
        let frames = Frames::new(self.limits.output_bytes_max);
        let standing = Standing::Unchecked { since: now, received_bytes: 0, place };
        self.by_id.insert(id, Connection { frames, peer, local, standing });
        self.by_peer.insert(peer, id);
        self.unchecked.insert(id);
        Some(id)
    }

    /// A place for a new connection, if need be that of the oldest which has not shown who it is.
    fn place(&mut self, address: IpAddr, outputs: &mut Vec<Output>) -> Option<Counted> {
        let limits = self.limits;
        // First of all it is its own address that makes room: no other pays for one that has enough.
        if let Some(place) = self.places.take(address, limits.unchecked_per_address_max) {
            if self.by_id.len() >= limits.connections_max
                || self.unchecked.len() >= limits.unchecked_connections_max
            {
                let oldest = self.unchecked.first().copied()?;
                self.refused += 1;
                self.close(oldest, outputs);
            }
            return Some(place);
        }
        let network = network(address);
        let of_address = |id: &&ConnectionId| {
            let standing = self.by_id.get(id).map(|c| &c.standing);
            matches!(standing, Some(Standing::Unchecked { place, .. }) if place.network() == network)
        };
        // None: they are with other workers.
        let oldest = self.unchecked.iter().find(of_address).copied()?;
        self.refused += 1;
        self.close(oldest, outputs);
        self.places.take(address, limits.unchecked_per_address_max)
    }

    /// How many bytes may be read of a connection now. A stranger that used up what it has is closed.
    pub(crate) fn may_read(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) -> usize {
        let Some(connection) = self.by_id.get(&id) else { return 0 };
        let bytes = match connection.standing {
            Standing::Unchecked { received_bytes, .. } => {
                self.limits.unchecked_bytes_max.saturating_sub(received_bytes)
            }
            Standing::Checked { .. } => usize::MAX,
        };
        if bytes == 0 {
            self.refused += 1;
            self.close(id, outputs);
        }
        bytes
    }

    /// These bytes were read of a connection.
    pub(crate) fn bytes(&mut self, id: ConnectionId, bytes: &[u8]) -> Option<Heard> {
        let connection = self.by_id.get_mut(&id)?;
        if let Standing::Unchecked { received_bytes, .. } = &mut connection.standing {
            *received_bytes += bytes.len();
        }
        let mut datagrams = Vec::new();
        connection.frames.take(bytes, &mut datagrams);
        Some(Heard { source: connection.peer, local: connection.local, datagrams })
    }

    /// A connection passed a connectivity check.
    pub(crate) fn checked(&mut self, peer: SocketAddr, now: Instant) {
        let Some(id) = self.by_peer.get(&peer) else { return };
        if let Some(connection) = self.by_id.get_mut(id) {
            connection.standing = Standing::Checked { at: now };
            self.unchecked.remove(id);
        }
    }

    /// Sends a datagram to a connected client. False: it was dropped.
    pub(crate) fn send(&mut self, peer: SocketAddr, bytes: &[u8], outputs: &mut Vec<Output>) -> bool {
        let Some(id) = self.by_peer.get(&peer).copied() else { return false };
        let Some(connection) = self.by_id.get_mut(&id) else { return false };
        outputs.push(Output::Write(id));
        connection.frames.send(bytes)
    }

    /// What waits to be written to a connection.
    pub(crate) fn unwritten(&self, id: ConnectionId) -> &[u8] {
        self.by_id.get(&id).map(|c| c.frames.unwritten()).unwrap_or_default()
    }

    /// So many bytes of that were written.
    pub(crate) fn wrote(&mut self, id: ConnectionId, count: usize) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.frames.wrote(count);
        }
    }

    /// A connection has ended.
    pub(crate) fn closed(&mut self, id: ConnectionId) {
        self.unchecked.remove(&id);
        if let Some(connection) = self.by_id.remove(&id)
            && self.by_peer.get(&connection.peer) == Some(&id)
        {
            self.by_peer.remove(&connection.peer);
        }
    }

    /// Lets go whoever passed no check in time, or none for long.
    pub(crate) fn sweep(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let late = |c: &Connection| match c.standing {
            Standing::Unchecked { since, .. } => {
                now.saturating_duration_since(since) > self.limits.unchecked_max
            }
            Standing::Checked { at } => now.saturating_duration_since(at) > SILENCE_MAX,
        };
        let oldest = self.unchecked.iter().copied();
        let mut gone: Vec<ConnectionId> =
            oldest.take_while(|id| self.by_id.get(id).is_none_or(late)).collect();
        if now.saturating_duration_since(self.swept) >= SWEEP_PACE {
            self.swept = now;
            gone.extend(self.by_id.iter().filter(|(_, c)| late(c)).map(|(id, _)| *id));
        }
        for id in gone {
            self.close(id, outputs);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Connections that got no place, or lost it without having passed a check.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// The leg of this client has no use for its connection any more.
    pub(crate) fn end(&mut self, peer: SocketAddr, outputs: &mut Vec<Output>) {
        if let Some(id) = self.by_peer.get(&peer).copied() {
            self.close(id, outputs);
        }
    }

    fn close(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            let last_words = connection.frames.take_unwritten();
            outputs.push(Output::Close { connection: id, last_words });
        }
        self.closed(id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections_max: 10,
        output_bytes_max: 20_000,
        unchecked_max: Duration::from_secs(5),
        unchecked_bytes_max: 4_096,
        unchecked_connections_max: 10,
        unchecked_per_address_max: 4,
    };

    /// Connections, and what they had closed.
    struct Bed {
        connections: Connections,
        outputs: Vec<Output>,
        start: Instant,
    }

    impl Bed {
        fn new(limits: Limits) -> Self {
            let start = Instant::now();
            let connections = Connections::new(1, limits, Places::default(), start);
            Self { connections, outputs: Vec::new(), start }
        }

        fn accept(&mut self, peer: &str) -> Option<ConnectionId> {
            self.connections.accepted(peer.parse().unwrap(), None, self.start, &mut self.outputs)
        }

        fn sweep(&mut self, after: Duration) {
            self.connections.sweep(self.start + after, &mut self.outputs);
        }

        fn closed(&mut self) -> Vec<usize> {
            let outputs = std::mem::take(&mut self.outputs);
            let closed = |o| if let Output::Close { connection, .. } = o { Some(connection.0) } else { None };
            outputs.into_iter().filter_map(closed).collect()
        }
    }

    fn peers(count: u16) -> impl Iterator<Item = String> {
        (1..=count).map(|port| format!("127.0.0.1:{port}"))
    }

    #[test]
    fn datagrams_are_found_however_they_are_cut() {
        let mut bed = Bed::new(LIMITS);
        let id = bed.accept("127.0.0.1:1").unwrap();
        let wire = [&[0, 3][..], b"abc", &[0, 0], &[0, 2], b"de"].concat();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for byte in wire {
            seen.extend(bed.connections.bytes(id, &[byte]).unwrap().datagrams);
        }
        assert_eq!(seen, [b"abc".to_vec(), Vec::new(), b"de".to_vec()]);
        bed.connections.closed(id);
        assert!(bed.connections.len() == 0 && bed.connections.by_peer.is_empty());
        assert!(bed.connections.bytes(id, &[0]).is_none());
    }

    #[test]
    fn connections_and_what_waits_for_them_are_bounded() {
        let mut bed = Bed::new(Limits { connections_max: 1, ..LIMITS });
        let first = bed.accept("127.0.0.1:1").unwrap();
        let peer = "127.0.0.1:1".parse().unwrap();
        bed.connections.checked(peer, bed.start);
        assert!(bed.accept("127.0.0.1:2").is_none(), "one that is checked gives no place");
        assert_eq!(bed.connections.refused, 1);
        let mut sent = 0_u32;
        while bed.connections.send(peer, &[0; 1200], &mut bed.outputs) {
            sent += 1;
            assert!(sent < 100, "nobody reads, and it never ends");
        }
        assert!(bed.connections.unwritten(first).len() <= 20_000);
        assert!(bed.closed().is_empty());
        bed.sweep(Duration::from_secs(60));
        assert_eq!(bed.connections.len(), 1, "it passed a check");
        bed.sweep(SILENCE_MAX + Duration::from_secs(61));
        assert_eq!((bed.connections.len(), bed.closed()), (0, vec![1]), "it has long passed none");
    }

    #[test]
    fn a_stranger_that_drips_ends_with_its_time() {
        let mut bed = Bed::new(LIMITS);
        let id = bed.accept("127.0.0.1:1").unwrap();
        for second in 1..=4 {
            bed.connections.bytes(id, &[0]);
            bed.sweep(Duration::from_secs(second));
            assert_eq!(bed.connections.len(), 1, "it has time to show who it is");
        }
        bed.sweep(Duration::from_secs(6));
        assert!(bed.connections.len() == 0 && bed.connections.places.addresses() == 0);
        assert_eq!(bed.closed(), [1]);
    }

    #[test]
    fn little_is_read_of_a_stranger() {
        let mut bed = Bed::new(LIMITS);
        let id = bed.accept("127.0.0.1:1").unwrap();
        let room = bed.connections.may_read(id, &mut bed.outputs);
        assert_eq!(room, 4_096, "more than a few checks would take");
        bed.connections.bytes(id, &vec![0x10; room]);
        assert_eq!(bed.connections.may_read(id, &mut bed.outputs), 0);
        assert_eq!((bed.connections.len(), bed.connections.refused, bed.closed()), (0, 1, vec![1]));
    }

    #[test]
    fn strangers_are_few_per_address_and_in_all_and_the_oldest_gives_way() {
        let mut bed = Bed::new(LIMITS);
        peers(8).for_each(|peer| assert!(bed.accept(&peer).is_some()));
        assert_eq!((bed.connections.refused, bed.closed()), (4, vec![1, 2, 3, 4]));
        // Who passes a check is no stranger any more.
        for peer in peers(8).skip(4) {
            bed.connections.checked(peer.parse().unwrap(), bed.start);
        }
        assert!(bed.connections.places.addresses() == 0);
        peers(12).skip(8).for_each(|peer| assert!(bed.accept(&peer).is_some()));
        assert_eq!((bed.connections.refused, bed.connections.len()), (4, 8));
        // In all: other addresses count as well.
        bed.connections.limits.unchecked_per_address_max = 0;
        peers(20).skip(12).for_each(|peer| assert!(bed.accept(&peer).is_some()));
        assert_eq!(bed.connections.refused, 10);
        assert!(bed.connections.len() == 10 && bed.connections.unchecked.len() == 6);
        assert!(bed.closed().iter().all(|id| *id > 8), "never one that passed a check");
    }

    #[test]
    fn an_address_that_has_enough_takes_no_place_of_another() {
        let mut bed = Bed::new(Limits { unchecked_connections_max: 5, ..LIMITS });
        let other = bed.accept("127.0.0.2:1").unwrap();
        peers(9).for_each(|peer| assert!(bed.accept(&peer).is_some()));
        assert_eq!((bed.connections.refused, bed.connections.len()), (5, 5));
        assert!(!bed.closed().contains(&other.0));
    }
}
