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
    signaling::{Edits, Peek, Span, elements, identifier},
};

use super::{Streams, client_leg, table::StreamTable, video};

impl StreamTable {
    /// Forwards a message that names a stream in its first argument, under the id that the
    /// upstream knows. False if the upstream cannot know the stream.
    pub(in crate::session) fn forward_for_stream(&self, ctx: &mut Context<'_>, peek: &Peek<'_>) -> bool {
        if !ctx.is_up() {
            return false;
        }
        let stream = peek.id("mediaSessionId").and_then(|id| self.by_client_id(&id));
        let stream = stream.and_then(|stream_id| self.get(stream_id));
        if stream.is_some_and(|stream| !stream.is_upstream()) {
            return false;
        }
        match (stream.and_then(Stream::other_id), peek.field("mediaSessionId")) {
            (Some(upstream_id), Some(span)) => {
                let mut edits = Edits::new();
                edits.push_string(span, upstream_id);
                ctx.say_upstream(edits.apply(peek.text()));
            }
            _ => ctx.out.forward_upstream(),
        }
        true
    }

    pub(in crate::session) fn available(&self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let Some(id) = ctx.client_id(peek, "mediaSessionId") else { return ctx.forward_or_drop() };
        let pending = Pending::Available(id.as_ref().into());
        if ctx.is_up() {
            self.forward_question(ctx, peek, pending);
        } else {
            ctx.answer_lost(pending);
        }
    }

    pub(in crate::session) fn snapshot(&self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let Some(id) = ctx.client_id(peek, "mediaSessionId") else { return ctx.forward_or_drop() };
        let pending = Pending::Snapshot(id.as_ref().into());
        if ctx.is_up() {
            self.forward_question(ctx, peek, pending);
        } else {
            ctx.answer_lost(pending);
        }
    }

    /// A question about a stream: forwarded if the upstream can know the stream, else answered.
    fn forward_question(&self, ctx: &mut Context<'_>, peek: &Peek<'_>, pending: Pending) {
        if self.forward_for_stream(ctx, peek) {
            ctx.note_pending(pending);
        } else {
            ctx.answer_lost(pending);
        }
    }

    pub(in crate::session) fn metrics_description(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let stream_id = peek.id("mediaSessionId").and_then(|id| self.by_client_id(&id));
        if let Some(stream) = stream_id.and_then(|stream_id| self.get_mut(stream_id)) {
            stream.set_metrics(None);
            let (rest_bytes, text) = (stream.bytes(), peek.text());
            let fits = ctx.may_keep(rest_bytes.saturating_add(text.len()), text.len());
            if ctx.keep_if(fits, text.len()) {
                stream.set_metrics(Some(Packed::new(text)));
            }
        }
        let _ = self.forward_for_stream(ctx, peek);
    }

    /// A mute is an intent and is repeated on a new upstream; other stream events are not.
    pub(in crate::session) fn stream_event(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let stream_id = peek.id("mediaSessionId").and_then(|id| self.by_client_id(&id));
        if let Some(stream) = stream_id.and_then(|stream_id| self.get_mut(stream_id)) {
            if let Some(event) = peek.string("type") {
                stream.stream_event(&event);
            }
            video::tell_workers_of_mute(stream, ctx);
        }
        let _ = self.forward_for_stream(ctx, peek);
    }

    pub(in crate::session) fn metrics_update(&self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let mut edits = Edits::new();
        let ids = peek.field("ids");
        for span in ids.into_iter().flat_map(|ids| elements(peek.text(), ids)) {
            let stream = identifier(peek.text(), span).and_then(|id| self.by_upstream_id(&id));
            if let Some(stream) = stream.and_then(|stream_id| self.get(stream_id)) {
                edits.push_string(span, stream.client_id());
            }
        }
        if edits.is_empty() {
            ctx.out.forward_to_client();
        } else {
            ctx.say_to_client(edits.apply(peek.text()));
        }
    }
}

impl Streams {
    pub(in crate::session) fn remote_sdp(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let id = peek.id_argument(0);
        let Some(stream_id) = id.as_deref().and_then(|id| self.table.by_upstream_id(id)) else {
            return self.about_stream(ctx, peek, peek.argument(0));
        };
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if let Some(key) = stream.leg().map(ClientLeg::key) {
            return self.upstream_answer(ctx, key, peek);
        }
        if stream.answer() {
            self.forward_as(ctx, stream_id, peek, peek.argument(0));
        }
    }

    /// Forwards a message about a stream, with the id the client knows; drops what concerns a
    /// request we took back.
    pub(in crate::session) fn about_stream(
        &mut self,
        ctx: &mut Context<'_>,
        peek: &Peek<'_>,
        id_span: Option<Span>,
    ) {
        let id = id_span.and_then(|span| identifier(peek.text(), span));
        let Some(id) = id else {
            ctx.out.forward_to_client();
            return;
        };
        match self.table.by_upstream_id(&id) {
            Some(stream_id) => self.forward_as(ctx, stream_id, peek, id_span),
            None if ctx.retired.has(&id) || self.table.is_away(&id) => {}
            None => ctx.out.forward_to_client(),
        }
    }

    /// Forwards a message about a stream we know, in order behind what is held back for it.
    pub(super) fn forward_as(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        peek: &Peek<'_>,
        id_span: Option<Span>,
    ) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        let message = mapped(stream, peek, id_span);
        if ctx.held_back.holds_of_stream(stream.client_id()) && !is_answer(peek) {
            let id: Box<str> = stream.client_id().into();
            let message = message.unwrap_or_else(|| peek.text().to_vec());
            if !ctx.hold_as_burst(Subject::Stream(id.clone()), &message) {
                self.say_behind_burst(ctx, &id, message);
            }
            return;
        }
        if stream.leg().is_some_and(ClientLeg::withholds) && !is_answer(peek) {
            client_leg::withhold(stream, ctx, message.as_deref().unwrap_or_else(|| peek.text()));
            return;
        }
        match message {
            Some(message) => ctx.say_to_client(message),
            None => ctx.out.forward_to_client(),
        }
    }

    pub(in crate::session) fn upstream_stream_event(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        let id_span = peek.field("mediaSessionId");
        let kind = peek.string("type");
        if let (Some("snapshotCompleted" | "snapshotFailed"), Some(id)) =
            (kind.as_deref(), peek.id("mediaSessionId"))
        {
            let client_id = self.table.client_id_of(&id);
            let _ = ctx.requests.settle(&Pending::Snapshot(client_id));
        }
        self.about_stream(ctx, peek, id_span);
    }

    pub(in crate::session) fn available_answer(&mut self, ctx: &mut Context<'_>, peek: &Peek<'_>) {
        if let Some(id) = peek.id("id") {
            let wanted = Pending::Available(self.table.client_id_of(&id));
            // One answer settles all questions of that stream (protocol S2.4).
            while ctx.requests.settle(&wanted) {}
        }
        self.about_stream(ctx, peek, peek.field("id"));
    }
}

/// Whether it settles a question: that is not an event of the stream, and must not share its end.
fn is_answer(peek: &Peek<'_>) -> bool {
    match &*peek.name {
        "availableStream" => true,
        "notifyStreamEvent" => peek.string("type").is_some_and(|kind| kind.starts_with("snapshot")),
        _ => false,
    }
}

/// The server's message under the client's id; `None` if it needs no change.
pub(super) fn mapped(stream: &Stream, peek: &Peek<'_>, id_span: Option<Span>) -> Option<Vec<u8>> {
    stream.other_id()?;
    let mut edits = Edits::new();
    edits.push_string(id_span?, stream.client_id());
    Some(edits.apply(peek.text()))
}
