//! The media path between an anchored stream's client and us: until it stands the client is not told
//! that its stream runs, and when it is gone for good the client is told that.

use std::time::Duration;

use crate::{
    session::{
        Event, MediaCommand,
        context::Context,
        leg::ClientLeg,
        stream::{Standing, Stream, StreamId},
    },
    signaling::view::Field,
};

use super::{
    Order, Streams,
    words::{client_words, failed, runs},
};

/// What a client is told whose media path is gone for good.
pub(super) const INFO_CLIENT_GONE: &str = "Failed by ICE keep alive";
/// What a client is told whose media path never stood.
const INFO_NEVER_CONNECTED: &str = "Failed by ICE timeout";
/// How long a client that closed its media may take to say that it stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// A longer running word is told in words of our own.
const RUNNING_WORD_BYTES_MAX: usize = 4 * 1024;

impl Streams {
    /// The server says that a stream runs: the client hears it when its own media path stands.
    pub(super) fn tell_running(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, id: Field<'_>) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if !stream.is_running() && stream.leg().is_some_and(|leg| !leg.has_connected()) {
            let mut words = client_words(stream, id);
            if words.len() > RUNNING_WORD_BYTES_MAX {
                // The word counts, not what else the server says with it.
                words = runs(stream);
            }
            let bytes = words.len();
            if let Some(leg) = stream.leg_mut() {
                leg.withhold(words.into_boxed_slice());
            }
            return ctx.keep(bytes);
        }
        stream.told_running();
        self.forward_as(ctx, stream_id, id, Order::BehindHeld);
    }

    /// The client is heard: media of it that was silent for longer than its browser bears, and that
    /// cannot be revived, is gone.
    pub(in crate::session) fn judge_silent_legs(&mut self, ctx: &mut Context<'_>) {
        let (now, patience) = (ctx.now, ctx.settings.restore.firefox_ice_patience);
        while let Some(stream_id) = self.table.find(|stream| {
            let silent_since = stream.leg().and_then(ClientLeg::silent_since);
            silent_since.is_some_and(|since| now.since(since) >= patience) && !stream.is(Standing::Stopping)
        }) {
            ctx.kept.touch();
            self.anchored_stream_is_over(
                ctx,
                stream_id,
                INFO_CLIENT_GONE,
                "its browser cannot be given new addresses",
            );
        }
    }

    pub(super) fn client_media_is_gone(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        let leg = self.table.get_mut(stream_id).and_then(Stream::leg_mut);
        let stood = leg.is_some_and(ClientLeg::is_gone);
        let info = if stood { INFO_CLIENT_GONE } else { INFO_NEVER_CONNECTED };
        self.anchored_stream_is_over(ctx, stream_id, info, "the client's media ended");
    }

    pub(super) fn anchored_stream_is_over(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        info: &'static str,
        reason: &str,
    ) {
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if stream.is(Standing::Stopping) {
            return;
        }
        stream.refused_with(failed(stream, info).into_boxed_slice());
        let upstream_has_it = stream.is_upstream();
        let event = Event::MediaLost { name: stream.name().to_owned(), reason: reason.to_owned() };
        ctx.event(event);
        if upstream_has_it && ctx.is_up() {
            self.stop_upstream(ctx, stream_id);
        }
        self.report(ctx, stream_id);
    }
}

/// Keeps a word of the server in order behind the running word that is withheld.
pub(super) fn withhold(stream: &mut Stream, ctx: &mut Context<'_>, message: &[u8]) {
    if !stream.leg().is_some_and(ClientLeg::withholds_more) {
        return;
    }
    if let Some(message) = ctx.kept_for_stream(Some(stream), message)
        && let Some(leg) = stream.leg_mut()
    {
        leg.withhold_behind(message);
    }
}

/// ICE and DTLS with the client stand: it hears what was withheld.
pub(super) fn connected(stream: &mut Stream, ctx: &mut Context<'_>) {
    for words in stream.client_connected() {
        ctx.say_to_client(words.into_vec());
    }
}

/// Nothing comes from the client's media path. New transport addresses revive it, but Firefox
/// would not take them.
pub(super) fn silent(stream: &mut Stream, ctx: &mut Context<'_>, silence: Duration) {
    if let Some(leg) = stream.leg_mut()
        && leg.falls_silent(ctx.now, silence)
    {
        ctx.out.media(MediaCommand::Revive { key: leg.key() });
    }
}

/// The client's media path has new addresses, and something comes on it.
pub(super) fn revived(stream: &mut Stream, ctx: &mut Context<'_>, silence: Duration) {
    if let Some(leg) = stream.leg_mut() {
        leg.is_heard();
    }
    ctx.event(Event::ClientLegRevived { name: stream.name().to_owned(), silence });
}

/// The SDK's stop closes the media together with sending the request, and UDP may overtake
/// TCP: the client's word is waited for a moment.
pub(super) fn closed(stream: &mut Stream, ctx: &Context<'_>) {
    let stopping = stream.is(Standing::Stopping);
    if let Some(leg) = stream.leg_mut().filter(|_| !stopping) {
        leg.closes(ctx.now + STOP_GRACE);
    }
}
