//! Refusals: which of them are tried again, how long, and what is done before (rules R7 and R9). The pace
//! is in [`crate::session::patience`], what a server's text means in [`crate::session::info`].

use std::time::Duration;

use crate::session::{
    Event, Kind, Mail, Outcome, Output,
    context::Context,
    directory::EndOfName,
    info::{RetryClass, classify, may_be_the_codec},
    request::offers_h264_and_vp8,
    stream::{Standing, Stream, StreamId, Transport},
};

use super::{
    Streams,
    words::{failed, stop},
};

/// What a publisher is told whose name is taken, where the server's own words were too many to keep.
const INFO_IN_USE: &str = "Stream name is already in use";

impl Streams {
    /// A running stream ended in an epoch that lives.
    pub(super) fn live_stream_ended(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        info: &str,
        message: Vec<u8>,
    ) {
        let class = classify(info);
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        stream.begins_to_wait(ctx.now);
        let may_run_again = stream.is_replayable() && !is_final(stream, class, ctx);
        if may_run_again && self.retry(ctx, stream_id, class, info, Some(&message)) {
            return;
        }
        self.forget(ctx, stream_id, EndOfName::Lost, None);
        ctx.say_to_client(message);
    }

    /// A request was refused, the client's own or our replay.
    pub(super) fn refused(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        info: &str,
        message: Vec<u8>,
    ) {
        if self.retry_without_h264(ctx, stream_id, info) {
            return;
        }
        let class = classify(info);
        let Some(stream) = self.table.get(stream_id) else { return };
        let first = stream.is(Standing::Requested);
        let elsewhere = ctx.runs_elsewhere(stream.name()).filter(|_| ctx.settings.locality);
        match (elsewhere, class) {
            (Some(holder), RetryClass::NotFound | RetryClass::InUse) if first => {
                let (name, kind) = (stream.name().to_owned(), stream.kind().word());
                ctx.event(Event::StreamElsewhere { name, kind, node: holder.node });
            }
            // One that ran is where its publisher is by now.
            (Some(holder), RetryClass::NotFound) if self.table.goes_after(stream, holder, ctx.id) => {
                self.reunion.note_stray();
            }
            _ => {}
        }
        // Its client has an answer already and cannot take another one (protocol S0.2).
        let answerable = stream.is_replayable();
        if answerable && (!first || is_excused(stream, class, ctx)) && !is_final(stream, class, ctx) {
            if class == RetryClass::InUse {
                ctx.stop_what_a_kept_session_holds(stream);
            }
            if class == RetryClass::InUse && self.ask_holder(ctx, stream_id, &message) {
                return;
            }
            if self.retry(ctx, stream_id, class, info, Some(&message)) {
                return;
            }
        }
        // A stream that ran is told what ended it, not how the retries failed.
        let ended_by = self.table.get_mut(stream_id).and_then(Stream::take_end);
        self.forget(ctx, stream_id, EndOfName::Lost, (!first).then_some(Outcome::Reported));
        ctx.say_to_client(ended_by.map_or(message, |words| words.into_vec()));
    }

    /// Plans another try, if the patience for this kind of refusal is not over.
    pub(super) fn retry(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        class: RetryClass,
        info: &str,
        message: Option<&[u8]>,
    ) -> bool {
        let words = message.and_then(|message| ctx.kept_for_stream(self.table.get(stream_id), message));
        let Some(stream) = self.table.get_mut(stream_id) else { return false };
        // A client that waits for its first answer waits no longer than the hold.
        let bound = (!stream.is_running()).then(|| stream.since() + ctx.settings.hold.time_max);
        let next = stream.retries_mut().next(class, ctx.settings, ctx.now, bound, ctx.random);
        let Some(at) = next else { return false };
        stream.retries_at(at, words);
        let (name, tries) = (stream.name().to_owned(), stream.retries().tries());
        let event = Event::StreamRetry { name, info: info.to_owned(), tries };
        ctx.retire(stream);
        ctx.detach(stream);
        if class == RetryClass::NotFound {
            self.wait_for_publisher(ctx, stream_id);
        }
        ctx.event(event);
        true
    }

    /// A publish that the server does not take with H264 is offered once without it.
    fn retry_without_h264(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, info: &str) -> bool {
        let enabled = ctx.settings.video.retry_without_h264;
        let Some(stream) = self.table.get_mut(stream_id) else { return false };
        if !enabled
            || stream.kind() != Kind::Publish
            || stream.is_answered()
            || stream.goes_without_h264()
            || matches!(stream.transport(), Transport::Socket)
            || !may_be_the_codec(info)
        {
            return false;
        }
        if !offers_h264_and_vp8(&stream.request().unwrap_or_default()) {
            return false;
        }
        stream.refuse_h264();
        let event = Event::RetriedWithoutH264 { name: stream.name().to_owned() };
        ctx.retire(stream);
        ctx.event(event);
        self.replay_stream(ctx, stream_id);
        true
    }

    /// Another session of ours holds the name: it is asked for a sign of life (rule R7).
    fn ask_holder(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, message: &[u8]) -> bool {
        let until = ctx.patience(ctx.settings.restore.prove_alive) + Duration::from_secs(1);
        let Some(stream) = self.table.get(stream_id) else { return false };
        let holder = ctx.directory.name(stream.name()).holder;
        let Some(holder) = holder.filter(|holder| holder.session != ctx.id && stream.kind().is_publish())
        else {
            return false;
        };
        let identity = ctx.client.identity;
        let mail = Mail::ProveAlive { name: stream.name().into(), asker: ctx.id, identity };
        let words = ctx.kept_for_stream(Some(stream), message);
        if let Some(stream) = self.table.get_mut(stream_id) {
            stream.awaits_proof(until, words);
        }
        ctx.out.push(Output::Post(holder.session, mail));
        true
    }

    pub(in crate::session) fn proven(&mut self, ctx: &mut Context<'_>, name: &str, alive: bool) {
        while let Some(stream_id) =
            self.table.find(|stream| stream.is(Standing::AwaitsProof) && stream.name() == name)
        {
            let Some(stream) = self.table.get(stream_id) else { return };
            let message = match stream.refusal() {
                Some(words) => words.to_vec(),
                None => failed(stream, INFO_IN_USE),
            };
            if alive || !self.retry(ctx, stream_id, RetryClass::InUse, "the holder was dead", Some(&message))
            {
                self.forget(ctx, stream_id, EndOfName::Lost, None);
                ctx.say_to_client(message);
            }
        }
    }
}

impl Context<'_> {
    /// The session may be the kept one after all, and hold the name itself: its old stream is
    /// stopped, once.
    fn stop_what_a_kept_session_holds(&mut self, stream: &Stream) {
        if let Some(left) = self.left_behind.take(stream.name(), stream.kind()) {
            self.say_upstream(stop(&left.upstream_id, &left.name, left.kind));
            self.retired.add(&left.upstream_id);
        }
    }
}

/// Whether a client's own first request is retried although the server refused it (rule R9).
fn is_excused(stream: &Stream, class: RetryClass, ctx: &Context<'_>) -> bool {
    let known = ctx.directory.name(stream.name());
    match class {
        RetryClass::NotFound => {
            // Restored here, or lost a moment ago: its page is about to publish again.
            let lost = known.ended.is_some_and(|(end, at)| {
                end == EndOfName::Lost && ctx.now < at + ctx.settings.restore.player_hold
            });
            lost || known.holder.is_some_and(|holder| holder.restoring)
        }
        RetryClass::InUse if stream.retries().have_begun() => true,
        RetryClass::InUse => {
            let ghost = known.ended.is_some_and(|(end, at)| {
                end == EndOfName::Lost && ctx.now < at + ctx.settings.restore.name_in_use_max
            });
            ghost || known.holder.is_some_and(|holder| holder.session != ctx.id)
        }
        _ => false,
    }
}

/// Whether another try cannot help.
fn is_final(stream: &Stream, class: RetryClass, ctx: &Context<'_>) -> bool {
    match class {
        // Where we are the server's media peer, broken media is ours to mend.
        RetryClass::ClientMedia => stream.leg().is_none(),
        RetryClass::Permanent | RetryClass::Codec => true,
        RetryClass::PublisherEnded => {
            let chosen = ctx.directory.name(stream.name()).ended;
            stream.kind() == Kind::Publish
                || ctx.settings.restore.player_hold.is_zero()
                || chosen.is_some_and(|(end, _)| end == EndOfName::Chosen)
        }
        RetryClass::Transient | RetryClass::InUse | RetryClass::NotFound => false,
    }
}
