//! The names under which a session publishes, as other sessions see them: held while a publish runs or may
//! run again, given up with the reason, and settled for those who wait (rules R5, R7, R9).

use std::sync::Arc;

use crate::session::{
    Mail, Output,
    context::Context,
    directory::EndOfName,
    stream::{Standing, Stream, StreamId},
};

use super::Streams;

impl Streams {
    /// In mode `restart` the page of a reported publish is about to be started again.
    pub(super) fn give_up_reported_name(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let stream = self.table.get(stream_id);
        let lost = stream.filter(|stream| stream.is(Standing::Lost) && stream.kind().is_publish());
        if lost.is_some_and(|stream| ctx.expect_again(stream.name())) {
            self.with(stream_id, |stream| ctx.hold_name_for_restore(stream, true));
        } else {
            self.release_name(ctx, stream_id, EndOfName::Lost);
        }
    }

    /// Gives up the name of a publish, and tells those who wait for it.
    pub(super) fn release_name(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, end: EndOfName) {
        let Some(name) = self.table.published_name(stream_id) else { return };
        let held_elsewhere = self
            .table
            .iter()
            .any(|other| other.id() != stream_id && other.kind().is_publish() && *other.name() == *name);
        if !held_elsewhere {
            self.give_up_name(ctx, &name, end);
        }
    }

    pub(super) fn give_up_name(&mut self, ctx: &mut Context<'_>, name: &str, end: EndOfName) {
        ctx.directory.release_name(name, ctx.id, end, ctx.now);
        self.settle_name(ctx, name);
    }

    /// The publish runs: plays that wait for it may go on.
    pub(super) fn hold_name(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if let Some(name) = self.table.published_name(stream_id) {
            ctx.directory.hold_name(&name, ctx.as_holder(false), ctx.now);
            self.settle_name(ctx, &name);
        }
    }

    /// Those who wait for what is published here may go on.
    pub(super) fn settle_names(&mut self, ctx: &mut Context<'_>) {
        let names: Vec<Box<str>> = self.table.publishes().map(|stream| stream.name().into()).collect();
        for name in names {
            self.settle_name(ctx, &name);
        }
    }

    fn settle_name(&mut self, ctx: &mut Context<'_>, name: &str) {
        let mut shared = None;
        for waiter in ctx.directory.take_waiters(name) {
            if waiter == ctx.id {
                self.name_settled(ctx, name);
            } else {
                let name = shared.get_or_insert_with(|| Arc::from(name));
                ctx.out.push(Output::Post(waiter, Mail::NameSettled(Arc::clone(name))));
            }
        }
    }

    pub(in crate::session) fn name_settled(&mut self, ctx: &mut Context<'_>, name: &str) {
        if !ctx.is_up() {
            return;
        }
        while let Some(stream_id) = self.table.find(|stream| {
            let waits = matches!(stream.standing(), Standing::AwaitsPublisher | Standing::Retry);
            waits && !stream.kind().is_publish() && stream.name() == name
        }) {
            self.replay_stream(ctx, stream_id);
            let stream = self.table.get(stream_id);
            if stream.is_some_and(|stream| stream.is(Standing::AwaitsPublisher)) {
                break;
            }
        }
    }
}

impl Context<'_> {
    /// The publish does not run, and may again: unless another session has taken its name over.
    pub(super) fn hold_name_for_restore(&mut self, stream: &Stream, restoring: bool) {
        if !stream.kind().is_publish() {
            return;
        }
        let holder = self.directory.name(stream.name()).holder;
        if holder.is_none_or(|holder| holder.session == self.id) {
            self.directory.hold_name(stream.name(), self.as_holder(restoring), self.now);
        }
    }

    /// Mode `restart`: the publish of this name was reported, and will be back when the client is started
    /// again.
    fn expect_again(&mut self, name: &str) -> bool {
        let fits = self.restarts() && self.may_keep_id(name).is_ok();
        fits && self.restart.expect(name, self.settings.bounds.streams_max)
    }
}
