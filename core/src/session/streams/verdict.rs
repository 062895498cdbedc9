//! What the server's word on a stream means: a first answer, a proof, a refusal to be retried, or
//! an end the client must hear (rules R2, R3, R7, R9).

use crate::{
    session::{
        Event, Outcome,
        context::Context,
        directory::EndOfName,
        held_back::Subject,
        stream::{End, Running, Standing, Stream, StreamId},
    },
    signaling::{Peek, Span, peek},
};

use super::{
    Streams,
    words::{client_words, stop},
};

/// Statuses after which the SDK deletes a stream (protocol S3.3).
const TERMINAL: &[&str] = &["FAILED", "STOPPED", "UNPUBLISHED"];

impl Streams {
    pub(in crate::session) fn status(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let id_span = peek.field("mediaSessionId");
        let id = peek.id("mediaSessionId");
        let status = peek.string("status");
        let Some(stream_id) = id.as_deref().and_then(|id| self.table.by_upstream_id(id)) else {
            let over = status.is_some_and(|status| TERMINAL.contains(&&*status));
            if !ctx.kept_session_speaks(id.as_deref().unwrap_or_default(), over) {
                self.about_stream(ctx, peek, id_span);
            }
            return;
        };
        let running = self.table.get(stream_id).map(|stream| stream.kind().running());
        match status.as_deref() {
            Some(status) if TERMINAL.contains(&status) => self.ended(ctx, stream_id, peek, id_span),
            Some(status) if running == Some(status) => self.runs(ctx, stream_id, peek, id_span),
            _ => self.other_status(ctx, stream_id, peek, id_span),
        }
    }

    /// Anything that is neither a start nor an end; what a replay repeats is not said again.
    fn other_status(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        peek: &Peek<'_>,
        id_span: Option<Span>,
    ) {
        if !self.table.get(stream_id).is_some_and(Stream::is_repeated) {
            self.forward_as(ctx, stream_id, peek, id_span);
        }
    }

    fn runs(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        match stream.runs() {
            Running::Known => {}
            Running::Proof { first } => self.proven_alive(ctx, stream_id, peek, first),
            Running::News => {
                self.tell_running(ctx, stream_id, peek, id_span);
                self.hold_name(ctx, stream_id);
            }
        }
    }

    fn proven_alive(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, peek: &Peek<'_>, first: bool) {
        if first {
            self.tell_running(ctx, stream_id, peek, peek.field("mediaSessionId"));
        }
        self.restored(ctx, stream_id);
    }

    /// The stream is alive on the new upstream.
    pub(super) fn restored(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        let after = stream.proven(ctx.now);
        ctx.event(Event::StreamOutcome {
            name: stream.name().to_owned(),
            stream: stream.client_id().to_owned(),
            kind: stream.kind().word(),
            outcome: Outcome::Restored,
            after,
        });
        self.hold_name(ctx, stream_id);
        if let Some(stream) = self.table.get(stream_id) {
            ctx.repeat_intents(stream);
        }
    }

    /// Binary frames flow again on a media socket of this session: its socket streams are proven.
    pub(in crate::session) fn media_socket_flows(&mut self, ctx: &mut Context<'_>) {
        let streams = self.table.iter();
        let proven = streams.filter(|stream| stream.is_socket() && stream.awaits_media());
        for stream_id in proven.map(Stream::id).collect::<Vec<_>>() {
            self.restored(ctx, stream_id);
        }
    }

    fn ended(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, peek: &Peek<'_>, id_span: Option<Span>) {
        let Some(stream) = self.table.get(stream_id) else { return };
        let message = client_words(stream, peek, id_span);
        let subject = Subject::Stream(stream.client_id().into());
        let info = peek.string("info").unwrap_or_default();
        match stream.ended() {
            End::Refusal => self.refused(ctx, stream_id, &info, message),
            End::OfLive => {
                if !ctx.hold_as_burst(subject, &message) {
                    self.live_stream_ended(ctx, stream_id, &info, message);
                }
            }
            End::OfKept => {
                self.forget(ctx, stream_id, EndOfName::Lost, Some(Outcome::Reported));
                ctx.say_to_client(message);
            }
            End::Answer => {
                self.forget(ctx, stream_id, EndOfName::Chosen, None);
                ctx.say_to_client(message);
            }
        }
    }

    /// `fail` with `StreamStatusEvent`: the same as a status event, in other clothes.
    pub(in crate::session) fn refused_by_fail(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let id = peek.id("id");
        let Some(stream_id) = id.as_deref().and_then(|id| self.table.by_upstream_id(id)) else {
            return self.about_stream(ctx, peek, peek.field("id"));
        };
        self.ended(ctx, stream_id, peek, peek.field("id"));
    }

    pub(super) fn forget(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        end: EndOfName,
        outcome: Option<Outcome>,
    ) {
        self.release_name(ctx, stream_id, end);
        if let Some(stream) = self.table.get(stream_id).filter(|stream| stream.other_id().is_some()) {
            // The client never knew this id: nothing said of it later concerns anybody.
            ctx.retire(stream);
        }
        let stream = self.remove_stream(ctx, stream_id);
        if let (Some(stream), Some(outcome)) = (stream, outcome) {
            ctx.outcome(&stream, outcome);
        }
    }

    /// There is no room to hold this, too: what is held of the stream keeps its place before it.
    pub(super) fn say_behind_burst(&mut self, ctx: &mut Context<'_>, id: &str, message: Vec<u8>) {
        let subject = Subject::Stream(id.into());
        while let Some(event) = ctx.held_back.take(&subject) {
            self.release(ctx, id, event.message.into_vec());
        }
        let stream = self.table.by_client_id(id).and_then(|stream_id| self.table.get(stream_id));
        if stream.is_none_or(Stream::is_upstream) {
            ctx.say_to_client(message);
        }
    }

    /// The epoch lived on: what was held back of a stream is the server's word after all.
    pub(in crate::session) fn release(&mut self, ctx: &mut Context<'_>, id: &str, message: Vec<u8>) {
        if let Some(stream_id) = self.table.by_client_id(id) {
            let live = self.table.get(stream_id).is_some_and(|stream| stream.is(Standing::Live));
            let end = peek(&message).ok().and_then(|peek| {
                let terminal = peek.string("status").is_some_and(|status| TERMINAL.contains(&&*status));
                terminal.then(|| peek.string("info").unwrap_or_default().into_owned())
            });
            match end {
                Some(info) if live => self.live_stream_ended(ctx, stream_id, &info, message),
                _ => ctx.say_to_client(message),
            }
        }
    }
}

impl Context<'_> {
    /// The server's word on a stream of the session before, which our replay has replaced: it is
    /// the kept session after all, and no concern of the client. False if it is none of these.
    fn kept_session_speaks(&mut self, id: &str, over: bool) -> bool {
        let retired = self.retired.has(id);
        if retired && !over {
            return false;
        }
        let Some(left) = self.left_behind.take_id(id) else { return false };
        if retired {
            // It was stopped, and this is the confirmation.
            return false;
        }
        if !over {
            self.say_upstream(stop(id, &left.name, left.kind));
        }
        self.retired.add(id);
        true
    }
}
