//! Whether the client and the upstream are alive, by what was heard of them and when (protocol S6, rules R7
//! and R12). Keeps the times and says when something is due; what is then done is in [`super::liveness`].

use std::time::Duration;

use crate::settings::KeepaliveSettings;

use super::{Evidence, SessionId, Timestamp, kept::texts, time::after};

/// The client's pings, and who asked whether it is alive.
#[derive(Debug)]
pub(super) struct ClientLife {
    /// Last ping that went to it.
    last_ping: Timestamp,
    /// When the first ping went to it that it has not answered.
    unanswered_since: Option<Timestamp>,
    /// Sessions that asked, and for which name; they wait until `proof_until`.
    askers: Vec<(Box<str>, SessionId)>,
    proof_until: Option<Timestamp>,
}

impl ClientLife {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { last_ping: now, unanswered_since: None, askers: Vec::new(), proof_until: None }
    }

    /// It said something: whoever asked is to hear that it is alive.
    pub(super) fn heard(&mut self) -> Vec<(Box<str>, SessionId)> {
        self.unanswered_since = None;
        if self.proof_until.take().is_some() { std::mem::take(&mut self.askers) } else { Vec::new() }
    }

    /// A ping goes to it, which it has to answer.
    pub(super) fn pinged(&mut self, now: Timestamp) {
        self.last_ping = now;
        self.unanswered_since.get_or_insert(now);
    }

    /// When the next ping is due; `None` if the settings want none.
    pub(super) fn ping_deadline(&self, keepalive: &KeepaliveSettings, grace: Duration) -> Option<Timestamp> {
        after(self.last_ping, keepalive.ping_period).map(|at| at + grace)
    }

    /// When a client that goes on answering no ping is gone.
    pub(super) fn patience_deadline(&self, keepalive: &KeepaliveSettings) -> Option<Timestamp> {
        let patience = keepalive.ping_period.saturating_mul(keepalive.missing_pings);
        after(self.unanswered_since?, patience)
    }

    /// Another session asks for a sign of life. True if the client is to be asked for one now: that is
    /// a ping, too, but its silence is judged by `until`.
    pub(super) fn ask(&mut self, name: &str, asker: SessionId, now: Timestamp, until: Timestamp) -> bool {
        self.askers.push((name.into(), asker));
        if self.proof_until.is_some() {
            return false;
        }
        self.proof_until = Some(until);
        self.last_ping = now;
        true
    }

    /// When those who asked have waited long enough.
    pub(super) const fn proof_deadline(&self) -> Option<Timestamp> {
        self.proof_until
    }

    /// How many asked.
    pub(super) fn askers(&self) -> usize {
        self.askers.len()
    }

    /// Those who asked, who will hear nothing of it any more.
    pub(super) fn take_askers(&mut self) -> Vec<(Box<str>, SessionId)> {
        std::mem::take(&mut self.askers)
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        texts(self.askers.iter().map(|(name, _)| name))
    }
}

/// The silence of the upstream of an epoch.
#[derive(Debug)]
pub(super) struct Silence {
    /// Last byte from it.
    last_heard: Timestamp,
    /// When a probe went out for the present silence.
    asked_at: Option<Timestamp>,
    /// That the probe was not answered in time was told, so that other evidence is looked for.
    is_doubted: bool,
    /// When the connection is lost by that evidence, unless it is heard before.
    condemned_at: Option<Timestamp>,
}

impl Silence {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { last_heard: now, asked_at: None, is_doubted: false, condemned_at: None }
    }

    /// It said something; how long it had not.
    pub(super) const fn heard(&mut self, now: Timestamp) -> Duration {
        let silence = now.since(self.last_heard);
        *self = Self::new(now);
        silence
    }

    /// Whether a probe goes out now: one per silence.
    pub(super) const fn probe(&mut self, now: Timestamp) -> bool {
        let is_first = self.asked_at.is_none();
        if is_first {
            self.asked_at = Some(now);
        }
        is_first
    }

    /// Whether it is time to look for other evidence: once per silence.
    pub(super) fn doubt(&mut self, keepalive: &KeepaliveSettings, now: Timestamp) -> bool {
        let is_due = self.doubt_at(keepalive).is_some_and(|at| at <= now);
        self.is_doubted |= is_due;
        is_due
    }

    fn doubt_at(&self, keepalive: &KeepaliveSettings) -> Option<Timestamp> {
        let asked_at = self.asked_at.filter(|_| !self.is_doubted)?;
        after(asked_at, keepalive.probe_answer)
    }

    /// What was found out by asking its node anew. It counts for the silence it was looked for, no other.
    pub(super) fn judge(&mut self, evidence: Evidence, keepalive: &KeepaliveSettings, now: Timestamp) {
        if !self.is_doubted {
            return;
        }
        self.condemned_at = match evidence {
            Evidence::NodeSilent => Some(now),
            Evidence::NodeAnswers => after(self.last_heard, keepalive.stale_silence),
            Evidence::None => self.condemned_at,
        };
    }

    /// When it is to be probed, doubted or lost, whichever is first.
    pub(super) fn deadline(&self, keepalive: &KeepaliveSettings) -> Option<Timestamp> {
        let probe_after = keepalive.ping_period.saturating_mul(keepalive.probe_missed_pings);
        let probe = if self.asked_at.is_some() { None } else { after(self.last_heard, probe_after) };
        self.lost_at(keepalive).into_iter().chain(probe).chain(self.doubt_at(keepalive)).min()
    }

    /// When it is lost; `None` if the settings know no such time, and nothing speaks against it.
    pub(super) fn lost_at(&self, keepalive: &KeepaliveSettings) -> Option<Timestamp> {
        after(self.last_heard, keepalive.upstream_silence).into_iter().chain(self.condemned_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_000);

    fn keepalive() -> KeepaliveSettings {
        KeepaliveSettings::default()
    }

    #[test]
    fn patience_begins_with_the_first_ping_that_is_not_answered() {
        let (mut life, settings) = (ClientLife::new(START), keepalive());
        assert_eq!(life.patience_deadline(&settings), None);
        life.pinged(START);
        life.pinged(START + settings.ping_period);
        assert_eq!(life.patience_deadline(&settings), Some(START + settings.ping_period * 10));
        assert_eq!(life.ping_deadline(&settings, Duration::ZERO), Some(START + settings.ping_period * 2));
        assert!(life.heard().is_empty(), "nobody asked");
        assert_eq!(life.patience_deadline(&settings), None);
    }

    #[test]
    fn one_sign_of_life_answers_all_who_asked() {
        let (mut life, until) = (ClientLife::new(START), START + Duration::from_secs(2));
        assert!(life.ask("cam", SessionId(2), START, until));
        assert!(!life.ask("cam", SessionId(3), START, START + Duration::from_secs(9)), "it was asked");
        assert_eq!(life.proof_deadline(), Some(until), "the first who asked sets the time");
        assert_eq!(life.heard(), [("cam".into(), SessionId(2)), ("cam".into(), SessionId(3))]);
        assert_eq!((life.proof_deadline(), life.askers(), life.bytes()), (None, 0, 0));
    }

    #[test]
    fn a_silence_is_probed_once_and_then_a_loss() {
        let (mut silence, settings) = (Silence::new(START), keepalive());
        assert_eq!(silence.deadline(&settings), Some(START + settings.ping_period * 2));
        assert!(silence.probe(START) && !silence.probe(START));
        let doubt = START + settings.probe_answer;
        assert_eq!(silence.deadline(&settings), Some(doubt));
        assert!(!silence.doubt(&settings, START) && silence.doubt(&settings, doubt));
        assert!(!silence.doubt(&settings, doubt), "once per silence");
        assert_eq!(silence.deadline(&settings), Some(START + settings.upstream_silence));
        let heard = START + Duration::from_secs(12);
        assert_eq!(silence.heard(heard), Duration::from_secs(12));
        assert!(silence.probe(START), "a new silence, a new probe");
        let off = KeepaliveSettings {
            upstream_silence: Duration::ZERO,
            probe_answer: Duration::ZERO,
            ..keepalive()
        };
        assert_eq!((silence.deadline(&off), silence.lost_at(&off)), (None, None));
    }
}
