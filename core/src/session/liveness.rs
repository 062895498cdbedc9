//! Pings towards the client, silence of the upstream, and proofs of life between sessions
//! (protocol S6, rules R7 and R12).

use std::time::Duration;

use crate::{settings::Takeover, signaling::synthetic};

use super::{
    Close, Event, Identity, LossCause, Mail, Output, SessionId, Timestamp,
    core::Session,
    state::{Link, Stage},
};

/// While the server pings by itself we only step in when its ping is late by this much.
const PING_GRACE: Duration = Duration::from_millis(1_000);

impl Session {
    pub(super) fn client_heard(&mut self) {
        let asked = self.client.life.heard();
        self.judge_silent_legs();
        for (name, asker) in asked {
            self.kept.touch();
            self.outputs.push(Output::Post(asker, Mail::Proven { name: name.into(), alive: true }));
        }
    }

    pub(super) fn upstream_heard(&mut self) {
        let silence = self.upstream.silence.heard(self.now);
        if self.is_up() && silence > self.settings.restore.ice_patience {
            self.report_streams_that_outlived_ice();
        }
    }

    /// When a JSON ping is due: at the server's pace while it pings, at ours when it does not.
    pub(super) fn ping_deadline(&self) -> Option<Timestamp> {
        if matches!(self.link, Link::First) {
            return None;
        }
        let grace = if self.is_up() { PING_GRACE } else { Duration::ZERO };
        self.client.life.ping_deadline(&self.settings.keepalive, grace)
    }

    pub(super) fn run_ping_timer(&mut self) {
        if self.is_due(self.ping_deadline()) {
            self.say_to_client(synthetic::ping());
            self.count_ping();
        }
    }

    /// A ping goes to the client; none answered for too long ends the session. What counts is time:
    /// a server may ping as often as it likes.
    pub(super) fn count_ping(&mut self) {
        self.client.life.pinged(self.now);
        if self.is_due(self.patience_deadline()) {
            self.client_is_dead("pings unanswered");
        }
    }

    /// When a client that goes on answering no ping is gone.
    pub(super) fn patience_deadline(&self) -> Option<Timestamp> {
        self.client.life.patience_deadline(&self.settings.keepalive)
    }

    pub(super) fn run_patience_timer(&mut self) {
        if self.is_due(self.patience_deadline()) {
            self.client_is_dead("pings unanswered");
        }
    }

    fn client_is_dead(&mut self, reason: &'static str) {
        self.event(Event::ClientDead { reason });
        self.end(Some(Close::Abort), Close::NoCode);
    }

    pub(super) fn upstream_ping(&mut self) {
        self.say_upstream(synthetic::pong());
        if self.is_up() {
            self.outputs.push(Output::ForwardToClient);
            self.count_ping();
        }
    }

    fn silence_watched(&self) -> bool {
        match self.link {
            Link::Up => true,
            Link::Down(outage) => !matches!(outage.stage, Stage::Waiting { .. } | Stage::Dialing),
            _ => false,
        }
    }

    pub(super) fn silence_deadline(&self) -> Option<Timestamp> {
        if !self.silence_watched() {
            return None;
        }
        self.upstream.silence.deadline(&self.settings.keepalive)
    }

    pub(super) fn run_silence_timer(&mut self) {
        if !self.is_due(self.silence_deadline()) {
            return;
        }
        if self.is_due(self.upstream.silence.lost_at(&self.settings.keepalive)) {
            self.outputs.push(Output::CloseUpstream(self.epoch, Close::Abort));
            self.upstream_lost(LossCause::Silent);
        } else if self.upstream.silence.probe() {
            self.outputs.push(Output::PingUpstream);
        }
    }

    pub(super) fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::NameSettled(name) => self.name_settled(&name),
            Mail::ProveAlive { name, asker, identity } => self.prove_alive(&name, asker, identity),
            Mail::Proven { name, alive } => self.proven(&name, alive),
            Mail::MediaSocketFlows(epoch) if epoch == self.epoch => self.media_socket_flows(),
            Mail::MediaSocketFlows(_) => {}
        }
    }

    /// Another session's client wants a name that our client publishes (rule R7). Whoever is not the
    /// same client hears that it is taken, whatever became of ours: the vendor's patience with silent
    /// clients is the only one that ends it then.
    fn prove_alive(&mut self, name: &str, asker: SessionId, identity: Identity) {
        let bound = self.settings.bounds.pending_requests_max;
        let entitled = match self.settings.restore.takeover {
            Takeover::SameClient => identity == self.identity(),
            Takeover::Anybody => true,
            Takeover::Never => false,
        };
        let (fits, holds) = (self.may_keep_id(name).is_ok(), self.holds_name(name));
        if !fits || !entitled || !holds || self.client.life.askers() >= bound {
            self.outputs.push(Output::Post(asker, Mail::Proven { name: name.into(), alive: holds }));
            return;
        }
        let until = self.now + self.settings.restore.prove_alive;
        if self.client.life.ask(name, asker, self.now, until) {
            self.say_to_client(synthetic::ping());
            self.outputs.push(Output::PingClient);
        }
    }

    pub(super) fn run_proof_timer(&mut self) {
        if self.is_due(self.client.life.proof_deadline()) {
            self.client_is_dead("another session wants its stream name");
        }
    }

    fn holds_name(&self, name: &str) -> bool {
        self.ledger.streams.iter().any(|stream| stream.kind().is_publish() && stream.name() == name)
    }
}
