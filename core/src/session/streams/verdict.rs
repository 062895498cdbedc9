//! What the server's word on a stream means: a first answer, a proof, a refusal to be retried, or
//! an end the client must hear (rules R2, R3, R7, R9).

use crate::{
    session::{
        Event, Outcome,
        context::Context,
        directory::EndOfName,
        held_back::Subject,
        stream::{End, Running, Standing, Stream, StreamId, Transport},
    },
    signaling::{
        peek,
        view::{Fail, Field, StreamStatus},
    },
};

use super::{
    Order, Streams,
    words::{client_words, stop},
};

impl Streams {
    pub(in crate::session) fn status(&mut self, ctx: &mut Context<'_>, status: StreamStatus<'_>) {
        let id = status.media_session_id();
        let upstream_id = id.and_then(Field::id);
        let word = status.status();
        let over = word.as_deref().is_some_and(StreamStatus::is_over);
        let stream_id = upstream_id.as_deref().and_then(|id| self.table.by_upstream_id(id));
        let (Some(id), Some(stream_id)) = (id, stream_id) else {
            if !ctx.kept_session_speaks(&upstream_id.unwrap_or_default(), over) {
                self.forward_by_id(ctx, id, Order::BehindHeld);
            }
            return;
        };
        if let Some(word) = word.as_deref() {
            let leg = self.table.get_mut(stream_id).and_then(Stream::leg_mut);
            leg.into_iter().for_each(|leg| leg.is_to_pause(StreamStatus::is_paused(word)));
        }
        let running = self.table.get(stream_id).map(|stream| stream.kind().running());
        if over {
            self.ended(ctx, stream_id, id, &status.info().unwrap_or_default());
        } else if word.is_some() && word.as_deref() == running {
            self.runs(ctx, stream_id, id);
        } else {
            self.other_status(ctx, stream_id, id);
        }
    }

    /// Anything that is neither a start nor an end; what a replay repeats is not said again.
    fn other_status(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, id: Field<'_>) {
        if !self.table.get(stream_id).is_some_and(Stream::is_repeated) {
            self.forward_as(ctx, stream_id, id, Order::BehindHeld);
        }
    }

    fn runs(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, id: Field<'_>) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        match stream.runs() {
            Running::Known => {}
            Running::Proof { first } => {
                if first {
                    self.tell_running(ctx, stream_id, id);
                }
                self.restored(ctx, stream_id);
            }
            Running::News => {
                self.tell_running(ctx, stream_id, id);
                self.hold_name(ctx, stream_id);
            }
        }
    }

    /// The stream is alive on the new upstream.
    pub(super) fn restored(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if stream.is_moving() {
            stream.arrives();
        } else {
            let after = stream.proven(ctx.now);
            ctx.event(Event::StreamOutcome {
                name: stream.name().to_owned(),
                stream: stream.client_id().to_owned(),
                kind: stream.kind().word(),
                outcome: Outcome::Restored,
                after,
            });
        }
        self.hold_name(ctx, stream_id);
        if let Some(stream) = self.table.get(stream_id) {
            ctx.repeat_intents(stream);
        }
    }

    /// Binary frames flow again on a media socket of this session: its socket streams are proven.
    pub(in crate::session) fn media_socket_flows(&mut self, ctx: &mut Context<'_>) {
        let streams = self.table.iter();
        let proven =
            streams.filter(|stream| matches!(stream.transport(), Transport::Socket) && stream.awaits_media());
        for stream_id in proven.map(Stream::id).collect::<Vec<_>>() {
            self.restored(ctx, stream_id);
        }
    }

    /// `id` is that of the server's message, which says why in `info`.
    fn ended(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, id: Field<'_>, info: &str) {
        let Some(stream) = self.table.get(stream_id) else { return };
        let message = client_words(stream, id);
        let subject = Subject::Stream(stream.client_id().into());
        match stream.ended() {
            End::Refusal => self.refused(ctx, stream_id, info, message),
            End::OfLive => {
                if !ctx.hold_back(subject, &message) {
                    self.live_stream_ended(ctx, stream_id, info, message);
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
    pub(in crate::session) fn refused_by_fail(
        &mut self,
        ctx: &mut Context<'_>,
        id: Field<'_>,
        fail: Fail<'_>,
    ) {
        let stream_id = id.id().and_then(|id| self.table.by_upstream_id(&id));
        match stream_id {
            Some(stream_id) => self.ended(ctx, stream_id, id, &fail.info().unwrap_or_default()),
            None => self.forward_by_id(ctx, Some(id), Order::BehindHeld),
        }
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
    pub(super) fn say_behind_held_back(&mut self, ctx: &mut Context<'_>, id: &str, message: Vec<u8>) {
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
                let status = StreamStatus::of(&peek);
                let over = status.status().as_deref().is_some_and(StreamStatus::is_over);
                over.then(|| status.info().unwrap_or_default().into_owned())
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
