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
    Close, DialError, Epoch, Event, LossCause, Output, backoff,
    core::{Lent, Session},
    directory::Directory,
    link::{Link, Outage, Stage},
    packed::Packed,
    random::Random,
    state::Upstream,
};

impl Session {
    pub(super) fn upstream_lost(&mut self, cause: LossCause, directory: &mut dyn Directory) {
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
        self.streams_lose_upstream(directory);
        let streams = self.streams.table.len();
        self.out.event(Event::UpstreamLost { cause, streams });
        if self.attempts.are_used_up(&self.settings.restore) {
            return self.give_up("no connection lasted".to_owned(), directory);
        }
        if until <= self.now {
            self.dial();
        }
    }

    fn dial(&mut self) {
        let Link::Down(outage) = &mut self.link else { return };
        outage.stage = Stage::Dialing;
        self.attempts.dial();
        self.upstream.epoch = Epoch(self.upstream.epoch.0.wrapping_add(1));
        let priority = self.streams.priority();
        self.out.push(Output::Dial { epoch: self.upstream.epoch, priority });
    }

    /// Dials that count for the present outage; none outside of one.
    pub(super) const fn tries_of_outage(&self) -> u32 {
        if self.link.outage().is_some() { self.attempts.tries } else { 0 }
    }

    /// Ends the wait of a session that could not reach its node; one that a node answered has its
    /// backoff. If believing it came to nothing, it is believed again only after the longest backoff.
    pub(super) fn node_up(&mut self) {
        if self.link.is_waiting() && self.attempts.believe_node(self.now, &self.settings.restore) {
            self.dial();
        }
    }

    /// Ends the wait of a session that a node refused, once in an outage.
    pub(super) fn path_up(&mut self) {
        if self.link.is_waiting() && self.attempts.believe_path() {
            self.dial();
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
        self.streams_lose_upstream(directory);
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
        let tries = self.tries_of_outage();
        self.out.event(Event::GaveUp { reason, tries });
        self.report_everything(directory);
        self.end(Some(Close::Code(1001)), Close::NoCode, directory);
    }

    pub(super) fn upstream_opened(&mut self, directory: &mut dyn Directory) {
        if self.link.outage().is_none() {
            return;
        }
        self.upstream = Upstream::opened(self.upstream.epoch, self.upstream.token.take(), self.now);
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
        if matches!(outage.stage, Stage::Resuming { .. }) {
            return self.resume_came_to_nothing(&info, directory);
        }
        if self.settings.restore.is_transient(&info) {
            return self.abandon_try(&info, directory);
        }
        self.out.event(Event::ReplayRefused { tries: self.attempts.tries, info, retry: false });
        self.report_everything(directory);
        self.out.forward_to_client();
        self.end(Some(Close::Code(1001)), Close::NoCode, directory);
    }

    pub(super) fn run_stage_timer(&mut self, directory: &mut dyn Directory) {
        let Some(outage) = self.link.outage() else { return };
        if !self.is_due(outage.stage.deadline()) {
            return;
        }
        match outage.stage {
            Stage::Waiting { .. } => self.dial(),
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
        self.clear_kept_session(directory);
        let Lent { streams, ctx, .. } = self.lend(directory);
        streams.put_on_probation(&ctx);
        if self.client.registered && !self.upstream.resumed && !self.upstream.registered {
            let until = self.now + self.settings.restore.answer_timeout;
            self.link.set_stage(Stage::Registering { until });
        } else {
            self.join_rooms(directory);
        }
    }

    /// What the client is done with, or asks for anew, is taken back from a session that is resumed.
    fn clear_kept_session(&mut self, directory: &mut dyn Directory) {
        let left = std::mem::take(&mut self.left_behind);
        let Lent { streams, rooms, mut ctx, .. } = self.lend(directory);
        if !ctx.upstream.resumed {
            return streams.doubt_left_behind(&mut ctx, left.streams);
        }
        ctx.stop_streams_left(left.streams);
        for id in left.calls {
            ctx.say_upstream(synthetic::hang_up(&id));
        }
        rooms.leave_kept(&mut ctx, left.rooms);
        streams.stop_left_behind(&mut ctx);
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
        let tries = self.attempts.tries;
        self.out.event(Event::SessionRestored { outage: self.now.since(outage.since), tries });
        if self.debug {
            self.out.say_upstream(synthetic::session_debug_start());
        }
        self.clear_kept_session(directory);
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        streams.settle_lost(&mut ctx);
        streams.replay_held(&mut ctx, true);
        streams.replay_held(&mut ctx, false);
        streams.arm_restart(&mut ctx);
        for message in self.held_back.take_messages() {
            self.out.say_upstream(message.into_vec());
        }
    }

    /// What each stream owes when its upstream is lost.
    fn streams_lose_upstream(&mut self, directory: &mut dyn Directory) {
        self.held_back.drop_events();
        self.retired.clear();
        let Lent { streams, mut ctx, .. } = self.lend(directory);
        streams.lose_upstream(&mut ctx);
    }

    /// Everything that is owed goes out: no more tries (rule R10).
    fn report_everything(&mut self, directory: &mut dyn Directory) {
        let Lent { streams, rooms, calls, mut ctx } = self.lend(directory);
        streams.report_all(&mut ctx);
        ctx.answer_all_lost();
        rooms.answer_joins(&mut ctx);
        calls.finish(&mut ctx);
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
