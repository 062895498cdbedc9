//! Published video that does not come, or comes in another codec than it was answered: the vendor's
//! bitrate check and change of codec, on the server side for everybody (docs/rules.md).

use crate::{
    session::{
        Event, Identity, MediaCommand,
        context::Context,
        leg::ClientLeg,
        request::offers_h264_and_vp8,
        stream::{Stream, StreamId},
    },
    settings::CheckBitrate,
};

use super::Streams;

/// What a publisher is told that sends no video, where the settings have it FAILED.
const INFO_NO_VIDEO: &str = "Failed by RTP activity";

impl Streams {
    /// The browser fell back to another codec by itself: the upstream is asked anew with it.
    pub(super) fn codec_changed(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, codec: String) {
        let event = Event::CodecChanged { name: self.table.name_of(stream_id), codec };
        ctx.event(event);
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if !stream.changes_codec(ctx.now) {
            return;
        }
        ctx.stop_upstream(stream);
        ctx.hold_name_for_restore(stream, true);
        self.ask_for_offer(ctx, stream_id, true);
    }

    /// A publisher sends no video although it is not muted; the workers ask it for key frames. Still
    /// canvases and slow cameras are legal: by default this is for the log, and for its next publish.
    pub(super) fn no_video(
        &mut self,
        ctx: &mut Context<'_>,
        stream_id: StreamId,
        never_sent: bool,
        had_h264: bool,
    ) {
        let check = ctx.client.check_bitrate;
        if check == CheckBitrate::Off {
            return;
        }
        let event = Event::NoVideo { name: self.table.name_of(stream_id), never_sent };
        ctx.event(event);
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        stream.has_no_video(never_sent && had_h264 && ctx.settings.video.retry_without_h264);
        if never_sent && !had_h264 {
            self.anchor.in_vain.forget();
        }
        let fails = match check {
            CheckBitrate::Off | CheckBitrate::On => false,
            CheckBitrate::NeverSent => never_sent,
            CheckBitrate::Strict => true,
        };
        if fails {
            self.anchored_stream_is_over(ctx, stream_id, INFO_NO_VIDEO, "the publisher sends no video");
        }
    }
}

/// Video is here after all.
pub(super) fn back(stream: &mut Stream, ctx: &mut Context<'_>) {
    stream.has_no_video(false);
    if ctx.client.check_bitrate != CheckBitrate::Off {
        ctx.event(Event::VideoBack { name: stream.name().to_owned() });
    }
}

/// A running stream of the client (un)muted its video: the watchdog must know.
pub(super) fn tell_workers_of_mute(stream: &Stream, ctx: &mut Context<'_>) {
    if let Some(key) = stream.leg().map(ClientLeg::key) {
        let video = stream.mutes().is_some_and(|mutes| mutes.video);
        ctx.out.media(MediaCommand::Muted { key, video });
    }
}

/// Whether this client's publishes are answered without H264, because one of them had it in vain.
#[derive(Debug, Default)]
pub(super) struct H264InVain {
    /// From now on they are.
    refused: bool,
}

impl H264InVain {
    /// A stream ended. If it was answered H264 and never sent video, the next publish of this client
    /// goes without, also from another session (its page may be loaded again).
    pub(super) fn remember(&mut self, stream: &Stream, ctx: &mut Context<'_>) {
        if stream.had_h264_in_vain() {
            self.refused = true;
            let until = ctx.now + ctx.settings.video.h264_in_vain;
            ctx.directory.note_h264_in_vain(publisher_of(stream, ctx), until, ctx.now);
        }
    }

    /// Without H264 it is the same: that was not the reason.
    const fn forget(&mut self) {
        self.refused = false;
    }

    /// Decides once, with its first request, whether a publish goes without H264 because the one
    /// before had it in vain. A client that has nothing but H264 keeps it.
    pub(super) fn apply(&mut self, stream: &mut Stream, ctx: &Context<'_>) {
        let opened = stream.opened_key().is_some();
        if opened || stream.goes_without_h264() || !stream.kind().is_publish() {
            return;
        }
        if !self.refused && !ctx.directory.had_h264_in_vain(publisher_of(stream, ctx), ctx.now) {
            return;
        }
        if offers_h264_and_vp8(&stream.request().unwrap_or_default()) {
            self.refused = true;
            stream.refuse_h264();
        }
    }
}

/// This client as the publisher of this stream, in whatever session.
fn publisher_of(stream: &Stream, ctx: &Context<'_>) -> Identity {
    ctx.client.identity.and(stream.name().as_bytes())
}
