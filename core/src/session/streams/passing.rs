//! What is said about a stream besides its request, its stop and its status: passed on under the id that the
//! other side knows, and in order (protocol S2.3, S2.4). What is an intent, or asks for an answer, is noted.

use crate::{
    session::{
        context::Context,
        held_back::Subject,
        leg::ClientLeg,
        packed::Packed,
        requests::Pending,
        stream::{Stream, StreamId},
    },
    signaling::{
        Edits,
        view::{AboutStream, AvailableAnswer, Field, MetricsUpdate, RemoteSdp, StreamEvent},
    },
};

use super::{Streams, client_leg, table::StreamTable, video};

/// When the client hears what the server says about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Order {
    /// Behind what is held back or withheld of the stream, whose life it is a part of.
    BehindHeld,
    /// At once: it settles a question, is no event of the stream, and must not share its end.
    AtOnce,
}

impl StreamTable {
    /// Forwards a message that names a stream in its first argument, under the id that the
    /// upstream knows. False if the upstream cannot know the stream.
    pub(in crate::session) fn forward_for_stream(
        &self,
        ctx: &mut Context<'_>,
        id: Option<Field<'_>>,
    ) -> bool {
        if !ctx.is_up() {
            return false;
        }
        let stream = id.and_then(Field::id).and_then(|id| self.by_client_id(&id));
        let stream = stream.and_then(|stream_id| self.get(stream_id));
        if stream.is_some_and(|stream| !stream.is_upstream()) {
            return false;
        }
        match (stream.and_then(Stream::other_id), id) {
            (Some(upstream_id), Some(id)) => ctx.say_upstream(id.replaced(upstream_id)),
            _ => ctx.out.forward_upstream(),
        }
        true
    }

    pub(in crate::session) fn available(&self, ctx: &mut Context<'_>, question: AboutStream<'_>) {
        let id = question.media_session_id();
        match ctx.client_id(id) {
            Some(client_id) => self.ask(ctx, id, Pending::Available(client_id.as_ref().into())),
            None => ctx.forward_or_drop(),
        }
    }

    pub(in crate::session) fn snapshot(&self, ctx: &mut Context<'_>, question: AboutStream<'_>) {
        let id = question.media_session_id();
        match ctx.client_id(id) {
            Some(client_id) => self.ask(ctx, id, Pending::Snapshot(client_id.as_ref().into())),
            None => ctx.forward_or_drop(),
        }
    }

    /// A question about a stream: forwarded if the upstream can know the stream, else answered.
    fn ask(&self, ctx: &mut Context<'_>, id: Option<Field<'_>>, pending: Pending) {
        if self.forward_for_stream(ctx, id) {
            ctx.note_pending(pending);
        } else {
            ctx.answer_lost(pending);
        }
    }

    pub(in crate::session) fn metrics_description(
        &mut self,
        ctx: &mut Context<'_>,
        metrics: AboutStream<'_>,
    ) {
        let id = metrics.media_session_id();
        let stream_id = id.and_then(Field::id).and_then(|id| self.by_client_id(&id));
        if let Some(stream) = stream_id.and_then(|stream_id| self.get_mut(stream_id)) {
            stream.set_metrics(None);
            let (rest_bytes, text) = (stream.bytes(), metrics.text());
            let fits = ctx.may_keep(rest_bytes.saturating_add(text.len()), text.len());
            if ctx.keep_if(fits, text.len()) {
                stream.set_metrics(Some(Packed::new(text)));
            }
        }
        let _ = self.forward_for_stream(ctx, id);
    }

    /// A mute is an intent and is repeated on a new upstream; other stream events are not.
    pub(in crate::session) fn stream_event(&mut self, ctx: &mut Context<'_>, event: StreamEvent<'_>) {
        let id = event.media_session_id();
        let stream_id = id.and_then(Field::id).and_then(|id| self.by_client_id(&id));
        if let Some(stream) = stream_id.and_then(|stream_id| self.get_mut(stream_id)) {
            if let Some(kind) = event.kind() {
                stream.stream_event(&kind);
            }
            video::tell_workers_of_mute(stream, ctx);
        }
        let _ = self.forward_for_stream(ctx, id);
    }

    pub(in crate::session) fn metrics_update(&self, ctx: &mut Context<'_>, update: MetricsUpdate<'_>) {
        let mut edits = Edits::new();
        for id in update.ids() {
            let stream = id.id().and_then(|id| self.by_upstream_id(&id));
            if let Some(stream) = stream.and_then(|stream_id| self.get(stream_id)) {
                edits.push_string(id.span(), stream.client_id());
            }
        }
        if edits.is_empty() {
            ctx.out.forward_to_client();
        } else {
            ctx.say_to_client(edits.apply(update.text()));
        }
    }
}

impl Streams {
    pub(in crate::session) fn remote_sdp(&mut self, ctx: &mut Context<'_>, remote: RemoteSdp<'_>) {
        let id = remote.id();
        let stream_id = id.and_then(Field::id).and_then(|id| self.table.by_upstream_id(&id));
        let (Some(id), Some(stream_id)) = (id, stream_id) else {
            return self.forward_by_id(ctx, id, Order::BehindHeld);
        };
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if let Some(key) = stream.leg().map(ClientLeg::key) {
            return self.upstream_answer(ctx, key, remote);
        }
        if stream.answer() {
            self.forward_as(ctx, stream_id, id, Order::BehindHeld);
        }
    }

    /// Forwards a message about a stream, with the id the client knows; drops what concerns a
    /// request we took back.
    pub(in crate::session) fn forward_by_id(
        &mut self,
        ctx: &mut Context<'_>,
        id: Option<Field<'_>>,
        order: Order,
    ) {
        let (Some(id), Some(upstream_id)) = (id, id.and_then(Field::id)) else {
            return ctx.out.forward_to_client();
        };
        match self.table.by_upstream_id(&upstream_id) {
            Some(stream_id) => self.forward_as(ctx, stream_id, id, order),
            None if ctx.retired.has(&upstream_id) || self.table.is_away(&upstream_id) => {}
            None => ctx.out.forward_to_client(),
        }
    }

    /// Forwards a message about a stream we know; `id` is where the message names it.
    pub(super) fn forward_as(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        id: Field<'_>,
        order: Order,
    ) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        let message = mapped(stream, id);
        if order == Order::BehindHeld {
            if ctx.held_back.holds_of_stream(stream.client_id()) {
                let client_id: Box<str> = stream.client_id().into();
                let message = message.unwrap_or_else(|| id.message().to_vec());
                if !ctx.hold_back(Subject::Stream(client_id.clone()), &message) {
                    self.say_behind_held_back(ctx, &client_id, message);
                }
                return;
            }
            if stream.leg().is_some_and(ClientLeg::withholds) {
                return client_leg::withhold(stream, ctx, message.as_deref().unwrap_or_else(|| id.message()));
            }
        }
        match message {
            Some(message) => ctx.say_to_client(message),
            None => ctx.out.forward_to_client(),
        }
    }

    pub(in crate::session) fn upstream_stream_event(
        &mut self,
        ctx: &mut Context<'_>,
        event: StreamEvent<'_>,
    ) {
        let (id, kind) = (event.media_session_id(), event.kind().unwrap_or_default());
        if let ("snapshotCompleted" | "snapshotFailed", Some(id)) = (&*kind, id.and_then(Field::id)) {
            let client_id = self.table.client_id_of(&id);
            let _ = ctx.requests.settle(&Pending::Snapshot(client_id));
        }
        let order = if kind.starts_with("snapshot") { Order::AtOnce } else { Order::BehindHeld };
        self.forward_by_id(ctx, id, order);
    }

    pub(in crate::session) fn available_answer(
        &mut self,
        ctx: &mut Context<'_>,
        answer: AvailableAnswer<'_>,
    ) {
        let id = answer.id();
        if let Some(id) = id.and_then(Field::id) {
            let wanted = Pending::Available(self.table.client_id_of(&id));
            // One answer settles all questions of that stream (protocol S2.4).
            while ctx.requests.settle(&wanted) {}
        }
        self.forward_by_id(ctx, id, Order::AtOnce);
    }
}

/// The server's message under the client's id; `None` if it needs no change.
pub(super) fn mapped(stream: &Stream, id: Field<'_>) -> Option<Vec<u8>> {
    stream.other_id()?;
    Some(id.replaced(stream.client_id()))
}
