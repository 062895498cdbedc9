//! Published video that does not come, or comes in another codec than it was answered: the vendor's
//! bitrate check and change of codec, on the server side for everybody (docs/rules.md).

use crate::settings::CheckBitrate;

use super::{
    Event, Identity, MediaCommand, Output,
    core::Session,
    leg::ClientLeg,
    request::offers_h264_and_vp8,
    stream::{Stream, StreamId},
};

/// What a publisher is told that sends no video, where the settings have it FAILED.
const INFO_NO_VIDEO: &str = "Failed by RTP activity";

impl Session {
    /// The browser fell back to another codec by itself: the upstream is asked anew with it.
    pub(super) fn codec_changed(&mut self, stream_id: StreamId, codec: String) {
        let event = Event::CodecChanged { name: self.name_of(stream_id), codec };
        self.event(event);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        if !stream.changes_codec(self.now) {
            return;
        }
        self.stop_upstream(stream_id);
        self.hold_name_for_restore(stream_id, true);
        self.ask_for_offer(stream_id, true);
    }

    /// A publisher sends no video although it is not muted; the workers ask it for key frames. Still
    /// canvases and slow cameras are legal: by default this is for the log, and for its next publish.
    pub(super) fn no_video(&mut self, stream_id: StreamId, never_sent: bool, had_h264: bool) {
        let check = self.client.check_bitrate;
        if check == CheckBitrate::Off {
            return;
        }
        let event = Event::NoVideo { name: self.name_of(stream_id), never_sent };
        self.event(event);
        let Some(stream) = self.ledger.streams.get_mut(stream_id) else { return };
        stream.has_no_video(never_sent && had_h264 && self.settings.video.retry_without_h264);
        if never_sent && !had_h264 {
            // Without H264 it is the same: that was not the reason.
            self.refuse_h264 = false;
        }
        let fails = match check {
            CheckBitrate::Off | CheckBitrate::On => false,
            CheckBitrate::NeverSent => never_sent,
            CheckBitrate::Strict => true,
        };
        if fails {
            self.anchored_stream_is_over(stream_id, INFO_NO_VIDEO, "the publisher sends no video");
        }
    }

    /// Video is here after all.
    pub(super) fn video_back(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.ledger.streams.get_mut(stream_id) {
            stream.has_video();
        }
        if self.client.check_bitrate != CheckBitrate::Off {
            let event = Event::VideoBack { name: self.name_of(stream_id) };
            self.event(event);
        }
    }

    /// A stream ended. If it was answered H264 and never sent video, the next publish of this client
    /// goes without, also from another session (its page may be loaded again).
    pub(super) fn remember_h264_in_vain(&mut self, stream: &Stream) {
        if stream.had_h264_in_vain() {
            self.refuse_h264 = true;
            let until = self.now + self.settings.video.h264_in_vain;
            self.registry.h264_in_vain().note(self.publisher_of(stream), until, self.now);
        }
    }

    /// This client as the publisher of this stream, in whatever session.
    fn publisher_of(&self, stream: &Stream) -> Identity {
        self.identity().and(stream.name().as_bytes())
    }

    /// Decides once, with its first request, whether a publish goes without H264 because the one
    /// before had it in vain. A client that has nothing but H264 keeps it.
    pub(super) fn refuse_h264_that_was_in_vain(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        let opened = stream.opened_key().is_some();
        if opened || stream.goes_without_h264() || !stream.kind().is_publish() {
            return;
        }
        if !self.refuse_h264 && !self.registry.h264_in_vain().knows(self.publisher_of(stream), self.now) {
            return;
        }
        if !offers_h264_and_vp8(&stream.request().unwrap_or_default()) {
            return;
        }
        self.refuse_h264 = true;
        if let Some(stream) = self.ledger.streams.get_mut(stream_id) {
            stream.refuse_h264();
        }
    }

    /// A running stream of the client (un)muted its video: the watchdog must know.
    pub(super) fn tell_workers_of_mute(&mut self, stream_id: StreamId) {
        let Some(stream) = self.ledger.streams.get(stream_id) else { return };
        if let Some(key) = stream.leg().map(ClientLeg::key) {
            let video = stream.mutes().is_some_and(|mutes| mutes.video);
            self.outputs.push(Output::Media(MediaCommand::Muted { key, video }));
        }
    }
}
