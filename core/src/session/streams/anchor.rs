//! Anchored streams: the client's WebRTC transport ends at our media workers, and each epoch gets
//! an upstream transport of its own (docs/rules.md, facts of the anchor). The workers move packets and report; what
//! that means for a stream is decided here.

use std::time::Duration;

use crate::{
    media::{Fact, StreamStats},
    session::{
        Event, MediaCommand, StreamKey,
        context::Context,
        info::RetryClass,
        kept::Full,
        leg::ClientLeg,
        stream::{Standing, Stream, StreamId, Transport},
    },
    settings::RestoreMode,
    signaling::view::RemoteSdp,
};

use super::{
    Streams, client_leg,
    client_leg::INFO_CLIENT_GONE,
    video::{self, H264InVain},
    words::INFO_NOT_READY,
};

/// What the streams of a session know of the media workers.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    /// New WebRTC streams are anchored: there are media workers.
    enabled: bool,
    /// The key of the last anchored stream.
    last_key: u32,
    pub(super) in_vain: H264InVain,
}

impl Anchor {
    /// How a new WebRTC stream of this client travels.
    pub(super) fn transport_for(
        &mut self,
        ctx: &Context<'_>,
        provider: Option<&str>,
        has_offer: bool,
    ) -> Transport {
        match provider {
            Some("MSE" | "WSPlayer") => Transport::Socket,
            Some("WebRTC") | None
                if self.enabled
                    && has_offer
                    && matches!(ctx.client.mode, RestoreMode::Auto | RestoreMode::Anchor) =>
            {
                self.last_key = self.last_key.wrapping_add(1);
                let key = StreamKey { session: ctx.id, number: self.last_key };
                Transport::Anchored(Box::new(ClientLeg::new(key)))
            }
            _ => Transport::Direct,
        }
    }
}

impl Streams {
    /// Asks the workers for an upstream offer; the request follows when it is there. False if the
    /// stream is not anchored.
    pub(super) fn ask_for_offer(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, replay: bool) -> bool {
        if self.table.get(stream_id).and_then(Stream::leg).is_none() {
            return false;
        }
        let until = ctx.now + ctx.settings.restore.proof_timeout;
        let epoch = ctx.upstream.epoch;
        let Some(stream) = self.table.get_mut(stream_id) else { return false };
        self.anchor.in_vain.apply(stream, ctx);
        if let Some(command) = stream.ask_for_offer(epoch, until, replay) {
            ctx.out.media(command);
        }
        true
    }

    pub(in crate::session) fn media_fact(&mut self, ctx: &mut Context<'_>, key: StreamKey, fact: Fact) {
        let Some(stream_id) = self.table.by_media_key(key) else { return };
        match fact {
            Fact::UpstreamOffer { epoch, sdp } if epoch == ctx.upstream.epoch => {
                self.offer_made(ctx, stream_id, &sdp)
            }
            Fact::ClientAnswer { sdp } => self.client_answer(ctx, stream_id, &sdp),
            Fact::Unanchorable { reason } => self.unanchorable(ctx, stream_id, reason),
            Fact::Flowing { epoch, complete: true, .. } if epoch == ctx.upstream.epoch => {
                self.flows(ctx, stream_id)
            }
            Fact::Flowing { epoch, .. } if epoch == ctx.upstream.epoch => {
                self.with(stream_id, Stream::packets_come)
            }
            Fact::UpstreamFailed { epoch, reason } if epoch == ctx.upstream.epoch => {
                self.upstream_leg_failed(ctx, stream_id, &reason);
            }
            Fact::OutOfSockets { epoch, reason } if epoch == ctx.upstream.epoch => {
                self.out_of_sockets(ctx, stream_id, &reason);
            }
            Fact::ClientConnected => self.with(stream_id, |stream| client_leg::connected(stream, ctx)),
            Fact::ClientSilent { silence, .. } => {
                self.with(stream_id, |stream| client_leg::silent(stream, ctx, silence));
            }
            Fact::NewClientCredentials { sdp } => {
                self.with(stream_id, |stream| ctx.say_remote_sdp(stream, &sdp, false));
            }
            Fact::ClientRevived { silence } => {
                self.with(stream_id, |stream| client_leg::revived(stream, ctx, silence));
            }
            Fact::ClientGone { .. } => self.with(stream_id, |stream| client_leg::closed(stream, ctx)),
            Fact::Broken { reason } => {
                self.anchored_stream_is_over(ctx, stream_id, INFO_CLIENT_GONE, &reason)
            }
            Fact::CodecChanged { epoch, codec } if epoch == ctx.upstream.epoch => {
                self.codec_changed(ctx, stream_id, codec)
            }
            Fact::NoVideo { never_sent, had_h264 } => self.no_video(ctx, stream_id, never_sent, had_h264),
            Fact::VideoBack => self.with(stream_id, |stream| video::back(stream, ctx)),
            Fact::Stats(numbers) => self.with(stream_id, |stream| counted(stream, ctx, numbers)),
            _ => {}
        }
    }

    /// The workers' offer goes upstream in the client's request.
    fn offer_made(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, sdp: &str) {
        if !ctx.is_up() {
            return;
        }
        let fresh = ctx.random.uuid();
        let until = ctx.now + ctx.settings.restore.proof_timeout;
        let Some(replay) = self.table.get(stream_id).and_then(Stream::offering) else { return };
        // The publisher may have been lost while the offer was made.
        if replay && self.wait_for_publisher(ctx, stream_id) {
            return;
        }
        let stream = self.table.get_mut(stream_id);
        if let Some(message) = stream.and_then(|stream| stream.offer_made(sdp, fresh, until)) {
            ctx.say_upstream(message);
        }
    }

    fn client_answer(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, sdp: &str) {
        if let Some(stream) = self.table.get_mut(stream_id)
            && stream.answer_from_workers()
        {
            ctx.say_remote_sdp(stream, sdp, true);
        }
    }

    /// This stream goes the way of direct media.
    fn unanchorable(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, reason: String) {
        let event = Event::Unanchorable { name: self.table.name_of(stream_id), reason };
        ctx.event(event);
        let up = ctx.is_up();
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        if stream.is_answered() {
            return self.anchored_stream_is_over(ctx, stream_id, INFO_CLIENT_GONE, "not anchored any more");
        }
        match stream.give_up_anchor(up) {
            Some(true) if up => self.replay_stream(ctx, stream_id),
            Some(false) if up => {
                stream.sent_as_it_is();
                let request = stream.request().unwrap_or_default();
                ctx.say_upstream(request);
            }
            _ => {}
        }
    }

    /// Packets (a key frame, where there is video) went through the new leg: that is the proof.
    fn flows(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if self.table.get(stream_id).is_some_and(Stream::awaits_media) {
            self.restored(ctx, stream_id);
        }
    }

    /// The time for a proof is over.
    pub(super) fn proof_is_late(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) {
        if self.table.get(stream_id).is_some_and(Stream::shows_life) {
            // To ask again would only make the receiver wait for the next key frame.
            self.restored(ctx, stream_id);
        } else {
            self.start_over(ctx, stream_id, "no media came through");
        }
    }

    /// Media between us and the upstream came to nothing: ours to mend (rule R9).
    fn upstream_leg_failed(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, reason: &str) {
        let Some(stream) = self.table.get(stream_id) else { return };
        match stream.standing() {
            // An answer we cannot use, but the client perhaps can.
            Standing::Requested if !stream.is_answered() => self.fall_back_to_direct(ctx, stream_id, reason),
            Standing::Requested | Standing::Live | Standing::Replayed => {
                self.start_over(ctx, stream_id, reason)
            }
            Standing::Offering => self.report(ctx, stream_id),
            _ => {}
        }
    }

    /// The workers have no socket left for it: the client hears that it failed. What already ran is
    /// tried again as after any loss.
    fn out_of_sockets(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, reason: &str) {
        if self.table.get(stream_id).is_some_and(Stream::is_answered) {
            self.upstream_leg_failed(ctx, stream_id, reason);
        } else {
            self.anchored_stream_is_over(ctx, stream_id, INFO_NOT_READY, reason);
        }
    }

    /// Takes the stream back from workers and upstream and asks again with the client's own offer.
    fn fall_back_to_direct(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, reason: &str) {
        self.stop_upstream(ctx, stream_id);
        let event = Event::Unanchorable { name: self.table.name_of(stream_id), reason: reason.to_owned() };
        ctx.event(event);
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        let key = stream.leg().map(ClientLeg::key);
        if let Some(key) = key {
            ctx.out.media(MediaCommand::Close { key });
        }
        let _ = stream.give_up_anchor(true);
        self.replay_stream(ctx, stream_id);
    }

    /// Takes the stream back from the upstream and tries again, as long as patience lasts.
    pub(super) fn start_over(&mut self, ctx: &mut Context<'_>, stream_id: StreamId, reason: &str) {
        self.stop_upstream(ctx, stream_id);
        let Some(stream) = self.table.get_mut(stream_id) else { return };
        stream.starts_over(ctx.now);
        ctx.hold_name_for_restore(stream, true);
        if !self.retry(ctx, stream_id, RetryClass::Transient, reason, None) {
            self.report(ctx, stream_id);
        }
    }

    /// The upstream's answer is for our leg, not for the client.
    pub(super) fn upstream_answer(&mut self, ctx: &mut Context<'_>, key: StreamKey, remote: RemoteSdp<'_>) {
        let Some(sdp) = remote.sdp() else { return };
        if sdp.len() > ctx.settings.bounds.stream_bytes_max {
            ctx.not_kept(Full::Entry);
            if let Some(stream_id) = self.table.by_media_key(key) {
                self.upstream_leg_failed(ctx, stream_id, "the answer is too large");
            }
            return;
        }
        let command = MediaCommand::UpstreamAnswer { key, epoch: ctx.upstream.epoch, sdp: sdp.into_owned() };
        ctx.out.media(command);
    }

    /// Takes a stream out, and its legs down.
    pub(super) fn remove_stream(&mut self, ctx: &mut Context<'_>, stream_id: StreamId) -> Option<Stream> {
        let mut stream = self.table.remove(stream_id)?;
        ctx.stop_left(&mut stream);
        self.anchor.in_vain.remember(&stream, ctx);
        if let Some(numbers) = stream.numbers().cloned().map(Box::new) {
            let (name, (restored, _)) = (stream.name().to_owned(), stream.outages());
            ctx.event(Event::MediaSummary { name, restored, numbers });
        }
        if !stream.kind().is_publish() {
            ctx.directory.stop_awaiting_name(stream.name(), ctx.id);
        }
        if stream.may_be_kept() && ctx.client.keep_alive && ctx.outage().is_some() {
            ctx.left_behind.note(&stream);
        }
        if let Some(key) = stream.opened_key() {
            ctx.out.media(MediaCommand::Close { key });
        }
        Some(stream)
    }

    /// States that there are media workers.
    pub(in crate::session) const fn anchor(&mut self) {
        self.anchor.enabled = true;
    }

    /// Whether the workers know one of them by this key.
    pub(in crate::session) fn has_leg(&self, key: StreamKey) -> bool {
        self.table.by_media_key(key).is_some()
    }

    /// Something that concerns one stream alone.
    pub(super) fn with(&mut self, stream_id: StreamId, change: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.table.get_mut(stream_id) {
            change(stream);
        }
    }
}

impl Context<'_> {
    /// The upstream is gone: legs towards it end, legs towards the client stay.
    pub(super) fn detach(&mut self, stream: &Stream) {
        if let Some(key) = stream.opened_key() {
            self.out.media(MediaCommand::Detach { key });
        }
    }
}

/// The workers' numbers of a stream, kept for whoever looks. Each gap that a restore left is
/// told once.
fn counted(stream: &mut Stream, ctx: &mut Context<'_>, numbers: Box<StreamStats>) {
    let (name, kind) = (stream.name().to_owned(), stream.kind().word());
    let known = stream.numbers().map_or(0, |before| before.gaps);
    let new = usize::try_from(numbers.gaps.saturating_sub(known)).unwrap_or(usize::MAX);
    let skip = numbers.gaps_ms.len().saturating_sub(new);
    let gaps: Vec<u64> = numbers.gaps_ms.iter().skip(skip).copied().collect();
    stream.count(numbers);
    for gap_ms in gaps {
        ctx.event(Event::MediaGap { name: name.clone(), kind, gap: Duration::from_millis(gap_ms) });
    }
}
