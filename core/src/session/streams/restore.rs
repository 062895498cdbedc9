//! What streams do when a session is back, and the second start of mode `restart` (rules R5 and R8, protocol
//! S3.6).

use crate::{
    session::{
        context::Context, directory::EndOfName, left_behind::StreamLeft, packed::Packed, stream::Standing,
    },
    signaling::{peek, synthetic, view::UserData},
};

use super::{Streams, words::stop};

impl Streams {
    /// On a resumed session the server may prove answered streams alive from now on.
    pub(in crate::session) fn put_on_probation(&mut self, ctx: &Context<'_>) {
        if !ctx.may_be_resumed() || !ctx.client.mode_resumes() {
            return;
        }
        let until = ctx.now + ctx.settings.restore.resume_wait;
        for stream in self.table.iter_mut() {
            stream.put_on_probation(until);
        }
    }

    pub(in crate::session) fn settle_lost(&mut self, ctx: &mut Context<'_>) {
        while let Some(stream_id) = self.table.find(|stream| stream.is(Standing::Lost)) {
            if ctx.upstream.resumed {
                self.stop_upstream(ctx, stream_id);
            }
            self.report(ctx, stream_id);
        }
    }

    pub(in crate::session) fn replay_held(&mut self, ctx: &mut Context<'_>, publishes: bool) {
        let mut place = 0;
        while let Some(stream) = self.table.at(place) {
            let (stream_id, before) = (stream.id(), self.table.len());
            if stream.is(Standing::Held) && stream.kind().is_publish() == publishes {
                self.replay_stream(ctx, stream_id);
            }
            if self.table.len() == before {
                place += 1;
            }
        }
    }

    /// The epoch is no resumed session, or nobody knows: what the one before had is stopped when the server
    /// proves to have it, by a word of it, or because its name is in use.
    pub(in crate::session) fn doubt_left_behind(&mut self, ctx: &mut Context<'_>, left: Vec<StreamLeft>) {
        let perhaps = ctx.upstream.perhaps_resumed;
        if perhaps {
            ctx.left_behind.streams = left;
        }
        for stream in self.table.iter_mut() {
            if stream.take_may_be_kept() && perhaps {
                ctx.left_behind.note(stream);
            }
        }
    }

    /// The epoch resumes a kept session: streams that it has and that will be asked for anew are taken back
    /// from it.
    pub(in crate::session) fn stop_left_behind(&mut self, ctx: &mut Context<'_>) {
        for stream in self.table.iter_mut() {
            // One that is lost is stopped when it is told, or when its client stops it before.
            if stream.is(Standing::Held) && stream.take_may_be_kept() {
                ctx.stop_upstream(stream);
            }
        }
    }

    /// Mode `restart`: a stream was reported; unless the client starts something by itself, it
    /// gets a second `getUserData` when the new epoch stands (protocol S3.6).
    pub(in crate::session) fn arm_restart(&mut self, ctx: &mut Context<'_>) {
        if ctx.is_up() && !ctx.restart.arm(ctx.now + ctx.settings.restore.restart_wait) {
            drop(self.end_restart(ctx));
        }
    }

    /// The client is started again, or needs no start any more: from now on the names that were expected
    /// count as lost a moment ago. The `getUserData` to start it with.
    pub(in crate::session) fn end_restart(&mut self, ctx: &mut Context<'_>) -> Option<Packed> {
        let planned = ctx.restart.take()?;
        for name in planned.names {
            if !self.table.publishes_as(&name) {
                self.give_up_name(ctx, &name, EndOfName::Lost);
            }
        }
        planned.user_data
    }

    pub(in crate::session) fn run_restart_timer(&mut self, ctx: &mut Context<'_>) {
        if !ctx.is_due(ctx.restart.deadline()) || !ctx.is_up() {
            return;
        }
        let Some(user_data) = self.end_restart(ctx).as_ref().map(Packed::unpack) else { return };
        let message = peek(&user_data)
            .ok()
            .and_then(|peek| with_token(UserData::of(&peek), ctx.client.token.as_deref()));
        ctx.say_to_client(message.unwrap_or(user_data));
        if ctx.client.registered {
            // ESTABLISHED has just downgraded a registered session (protocol S3.1).
            ctx.say_to_client(synthetic::registered());
        }
    }
}

/// A `getUserData` with the token the client knows; `None` if it needs no change.
pub(in crate::session) fn with_token(user_data: UserData<'_>, token: Option<&str>) -> Option<Vec<u8>> {
    Some(user_data.auth_token()?.replaced(token?))
}

impl Context<'_> {
    /// The epoch resumes a kept session: streams that the client is done with are taken back from it. They
    /// stay noted until the server confirms.
    pub(in crate::session) fn stop_streams_left(&mut self, left: Vec<StreamLeft>) {
        for stream in &left {
            // What is retired was stopped in this epoch already.
            if !self.retired.has(&stream.upstream_id) {
                self.say_upstream(stop(&stream.upstream_id, &stream.name, stream.kind));
                self.retired.add(&stream.upstream_id);
            }
        }
        self.left_behind.streams = left;
    }
}
