//! The way back after the loss of an upstream: backoff, dial, `connection`, then the client's
//! intents in the order of rule R5.

use std::time::Duration;

use crate::{
    settings::RestoreSettings,
    signaling::{
        peek, synthetic,
        view::{Connection, Fail},
    },
};

use super::{
    Close, DialError, Event, LossCause, NodeId, Output, Timestamp,
    attempts::Attempts,
    backoff,
    core::{Lent, Session},
    directory::Directory,
    link::{Link, Outage, Stage},
    packed::Packed,
    random::Random,
    state::Upstream,
    streams::Streams,
};

impl Session {
    pub(super) fn upstream_lost(&mut self, cause: LossCause, directory: &mut dyn Directory) {
        let returns = self.moving.is_under_way();
        self.moving.node_is_gone();
        self.return_from_move("a connection was lost meanwhile", directory);
        if returns {
            // It was the new one.
            return;
        }
        self.let_go(directory);
        // A server that refused the client and then closes means it; and restoring may be off.
        let closes = self.client.refused || !self.settings.restore.connection;
        match self.link {
            // The client's socket ends as the upstream's did.
            Link::Up | Link::First if closes => self.end(Some(cause.as_close()), Close::Abort, directory),
            Link::Up | Link::First => self.begin_outage(cause, directory),
            Link::Down(outage) => {
                let error = DialError::Unreachable(format!("the connection ended: {cause:?}"));
                if matches!(outage.stage, Stage::Resuming { .. }) {
                    self.attempts.resume_refused = true;
                }
                self.attempts.answered(false);
                let event = Event::AttemptFailed { tries: self.attempts.tries, error };
                self.try_failed(event, None, directory);
            }
            Link::PassedThrough | Link::Ended => {}
        }
    }

    fn begin_outage(&mut self, cause: LossCause, directory: &mut dyn Directory) {
        let stayed = self.now.since(self.upstream.established_at) >= self.settings.restore.stable_after;
        self.attempts.lost(stayed);
        // The very first loss is always followed by a try at once.
        let failures = if self.upstream.epoch.is_first() { 0 } else { self.attempts.failures };
        let until = self.now + wait_after(failures, &self.settings.restore, &mut self.random);
        self.link = Link::Down(Outage { since: self.now, stage: Stage::Waiting { until } });
        self.restart.disarm();
        if let Some(token) = self.client.token.clone() {
            let epoch = self.upstream.epoch;
            self.out.push(Output::RouteMediaSockets { token, epoch, upstream_token: None });
        }
        let Lent { calls, mut ctx, .. } = self.lend(directory);
        ctx.answer_all_lost();
        calls.finish(&mut ctx);
        self.lend(directory).lose_upstream();
        let streams = self.streams.table.len();
        self.out.event(Event::UpstreamLost { cause, streams });
        if self.attempts.are_used_up(&self.settings.restore) {
            return self.give_up("no connection lasted".to_owned(), directory);
        }
        if until <= self.now {
            self.dial(directory);
        }
    }

    fn dial(&mut self, directory: &mut dyn Directory) {
        let Lent { rooms, streams, ctx, .. } = self.lend(directory);
        let toward = rooms.place(&ctx).or_else(|| streams.table.place(&ctx));
        let Link::Down(outage) = &mut self.link else { return };
        outage.stage = Stage::Dialing;
        self.attempts.dial();
        self.upstream.epoch = self.moving.epoch_after(self.upstream.epoch);
        let priority = self.streams.priority();
        self.out.push(Output::Dial { epoch: self.upstream.epoch, priority, toward });
    }

    /// Ends the wait of a session if the news is believed: of one that could not reach its node, that a node
    /// answers; of one that was refused, that its path is open again.
    pub(super) fn hear_news(
        &mut self,
        believe: impl FnOnce(&mut Attempts, &RestoreSettings, Timestamp) -> bool,
        directory: &mut dyn Directory,
    ) {
        if self.link.is_waiting() && believe(&mut self.attempts, &self.settings.restore, self.now) {
            self.dial(directory);
        }
    }

    pub(super) fn dial_failed(&mut self, error: DialError, directory: &mut dyn Directory) {
        if self.link.outage().is_none() {
            return;
        }
        // The upstream knows this client and does not want it: the same as a refused `connection`.
        if let DialError::Refused(status @ (401 | 403)) | DialError::Busy(status @ (401 | 403), _) = error {
            let reason = format!("the upstream refused the handshake with status {status}");
            return self.give_up(reason, directory);
        }
        self.attempts.answered(!matches!(error, DialError::Unreachable(_)));
        let told = if let DialError::Busy(_, wait) = error { Some(wait) } else { None };
        if told.is_some() {
            self.attempts.told_when();
        }
        let event = Event::AttemptFailed { tries: self.attempts.tries, error };
        self.try_failed(event, told, directory);
    }

    /// One try is over; the next waits for its backoff, and for as long as the node asked (within a
    /// bound), or there is none.
    fn try_failed(&mut self, event: Event, told: Option<Duration>, directory: &mut dyn Directory) {
        if self.link.outage().is_none() {
            return;
        }
        self.out.event(event);
        if self.attempts.are_used_up(&self.settings.restore) {
            return self.give_up("no try succeeded".to_owned(), directory);
        }
        self.attempts.failed();
        let told = told.unwrap_or_default().min(self.settings.restore.retry_after_max);
        let until =
            self.now + told + wait_after(self.attempts.failures, &self.settings.restore, &mut self.random);
        self.lend(directory).lose_upstream();
        self.link.set_stage(Stage::Waiting { until });
    }

    /// The kept session is not there any more: the client's own `connection` goes out next, on a
    /// new socket (rule R8).
    pub(super) fn resume_came_to_nothing(&mut self, info: &str, directory: &mut dyn Directory) {
        self.attempts.resume_refused = true;
        self.abandon_try(info, directory);
    }

    /// Ends a try whose connection stands but is of no use.
    pub(super) fn abandon_try(&mut self, info: &str, directory: &mut dyn Directory) {
        if self.link.outage().is_none() {
            return;
        }
        self.out.push(Output::CloseUpstream(self.upstream.epoch, Close::NoCode));
        let tries = self.attempts.tries;
        let event = Event::ReplayRefused { tries, info: info.to_owned(), retry: true };
        self.attempts.answered(true);
        self.try_failed(event, None, directory);
    }

    /// Rule R10: everything is reported, then the socket ends as a dying server ends it.
    pub(super) fn give_up(&mut self, reason: String, directory: &mut dyn Directory) {
        let tries = self.attempts.tries_of(self.link);
        self.out.event(Event::GaveUp { reason, tries });
        self.lend(directory).report_everything();
        self.end(Some(Close::Code(1001)), Close::NoCode, directory);
    }

    pub(super) fn upstream_opened(&mut self, node: NodeId, directory: &mut dyn Directory) {
        if self.link.outage().is_none() {
            return;
        }
        self.upstream = Upstream::opened((self.upstream.epoch, node), self.upstream.token.take(), self.now);
        let Some(connection) = self.client.connection.as_ref().map(Packed::unpack) else {
            // The first words of the client find this upstream.
            self.link = Link::First;
            return self.hear_first_words(directory);
        };
        let resume = self.client.keep_alive && self.client.established && !self.attempts.resume_refused;
        if let (true, Some(token)) = (resume, &self.upstream.token) {
            let message = resuming(&connection, token);
            self.upstream.resumed = true;
            self.link.set_stage(Stage::Resuming { until: self.now + self.settings.restore.resume_wait });
            self.out.say_upstream(message);
        } else {
            self.link.set_stage(Stage::Connecting { until: self.now + self.settings.restore.answer_timeout });
            self.out.say_upstream(connection);
        }
    }

    /// The server refused the `connection` we repeated (rule R8).
    pub(super) fn session_refused(&mut self, fail: Fail<'_>, directory: &mut dyn Directory) {
        let Some(outage) = self.link.outage() else { return };
        let info = fail.info().unwrap_or_default().into_owned();
        if self.moving.is_under_way() {
            return self.return_from_move(&info, directory);
        }
        if matches!(outage.stage, Stage::Resuming { .. }) {
            return self.resume_came_to_nothing(&info, directory);
        }
        if self.settings.restore.is_transient(&info) {
            return self.abandon_try(&info, directory);
        }
        self.out.event(Event::ReplayRefused { tries: self.attempts.tries, info, retry: false });
        self.lend(directory).report_everything();
        self.out.forward_to_client();
        self.end(Some(Close::Code(1001)), Close::NoCode, directory);
    }

    pub(super) fn run_stage_timer(&mut self, directory: &mut dyn Directory) {
        let Some(outage) = self.link.outage() else { return };
        if !self.is_due(outage.stage.deadline()) {
            return;
        }
        match outage.stage {
            Stage::Waiting { .. } => self.dial(directory),
            Stage::Dialing => {}
            Stage::Resuming { .. } => {
                self.resume_came_to_nothing("no answer to the resume", directory);
            }
            Stage::Connecting { .. } => self.abandon_try("no getUserData", directory),
            Stage::Registering { .. } => self.join_rooms(directory),
            Stage::Joining { .. } => self.restore_streams(directory),
        }
    }

    /// `getUserData` came on the new upstream.
    pub(super) fn session_established(&mut self, directory: &mut dyn Directory) {
        self.lend(directory).clear_kept_session();
        let Lent { streams, ctx, .. } = self.lend(directory);
        streams.put_on_probation(&ctx);
        if self.client.registered && !self.upstream.resumed && !self.upstream.registered {
            let until = self.now + self.settings.restore.answer_timeout;
            self.link.set_stage(Stage::Registering { until });
        } else {
            self.join_rooms(directory);
        }
    }

    /// Repeats every join, then goes on to the streams when all are answered.
    pub(super) fn join_rooms(&mut self, directory: &mut dyn Directory) {
        let Lent { rooms, mut ctx, .. } = self.lend(directory);
        if rooms.join_again(&mut ctx) {
            self.link.set_stage(Stage::Joining { until: self.now + self.settings.restore.answer_timeout });
        } else {
            self.restore_streams(directory);
        }
    }

    /// Goes on to the streams when no repeated join is without its answer.
    pub(super) fn go_on_when_joined(&mut self, directory: &mut dyn Directory) {
        if self.link.is_joining() && self.rooms.all_joined() {
            self.restore_streams(directory);
        }
    }

    /// The last stage: every stream is replayed, put on probation, or told the truth.
    fn restore_streams(&mut self, directory: &mut dyn Directory) {
        let Some(outage) = self.link.outage() else { return };
        self.link = Link::Up;
        if self.debug {
            self.out.say_upstream(synthetic::session_debug_start());
        }
        if self.moving.is_under_way() {
            return self.with_streams(directory, Streams::set_out);
        }
        let tries = self.attempts.tries;
        self.out.event(Event::SessionRestored { outage: self.now.since(outage.since), tries });
        self.lend(directory).clear_kept_session();
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        streams.settle_lost(&mut ctx);
        streams.replay_held(&mut ctx, true);
        streams.replay_held(&mut ctx, false);
        streams.arm_restart(&mut ctx);
        for message in self.held_back.take_messages() {
            self.out.say_upstream(message.into_vec());
        }
    }
}

impl Lent<'_> {
    /// What each stream owes when its upstream is lost.
    pub(super) fn lose_upstream(&mut self) {
        self.ctx.held_back.drop_events();
        self.ctx.retired.clear();
        self.streams.lose_upstream(&mut self.ctx);
        self.rooms.lose_upstream(&mut self.ctx);
    }

    /// Everything that is owed goes out: no more tries (rule R10).
    fn report_everything(&mut self) {
        let Self { streams, rooms, calls, ctx } = self;
        streams.report_all(ctx);
        ctx.answer_all_lost();
        rooms.answer_joins(ctx);
        calls.finish(ctx);
    }

    /// What the client is done with, or asks for anew, is taken back from a session that is resumed.
    fn clear_kept_session(&mut self) {
        let Self { streams, rooms, ctx, .. } = self;
        let left = std::mem::take(ctx.left_behind);
        if !ctx.upstream.resumed {
            return streams.doubt_left_behind(ctx, left.streams);
        }
        ctx.stop_streams_left(left.streams);
        for id in left.calls {
            ctx.say_upstream(synthetic::hang_up(&id));
        }
        rooms.leave_kept(ctx, left.rooms);
        streams.stop_left_behind(ctx);
    }
}

/// How long to wait after so many failures.
fn wait_after(failures: u32, settings: &RestoreSettings, random: &mut Random) -> Duration {
    backoff::delay(settings.backoff_initial, settings.backoff_max, failures, random)
}

/// `connection` with the token of the dead session and without SIP credentials (protocol S7).
fn resuming(connection: &[u8], token: &str) -> Vec<u8> {
    peek(connection).map_or_else(|_| connection.to_vec(), |peek| Connection::of(&peek).resuming(token))
}
