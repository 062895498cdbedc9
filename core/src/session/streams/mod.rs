//! Publishes and plays: what the client asked for, what became of it upstream, and what it owes when an
//! upstream dies. Owns the streams and their names; of rooms, calls and the way back of the session it knows
//! nothing but what is lent.
//!
//! The client's requests are in [`asks`], the server's words in [`verdict`] and [`refusals`], what is passed on
//! in [`passing`], anchored media in [`anchor`], [`client_leg`] and [`video`], the way back in [`restore`] and
//! [`reunion`], that to another node in [`moving`].

mod anchor;
mod asks;
mod client_leg;
mod moving;
mod names;
mod passing;
mod refusals;
mod restore;
mod reunion;
mod table;
mod verdict;
mod video;
mod words;

use crate::settings::SessionSettings;

use super::{
    Outcome, Priority, Timestamp,
    context::Context,
    directory::EndOfName,
    leg::ClientLeg,
    stream::{Loss, Standing, Stream, StreamId},
};

use self::{
    anchor::Anchor,
    reunion::Reunion,
    table::StreamTable,
    words::{INFO_LOST, INFO_NOT_READY, failed},
};

pub(super) use self::moving::ends_a_move;
pub(super) use self::passing::Order;
pub(super) use self::restore::with_token;

/// The streams of a session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) table: StreamTable,
    anchor: Anchor,
    pub(super) reunion: Reunion,
}

// What there is.
impl Streams {
    /// Sessions that publish are restored first (rule R6).
    pub(super) fn priority(&self) -> Priority {
        if self.table.publishes().next().is_some() { Priority::Publisher } else { Priority::Other }
    }

    /// Whether the client plays this stream and has not been, or is not about to be, told its end.
    pub(super) fn plays(&self, name: &str) -> bool {
        self.table.iter().any(|play| {
            !play.kind().is_publish()
                && play.name() == name
                && !matches!(play.standing(), Standing::Stopping | Standing::Lost)
        })
    }

    /// When something is due for one of them.
    pub(super) fn deadline(&self, settings: &SessionSettings) -> Option<Timestamp> {
        self.table.iter().filter_map(|stream| stream.deadline(settings)).min()
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.table.iter().map(Stream::bytes).sum()
    }
}

// What becomes of them.
impl Streams {
    /// Tells the client that a stream is over, in the server's own words if it had any.
    pub(super) fn report(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        self.give_up_reported_name(ctx, stream_id);
        let Some(stream) = self.remove_stream(ctx, stream_id) else { return };
        let message = match stream.refusal() {
            Some(refusal) => refusal.to_vec(),
            None => failed(&stream, if stream.is_answered() { INFO_LOST } else { INFO_NOT_READY }),
        };
        ctx.say_to_client(message);
        if stream.is(Standing::Lost) {
            ctx.want_restart();
        }
        ctx.outcome(&stream, Outcome::Reported);
    }

    /// What each stream owes when its upstream is lost.
    pub(in crate::session) fn lose_upstream(&mut self, ctx: &mut Context<'_>) {
        let mut place = 0;
        while let Some(stream) = self.table.at_mut(place) {
            let (stream_id, loss) = (stream.id(), stream.lost(ctx.now));
            if loss == Loss::Stopped {
                self.cancel(ctx, stream_id);
                continue;
            }
            ctx.hold_name_for_restore(stream, loss == Loss::Held);
            ctx.detach(stream);
            place += 1;
        }
    }

    /// Direct streams whose silence was longer than ICE bears: nobody knows what became of their
    /// media, so the client is told and the upstream is rid of them (rule R12).
    pub(in crate::session) fn report_what_outlived_ice(&mut self, ctx: &mut Context<'_>) {
        let outlived =
            |stream: &Stream| stream.is_direct() && stream.is_answered() && stream.is(Standing::Live);
        while let Some(stream_id) = self.table.find(outlived) {
            ctx.kept.touch();
            self.stop_upstream(ctx, stream_id);
            self.report(ctx, stream_id);
        }
    }

    pub(in crate::session) fn run_timers(&mut self, ctx: &mut Context<'_>) {
        let mut place = 0;
        while let Some(stream) = self.table.at(place) {
            let stream_id = stream.id();
            if ctx.is_due(stream.deadline(ctx.settings)) {
                self.run_timer(ctx, stream_id);
            }
            // Whoever comes to the place of one that ended is looked at, too.
            if self.table.at(place).is_some_and(|stream| stream.id() == stream_id) {
                place += 1;
            }
        }
    }

    fn run_timer(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let Some(stream) = self.table.get(stream_id) else { return };
        if ctx.is_due(stream.leg().and_then(ClientLeg::gone_at)) {
            return self.client_media_is_gone(ctx, stream_id);
        }
        match stream.standing() {
            Standing::Lost => {
                self.report(ctx, stream_id);
                self.arm_restart(ctx);
            }
            Standing::Held | Standing::AwaitsProof | Standing::Offering => self.report(ctx, stream_id),
            Standing::Replayed if stream.leg().is_some() => self.proof_is_late(ctx, stream_id),
            Standing::Probation if ctx.upstream.perhaps_resumed => self.report(ctx, stream_id),
            Standing::Probation | Standing::Replayed => {
                self.stop_upstream(ctx, stream_id);
                self.report(ctx, stream_id);
            }
            Standing::Retry | Standing::AwaitsPublisher if ctx.is_up() => self.replay_stream(ctx, stream_id),
            Standing::Retry
            | Standing::AwaitsPublisher
            | Standing::Requested
            | Standing::Live
            | Standing::Stopping => {}
        }
    }

    /// Sends the client's request again, under a fresh id if an upstream has seen it before.
    pub(super) fn replay_stream(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if self.wait_for_publisher(ctx, stream_id) || self.ask_for_offer(ctx, stream_id, true) {
            return;
        }
        let fresh = ctx.random.uuid();
        let until = ctx.now + ctx.settings.restore.proof_timeout;
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        match stream.replayed(fresh, until) {
            Some(message) => ctx.say_upstream(message),
            None => self.report(ctx, stream_id),
        }
    }

    /// A play of a name that this process is restoring waits for it (rule R5).
    pub(super) fn wait_for_publisher(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) -> bool {
        let retry = ctx.settings.restore.name_retry;
        let hold = ctx.settings.restore.player_hold.max(ctx.settings.hold.time_max);
        let Some(stream) = self.table.get_mut(stream_id) else { return false };
        // A play that ran is bounded by the patience with its publisher, who is ours.
        let patient = stream.is_running() || ctx.now < stream.since() + hold;
        if stream.kind().is_publish() || !patient || !ctx.directory.await_name(stream.name(), ctx.id) {
            return false;
        }
        stream.awaits_publisher(ctx.now + retry);
        true
    }

    /// No more tries: each of them is told (rule R10).
    pub(super) fn report_all(&mut self, ctx: &mut Context<'_>) {
        while let Some(stream_id) = self.table.at(0).map(Stream::id) {
            self.report(ctx, stream_id);
        }
    }

    /// The session ends: names are given up as lost, not chosen, because the publisher may be back in a
    /// moment (rule R9). Nobody is told.
    pub(super) fn drop_all(&mut self, ctx: &mut Context<'_>) {
        while let Some(stream_id) = self.table.at(0).map(Stream::id) {
            self.release_name(ctx, stream_id, EndOfName::Lost);
            let _ = self.remove_stream(ctx, stream_id);
        }
    }

    /// Takes back what we sent upstream for a stream, and ignores what is still said of it.
    fn stop_upstream(&self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if let Some(stream) = self.table.get(stream_id) {
            ctx.stop_upstream(stream);
        }
    }
}

impl Context<'_> {
    /// Mode `restart`: a stream was reported because of an outage.
    fn want_restart(&mut self) {
        if self.restarts() {
            self.restart.want();
        }
    }
}
