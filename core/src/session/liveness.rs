//! Pings towards the client, silence of the upstream, and proofs of life between sessions
//! (protocol S6, rules R7 and R12).

use std::time::Duration;

use crate::{settings::Takeover, signaling::synthetic};

use super::{
    Close, Event, Identity, LossCause, Mail, Output, SessionId, Timestamp,
    core::{Lent, Session},
    directory::Directory,
    link::Link,
    timers::Timer,
};

/// While the server pings by itself we only step in when its ping is late by this much.
const PING_GRACE: Duration = Duration::from_millis(1_000);

impl Session {
    pub(super) fn client_heard(&mut self, directory: &mut dyn Directory) {
        let asked = self.client.life.heard();
        self.timers.set(Timer::Patience, None);
        if self.streams.table.has_silent_leg() {
            let Lent { streams, mut ctx, .. } = self.lend(directory);
            streams.judge_silent_legs(&mut ctx);
        }
        for (name, asker) in asked {
            self.kept.touch();
            self.out.push(Output::Post(asker, Mail::Proven { name: name.into(), alive: true }));
        }
    }

    pub(super) fn upstream_heard(&mut self, directory: &mut dyn Directory) {
        let silence = self.upstream.silence.heard(self.now);
        let deadline = self.upstream.silence_deadline(self.link, &self.settings.keepalive);
        self.timers.set(Timer::Silence, deadline);
        if self.link.is_up() && silence > self.settings.restore.ice_patience {
            let Lent { streams, mut ctx, .. } = self.lend(directory);
            streams.report_what_outlived_ice(&mut ctx);
        }
    }

    /// When a JSON ping is due: at the server's pace while it pings, at ours when it does not.
    pub(super) fn ping_deadline(&self) -> Option<Timestamp> {
        if matches!(self.link, Link::First) {
            return None;
        }
        let grace = if self.link.is_up() { PING_GRACE } else { Duration::ZERO };
        self.client.life.ping_deadline(&self.settings.keepalive, grace)
    }

    /// A ping goes to the client; none answered for too long ends the session. What counts is time:
    /// a server may ping as often as it likes.
    pub(super) fn count_ping(&mut self, directory: &mut dyn Directory) {
        self.client.life.pinged(self.now);
        self.timers.set(Timer::Ping, self.ping_deadline());
        self.timers.set(Timer::Patience, self.client.life.patience_deadline(&self.settings.keepalive));
        if self.is_due(self.client.life.patience_deadline(&self.settings.keepalive)) {
            self.client_is_dead("pings unanswered", directory);
        }
    }

    pub(super) fn run_client_timers(&mut self, directory: &mut dyn Directory) {
        if self.is_due(self.ping_deadline()) {
            self.out.say_to_client(synthetic::ping());
            self.count_ping(directory);
        }
        if self.is_due(self.client.life.patience_deadline(&self.settings.keepalive)) {
            self.client_is_dead("pings unanswered", directory);
        }
        if self.is_due(self.client.life.proof_deadline()) {
            self.client_is_dead("another session wants its stream name", directory);
        }
    }

    fn client_is_dead(&mut self, reason: &'static str, directory: &mut dyn Directory) {
        self.out.event(Event::ClientDead { reason });
        self.end(Some(Close::Abort), Close::NoCode, directory);
    }

    pub(super) fn upstream_ping(&mut self, directory: &mut dyn Directory) {
        self.out.say_upstream(synthetic::pong());
        if self.link.is_up() {
            self.out.forward_to_client();
            self.count_ping(directory);
        }
    }

    pub(super) fn run_silence_timer(&mut self, directory: &mut dyn Directory) {
        if !self.is_due(self.upstream.silence_deadline(self.link, &self.settings.keepalive)) {
            return;
        }
        if self.is_due(self.upstream.silence.lost_at(&self.settings.keepalive)) {
            self.out.push(Output::CloseUpstream(self.upstream.epoch, Close::Abort));
            self.upstream_lost(LossCause::Silent, directory);
        } else if self.upstream.silence.doubt(&self.settings.keepalive, self.now) {
            self.out.push(Output::UpstreamDoubtful(self.upstream.epoch));
        } else {
            self.upstream.ask(self.now, &mut self.out);
        }
    }

    pub(super) fn mail(&mut self, mail: Mail, directory: &mut dyn Directory) {
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        match mail {
            Mail::NameSettled(name) => streams.name_settled(&mut ctx, &name),
            Mail::RoomSettled(room) => self.moving.room_is_settled(room),
            Mail::ProveAlive { name, asker, identity } => self.prove_alive(&name, asker, identity, directory),
            Mail::Proven { name, alive } => streams.proven(&mut ctx, &name, alive),
            Mail::MediaSocketFlows(epoch) if epoch == ctx.upstream.epoch => {
                streams.media_socket_flows(&mut ctx)
            }
            Mail::MediaSocketFlows(_) => {}
        }
    }

    /// Another session's client wants a name that our client publishes (rule R7). Whoever is not the
    /// same client hears that it is taken, whatever became of ours: the vendor's patience with silent
    /// clients is the only one that ends it then.
    fn prove_alive(
        &mut self,
        name: &str,
        asker: SessionId,
        identity: Identity,
        directory: &mut dyn Directory,
    ) {
        let bound = self.settings.bounds.pending_requests_max;
        let entitled = match self.settings.restore.takeover {
            Takeover::SameClient => identity == self.client.identity,
            Takeover::Anybody => true,
            Takeover::Never => false,
        };
        let holds = self.streams.table.publishes_as(name);
        let fits = self.lend(directory).ctx.may_keep_id(name).is_ok();
        if !fits || !entitled || !holds || self.client.life.askers() >= bound {
            self.out.push(Output::Post(asker, Mail::Proven { name: name.into(), alive: holds }));
            return;
        }
        let until = self.now + self.settings.restore.prove_alive;
        if self.client.life.ask(name, asker, self.now, until) {
            self.out.say_to_client(synthetic::ping());
            self.out.push(Output::PingClient);
        }
    }
}
