//! What the client asks for: publishes, plays, and their stops (rule R4).

use std::borrow::Cow;

use crate::{
    session::{
        Event, Kind, Outcome,
        context::Context,
        directory::EndOfName,
        held_back::Subject,
        kept::Full,
        leg::ClientLeg,
        packed::Packed,
        stream::{Standing, Stop, Stream, StreamId},
    },
    signaling::view::{Field, StreamRequest},
};

use super::{
    Streams,
    table::StreamTable,
    words::{not_ready, stopped},
};

/// What a stream takes without its texts.
const STREAM_BYTES: usize = size_of::<Stream>() + size_of::<ClientLeg>();

impl Streams {
    pub(in crate::session) fn request(
        &mut self,
        ctx: &mut Context<'_>,
        request: StreamRequest<'_>,
        kind: Kind,
    ) {
        let Some(id) = ctx.client_id(request.media_session_id()) else { return ctx.forward_or_drop() };
        if self.table.by_client_id(&id).is_some() {
            // A second request under one id is an error of the client: the server says so.
            return ctx.forward_or_drop();
        }
        let name = request.name().unwrap_or_default();
        let up = ctx.is_up();
        if !ctx.is_short(&id) {
            // Nobody could tell its end: it is between the client and the server.
            ctx.not_kept(Full::Id);
            if up {
                ctx.out.forward_upstream();
            } else {
                ctx.say_to_client(not_ready(&id, "", kind));
            }
            return;
        }
        let is_kept = ctx.may_keep_request(request, &id, &name);
        let name = if ctx.is_short(&name) { name } else { Cow::Borrowed("") };
        let stream_bytes = STREAM_BYTES.saturating_add(id.len()).saturating_add(name.len());
        if !self.table.has_room(ctx, stream_bytes, request.text().len()) || (!up && !is_kept) {
            ctx.say_to_client(not_ready(&id, &name, kind));
            return;
        }
        let has_offer = is_kept && request.sdp().is_some_and(Field::is_string);
        let transport = self.anchor.transport_for(ctx, request.media_provider().as_deref(), has_offer);
        let kept = is_kept.then(|| Packed::plain(request.text()));
        let asked = (kind, &*id, &*name, request.has_effects());
        let stream = Stream::new(asked, transport, kept, up, ctx.now);
        let stream_id = self.table.add(stream);
        ctx.keep(self.table.get(stream_id).map_or(0, Stream::bytes));
        drop(self.end_restart(ctx));
        if up {
            self.first_request(ctx, stream_id);
        } else if kind.is_publish() && ctx.directory.name(&name).holder.is_none() {
            ctx.directory.hold_name(&name, ctx.as_holder(true), ctx.now);
        }
    }

    /// The client's own request goes upstream: as it is, or with the workers' offer when that is
    /// made.
    fn first_request(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if self.ask_for_offer(ctx, stream_id, false) {
            return;
        }
        if let Some(stream) = self.table.get_mut(stream_id) {
            stream.sent_as_it_is();
            ctx.out.forward_upstream();
        }
    }

    /// The client's word wins (rule R4): a stop is forwarded if the upstream has the stream, and
    /// answered here if it has not.
    pub(in crate::session) fn stop(&mut self, ctx: &mut Context<'_>, request: StreamRequest<'_>, kind: Kind) {
        let Some(id) = ctx.client_id(request.media_session_id()) else { return ctx.forward_or_drop() };
        let Some(stream_id) = self.table.by_client_id(&id) else {
            if !ctx.is_short(&id) {
                return ctx.forward_or_drop();
            }
            // Its end crossed the stop. The upstream may have known it by another id, or never.
            let name = request.name().unwrap_or_default();
            return ctx.say_to_client(stopped(&id, &name, kind));
        };
        self.release_name(ctx, stream_id, EndOfName::Chosen);
        // An end that is held back was the server's last word on it: no answer would come.
        let over = ctx.held_back.forget(&Subject::Stream(id.as_ref().into()));
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        match stream.stop(over) {
            Stop::Forward => {
                ctx.stop_left(stream);
                let _ = self.table.forward_for_stream(ctx, request.media_session_id());
            }
            Stop::TakeBack => {
                self.stop_upstream(ctx, stream_id);
                self.cancel(ctx, stream_id);
            }
            Stop::Answer => self.cancel(ctx, stream_id),
        }
    }

    /// Ends a stream that the client stopped while it was not on any upstream.
    pub(super) fn cancel(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let Some(stream) = self.remove_stream(ctx, stream_id) else { return };
        ctx.say_to_client(stopped(stream.client_id(), stream.name(), stream.kind()));
        if !stream.is(Standing::Stopping) {
            ctx.outcome(&stream, Outcome::Cancelled);
        }
    }
}

impl StreamTable {
    /// Whether one more may be there, and wait where there is no upstream.
    fn has_room(&self, ctx: &mut Context<'_>, stream_bytes: usize, request_bytes: usize) -> bool {
        let bounds = &ctx.settings.bounds;
        let hold = &ctx.settings.hold;
        let held = self.iter().filter(|stream| stream.is(Standing::Held));
        let held_bytes: usize = held.clone().filter_map(Stream::request_bytes).sum();
        let limit = if self.len() >= bounds.streams_max {
            "session.streams_max"
        } else if !ctx.must_keep(stream_bytes) {
            "session.bytes_max"
        } else if !ctx.is_up() && held.count() >= hold.count_max {
            "hold.count_max"
        } else if !ctx.is_up() && held_bytes + request_bytes > hold.bytes_max {
            "hold.bytes_max"
        } else {
            return true;
        };
        ctx.event(Event::LimitReached { limit });
        false
    }
}

impl Context<'_> {
    /// Whether a request can be repeated later. One that cannot is passed on, and its stream
    /// reported instead of restored.
    fn may_keep_request(&mut self, request: StreamRequest<'_>, id: &str, name: &str) -> bool {
        let request_bytes = request.text().len();
        let bytes =
            [STREAM_BYTES, id.len(), name.len()].into_iter().fold(request_bytes, usize::saturating_add);
        // Counted with its stream.
        self.keep_if(self.may_keep_named(&[name], request_bytes, bytes), 0)
    }
}
