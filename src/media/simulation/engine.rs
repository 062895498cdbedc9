//! ICE, DTLS and SRTP by the simulation's word: real checks, a handshake of one message each way,
//! and packets that are authentic if they bear the right seal.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use str0m::{
    Candidate,
    bwe::Bitrate,
    crypto::CryptoProvider,
    media::Mid,
    net::{Protocol, Transmit},
};

use super::wire::{self, Checked, Feedback, Rtp};
use crate::media::{
    demux::{Datagram, classify},
    engine::{Engine, EngineEvent, Engines, Incoming, Media, Step},
    resend::Packet,
    routes::Origin,
    sdp::Credentials,
    transport::{TransportError, TransportSpec},
};

/// The key of the first engine; the next have the next. Peers have lower ones.
pub(super) const FIRST_KEY: u64 = 1_000_000_000;

const CHECK_PACE: Duration = Duration::from_millis(200);
const HELLO_PACE: Duration = Duration::from_millis(100);
/// Time without an answer after which ICE gives up.
const PATIENCE: Duration = Duration::from_secs(8);
/// How far back a replay is told (as SRTP does with a window).
const REPLAY_WINDOW: u64 = 512;

/// What the world knows of an engine; which it is says its place.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// The name of its peer.
    pub(super) peer: String,
}

/// Makes engines, each with a key of its own.
pub(super) struct SimEngines {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) made: Arc<Mutex<Vec<Made>>>,
}

impl Engines for SimEngines {
    fn make(
        &mut self,
        spec: &TransportSpec<'_>,
        now: Instant,
    ) -> Result<Box<dyn Engine + Send>, TransportError> {
        let mut made = self.made.lock();
        let key = FIRST_KEY + made.len() as u64;
        made.push(Made { peer: spec.remote_credentials.ufrag.clone() });
        let sends = spec.media.iter().filter_map(|m| Some((m.send?.main, m.mid)));
        Ok(Box::new(SimEngine {
            key,
            theirs: None,
            lite: spec.ice_lite,
            ours: spec.local_credentials.clone(),
            peer: spec.remote_credentials.clone(),
            active: spec.dtls_active,
            local: spec.local.first().copied().unwrap_or(([127, 0, 0, 1], 9).into()),
            dialed: spec.dialed.iter().map(|dialed| dialed.local).collect(),
            remotes: spec.remote_candidates.iter().map(Origin::of).collect(),
            selected: None,
            answered: now,
            receives: HashMap::new(),
            sends: sends.collect(),
            seen: HashMap::new(),
            steps: VecDeque::new(),
            next_check: now,
            next_hello: now,
            crypto: self.crypto.clone(),
        }))
    }
}

struct SimEngine {
    /// Seals what is sent.
    key: u64,
    /// Seals what is taken.
    theirs: Option<u64>,
    lite: bool,
    ours: Credentials,
    peer: Credentials,
    active: bool,
    local: SocketAddr,
    /// Our ends of connections.
    dialed: Vec<SocketAddr>,
    remotes: Vec<Origin>,
    /// Our end and theirs of the way that was chosen.
    selected: Option<(SocketAddr, Origin)>,
    answered: Instant,
    /// By source, with that of its retransmissions.
    receives: HashMap<u32, Option<u32>>,
    sends: HashMap<u32, Mid>,
    /// By source, the last numbers: none is taken twice.
    seen: HashMap<u32, BTreeSet<u64>>,
    steps: VecDeque<Step>,
    next_check: Instant,
    next_hello: Instant,
    crypto: Arc<CryptoProvider>,
}

impl SimEngine {
    fn send_to(&mut self, source: SocketAddr, to: Origin, bytes: Vec<u8>) {
        let (proto, destination) = (to.protocol(), to.address);
        let transmit = Transmit { proto, source, destination, contents: bytes.into() };
        self.steps.push_back(Step::Transmit(transmit));
    }

    /// All ways to a peer of which none was chosen: in TCP from each end, as nobody says which is whose.
    fn ways(&self) -> Vec<(SocketAddr, Origin)> {
        let ends = |to: &Origin| if to.tcp { self.dialed.clone() } else { vec![self.local] };
        self.remotes.iter().flat_map(|to| ends(to).into_iter().map(|from| (from, *to))).collect()
    }

    /// To the peer; where that is is decided above for clients.
    fn send(&mut self, bytes: Vec<u8>) {
        let anywhere = (self.local, Origin::udp(([192, 0, 2, 1], 9).into()));
        if let Some((from, to)) = self.selected.or(self.lite.then_some(anywhere)) {
            self.send_to(from, to, bytes);
        }
    }

    fn handshake(&mut self, bytes: &[u8]) {
        if let Some(key) = wire::ended(bytes).filter(|key| self.theirs == Some(*key)) {
            self.theirs = Some(key);
            self.steps.push_back(Step::Event(EngineEvent::Closed));
            return;
        }
        let Some(key) = wire::heard(bytes, &self.ours.password) else { return };
        if !self.lite && self.selected.is_none() {
            // ICE goes first.
            return;
        }
        if self.theirs.is_none() {
            self.theirs = Some(key);
            self.steps.push_back(Step::Event(EngineEvent::Connected));
        }
        if !self.active && self.theirs == Some(key) {
            self.send(wire::hello(self.key, &self.peer.password));
        }
    }

    fn rtp(&mut self, bytes: &[u8]) -> bool {
        let Some(rtp) = Rtp::decode(bytes).filter(|rtp| self.theirs == Some(rtp.key)) else { return false };
        // Nothing is known of a source that nobody listens to.
        let is_repair = self.receives.values().any(|repair| *repair == Some(rtp.ssrc));
        if !self.receives.contains_key(&rtp.ssrc) && !is_repair {
            return false;
        }
        let seen = self.seen.entry(rtp.ssrc).or_default();
        let oldest = seen.last().map_or(0, |last| last.saturating_sub(REPLAY_WINDOW));
        if rtp.sequence < oldest || !seen.insert(rtp.sequence) {
            return false;
        }
        *seen = seen.split_off(&oldest);
        if !is_repair {
            self.steps.push_back(Step::Event(EngineEvent::Media(Media {
                ssrc: rtp.ssrc,
                payload_type: rtp.payload_type,
                sequence: rtp.sequence,
                timestamp: rtp.timestamp,
                marker: rtp.marker,
                extensions: Default::default(),
                payload: rtp.payload.into(),
                report: None,
            })));
        }
        true
    }

    fn feedback(&mut self, bytes: &[u8]) -> bool {
        let Some((feedback, key)) = Feedback::decode(bytes) else { return false };
        if self.theirs != Some(key) {
            return false;
        }
        let event = match feedback {
            Feedback::KeyFrame { ssrc } => self.sends.get(&ssrc).map(|mid| EngineEvent::KeyFrameWanted(*mid)),
            Feedback::Again { ssrc, lost } => Some(EngineEvent::Again { ssrc, lost: vec![lost] }),
            Feedback::Nothing => None,
        };
        self.steps.extend(event.map(Step::Event));
        true
    }
}

impl Engine for SimEngine {
    fn receive(&mut self, datagram: Incoming<'_>, now: Instant) -> Result<bool, TransportError> {
        let bytes = datagram.bytes;
        let from = Origin { address: datagram.source, tcp: datagram.protocol == Protocol::Tcp };
        match classify(bytes) {
            Datagram::Rtp { .. } => return Ok(self.rtp(bytes)),
            Datagram::Rtcp => return Ok(self.feedback(bytes)),
            Datagram::Dtls => self.handshake(bytes),
            Datagram::StunRequest { .. } | Datagram::StunOther if !self.lite => {
                match wire::checked(bytes, datagram.source, &self.ours, &self.peer, &self.crypto) {
                    Some(Checked::Check { answer }) => self.send_to(datagram.local, from, answer),
                    Some(Checked::Answer) => {
                        self.selected.get_or_insert((datagram.local, from));
                        self.answered = now;
                    }
                    None => {}
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn accepts(&mut self, datagram: Incoming<'_>, _: Instant) -> bool {
        wire::checked(datagram.bytes, datagram.source, &self.ours, &self.peer, &self.crypto).is_some()
    }

    fn timeout(&mut self, now: Instant) -> Result<(), TransportError> {
        if !self.lite && now >= self.next_check {
            self.next_check = now + CHECK_PACE;
            let check = wire::check(&self.ours, &self.peer, true, &self.crypto);
            let ways = self.selected.map_or_else(|| self.ways(), |selected| vec![selected]);
            ways.into_iter().for_each(|(from, to)| self.send_to(from, to, check.clone()));
            if now.saturating_duration_since(self.answered) > PATIENCE {
                self.answered = now;
                self.steps.push_back(Step::Event(EngineEvent::Disconnected));
            }
        }
        if self.active && self.theirs.is_none() && now >= self.next_hello {
            self.next_hello = now + HELLO_PACE;
            self.send(wire::hello(self.key, &self.peer.password));
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant) -> Result<Step, TransportError> {
        Ok(self.steps.pop_front().unwrap_or_else(|| {
            let check = if self.lite { now + CHECK_PACE } else { self.next_check };
            let shakes = self.active && self.theirs.is_none();
            Step::Timeout(if shakes { check.min(self.next_hello) } else { check })
        }))
    }

    fn set_credentials(&mut self, ours: &Credentials) {
        self.ours = ours.clone();
    }

    fn add_local(&mut self, candidate: Candidate) {
        if candidate.proto() == Protocol::Tcp {
            self.dialed.push(candidate.addr());
        } else {
            self.local = candidate.addr();
        }
    }

    fn add_remote(&mut self, candidate: Candidate) {
        self.remotes.push(Origin::of(&candidate));
    }

    fn expect(&mut self, ssrc: u32, repair: Option<u32>, _: Mid, _: bool) {
        let known = self.receives.entry(ssrc).or_default();
        *known = repair.or(*known);
    }

    fn repair_of(&mut self, ssrc: u32) -> Option<u32> {
        self.receives.get(&ssrc).copied().flatten()
    }

    fn forget(&mut self, ssrc: u32) {
        self.receives.remove(&ssrc);
    }

    fn write(&mut self, ssrc: u32, packet: Packet) -> bool {
        if !self.sends.contains_key(&ssrc) {
            return false;
        }
        let rtp = Rtp {
            payload_type: *packet.payload_type,
            marker: packet.marker,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc,
            key: self.key,
            payload: packet.payload.to_vec(),
        };
        self.send(rtp.encode());
        true
    }

    fn request_key_frame(&mut self, ssrc: u32) -> bool {
        let known = self.receives.contains_key(&ssrc);
        if known {
            self.send(Feedback::KeyFrame { ssrc }.encode(self.key));
        }
        known
    }

    fn request_bitrate(&mut self, ssrc: u32, _: Bitrate) -> bool {
        self.receives.contains_key(&ssrc)
    }

    fn close(&mut self) {
        if self.theirs.is_some() {
            self.send(wire::goodbye(self.key));
        }
    }
}
