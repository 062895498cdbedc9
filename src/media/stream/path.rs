//! What lies between the legs for one section: the numbering towards the receiver, the gate that
//! waits for a key frame, and the codecs that may pass.

use std::time::{Duration, Instant};

use crate::media::{
    Kind,
    clock::Report,
    continuity::Continuity,
    sdp::{Codec, CodecKind, MediaType},
};

/// What is needed of a format for each packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handling {
    pub(super) kind: CodecKind,
    pub(super) clock_rate: u32,
    pub(super) repairable: bool,
}

/// A payload type that may come in.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) name: String,
    pub(super) handling: Handling,
}

impl Format {
    pub(super) fn of(codec: &Codec) -> Self {
        Self {
            payload_type: codec.payload_type,
            name: codec.name.clone(),
            handling: Handling {
                kind: codec.kind(),
                clock_rate: codec.clock_rate,
                repairable: codec.repair.is_some(),
            },
        }
    }
}

/// Key frame requests become rarer when they are in vain.
const REQUESTS_AT_FULL_PACE: u32 = 30;

/// The pause between requests that are in vain.
const SLOW_REQUEST: Duration = Duration::from_secs(1);

/// The way of one section.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) media: MediaType,
    /// What the client was answered.
    pub(super) formats: Vec<Format>,
    /// What the receiving leg takes now; empty: nothing.
    pub(super) allowed: Vec<u8>,
    /// Payload types as they come in and as they go out, where the upstream has its own.
    pub(super) renumbered: Vec<(u8, u8)>,
    /// Where the receiver is.
    pub(super) sent: Sent,
    /// The SSRC that packets come from.
    source: Option<u32>,
    /// Packets are dropped until a key frame starts.
    pub(super) waiting: bool,
    next_request: Instant,
    requests: u32,
    pub(super) last_type: Option<u8>,
    /// What the sender last reported.
    pub(super) report: Option<Report>,
    /// When a packet last came in, allowed or not.
    pub(super) last_in: Option<Instant>,
    /// A packet (for video: a key frame) went through the upstream leg of now.
    pub(super) flowed: bool,
    /// It did so through any leg.
    pub(super) ever_flowed: bool,
    /// Payload bytes taken in the second that began then.
    window: (Instant, u64),
}

/// What a receiver was sent: what goes on for it where another leg takes over.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) continuity: Continuity,
    /// When a packet last went out, over all legs.
    pub(super) last_out: Option<Instant>,
    /// The next packet that goes out ends a gap.
    pub(super) interrupted: bool,
    /// The timestamp of the key frame last counted.
    pub(super) key_timestamp: Option<u32>,
}

impl Sent {
    /// Numbers start at `random`.
    fn new(random: u16) -> Self {
        let continuity = Continuity::new(random);
        Self { continuity, last_out: None, interrupted: false, key_timestamp: None }
    }
}

impl Path {
    /// Numbers start at `random`.
    pub(super) fn new(media: MediaType, random: u16, now: Instant) -> Self {
        Self {
            media,
            formats: Vec::new(),
            allowed: Vec::new(),
            renumbered: Vec::new(),
            sent: Sent::new(random),
            source: None,
            waiting: media == MediaType::Video,
            next_request: now,
            requests: 0,
            last_type: None,
            report: None,
            last_in: None,
            flowed: false,
            ever_flowed: false,
            window: (now, 0),
        }
    }

    /// The same way through a leg that begins beside this one's: a publisher's packets come in as they
    /// do here, and nothing has come of another upstream. Its receiver has had nothing yet.
    pub(super) fn beside(&self, kind: Kind, now: Instant) -> Self {
        let publishes = kind.is_publish();
        Self {
            formats: self.formats.clone(),
            source: self.source.filter(|_| publishes),
            last_type: self.last_type,
            report: self.report.filter(|_| publishes),
            last_in: self.last_in.filter(|_| publishes),
            ever_flowed: self.ever_flowed,
            window: if publishes { self.window } else { (now, 0) },
            ..Self::new(self.media, 0, now)
        }
    }

    /// What the receiver of another way has had is gone on with here, from a key frame on.
    pub(super) fn take_over(&mut self, kind: Kind, other: &mut Self, now: Instant) {
        match kind {
            // Each upstream has numbers of its own, and this one may have had packets all the while.
            Kind::Publish if self.flowed => {}
            Kind::Publish => {
                self.sent.last_out = other.sent.last_out;
                self.sent.interrupted = true;
            }
            Kind::Play => {
                std::mem::swap(&mut self.sent, &mut other.sent);
                self.sent.continuity.rebase();
                self.sent.interrupted = true;
                self.wait();
                self.next_request = now;
                self.requests = 0;
            }
        }
    }

    /// The upstream takes it, or sends it.
    pub(super) fn is_taken(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// The upstream leg is gone. A player's source went with it; a publisher's receiver did.
    pub(super) fn source_lost(&mut self, kind: Kind) {
        self.flowed = false;
        self.sent.interrupted = true;
        match kind {
            Kind::Publish => self.allowed.clear(),
            Kind::Play => {
                self.source = None;
                self.report = None;
            }
        }
        self.wait();
    }

    /// A new upstream leg is attached. Towards a new receiver numbers start at `random`.
    pub(super) fn attached(&mut self, kind: Kind, random: u16, now: Instant) {
        self.flowed = false;
        match kind {
            // A new receiver, with a new SRTP session: numbered from its own start.
            Kind::Publish => self.sent.continuity = Continuity::new(random),
            Kind::Play => self.sent.continuity.rebase(),
        }
        self.wait();
        self.next_request = now;
        self.requests = 0;
    }

    /// A packet from this source is at hand: is it another one than before?
    pub(super) fn source_is(&mut self, ssrc: u32) {
        if self.source == Some(ssrc) {
            return;
        }
        if self.source.is_some() {
            self.sent.continuity.rebase();
            self.wait();
        }
        self.source = Some(ssrc);
        self.report = None;
    }

    fn wait(&mut self) {
        self.waiting = self.media == MediaType::Video;
    }

    /// Is it time to ask for a key frame?
    pub(super) fn wants_request(&self, now: Instant) -> bool {
        self.waiting && now >= self.next_request
    }

    pub(super) fn requested(&mut self, retry: Duration, now: Instant) {
        self.requests = self.requests.saturating_add(1);
        self.next_request =
            now + if self.requests > REQUESTS_AT_FULL_PACE { retry.max(SLOW_REQUEST) } else { retry };
    }

    /// A key frame request of the receiver may be passed on.
    pub(super) fn may_pass_request(&self, now: Instant) -> bool {
        !self.waiting && now >= self.next_request
    }

    pub(super) const fn key_frame_seen(&mut self) {
        self.waiting = false;
        self.requests = 0;
    }

    /// Is this packet one too many for this second?
    pub(super) fn over_limit(&mut self, bytes: usize, bits_max: u64, now: Instant) -> bool {
        if now.saturating_duration_since(self.window.0) >= Duration::from_secs(1) {
            self.window = (now, 0);
        }
        self.window.1 = self.window.1.saturating_add(bytes as u64);
        bits_max > 0 && self.window.1.saturating_mul(8) > bits_max
    }

    /// The payload type on the other side.
    pub(super) fn payload_type_out(&self, payload_type: u8) -> u8 {
        self.renumbered.iter().find(|(from, _)| *from == payload_type).map_or(payload_type, |(_, to)| *to)
    }

    pub(super) fn format(&self, payload_type: u8) -> Option<&Format> {
        self.formats.iter().find(|f| f.payload_type == payload_type)
    }
}
