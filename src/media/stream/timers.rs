//! What a stream does as time passes: retries, time limits, silences, statistics.

use std::time::{Duration, Instant};

use crate::media::{Fact, sdp::MediaType, watchdog::Verdict};

use super::{Context, Side, Stream, error::LegEnd, path::Path, transports::Transports};

/// How often a stream looks at its clocks.
const PACE: Duration = Duration::from_millis(50);

/// How long the loss of a connection is kept back. A server that dies takes its signaling with it,
/// and whoever hears of both wants to hear of that first.
const CONNECTION_END_GRACE: Duration = Duration::from_millis(500);

impl Stream {
    /// When [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.legs.deadline().into_iter().fold(self.timers_at, Instant::min)
    }

    /// Does what is due. Calls before the deadline are harmless.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if ctx.now >= self.timers_at {
            self.timers_at = ctx.now + PACE;
            self.run_timers(ctx);
        }
        self.drive_all(ctx);
    }

    fn run_timers(&mut self, ctx: &mut Context<'_>) {
        if !self.reporter.flush() {
            self.close(ctx);
            return;
        }
        self.request_key_frames(ctx);
        self.watch_upstream(Side::Upstream, ctx);
        self.watch_upstream(Side::Left, ctx);
        self.watch_client(ctx);
        self.watch_video(ctx.now);
        self.say_flowing(ctx.now);
        self.say_goes(ctx);
        self.say_stats(ctx);
    }

    /// A transport of an upstream leg has no connection any more.
    pub(super) fn connection_ended(&mut self, side: Side, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let Some(leg) = self.legs.leg_mut(side) else { return };
        if leg.connected_at.is_none() {
            self.on_failed(side, LegEnd::ConnectionEnded, ctx);
        } else {
            leg.ended_at.get_or_insert(now);
        }
    }

    fn watch_upstream(&mut self, side: Side, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let Some(leg) = self.legs.leg_mut(side) else { return };
        let epoch = leg.epoch;
        if leg.ended_at.is_some_and(|at| now.saturating_duration_since(at) >= CONNECTION_END_GRACE) {
            self.on_failed(side, LegEnd::ConnectionEnded, ctx);
            return;
        }
        if leg.connected_at.is_none()
            && now.saturating_duration_since(leg.created) > ctx.settings.upstream_connect_max
        {
            self.on_failed(side, LegEnd::NotConnected, ctx);
            return;
        }
        let Some(heard) = leg.transports.heard().filter(|_| leg.connected_at.is_some()) else { return };
        let silent = now.saturating_duration_since(heard) > ctx.settings.upstream_silence;
        if silent && !leg.said_silent {
            self.reporter.say(Fact::UpstreamSilent { epoch });
        }
        leg.said_silent = silent;
    }

    fn watch_client(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let Some(client) = &mut self.legs.client else { return };
        let settings = ctx.settings;
        let heard = client.transports.heard();
        if !client.transports.connected()
            && now.saturating_duration_since(client.created) > settings.client_connect_max
        {
            let end = if heard.is_none() { LegEnd::NeverHeard } else { LegEnd::ClientNotConnected };
            self.on_failed(Side::Client, end, ctx);
            return;
        }
        let Some(heard) = heard else { return };
        if heard > client.silent_since {
            if client.silent_tries > 0 {
                let silence = heard.saturating_duration_since(client.silent_since);
                let silence = silence + settings.client_silence * client.silent_tries;
                self.reporter.say(Fact::ClientRevived { silence });
            }
            client.silent_since = heard;
            client.silent_tries = 0;
        }
        if settings.client_silence.is_zero()
            || now.saturating_duration_since(client.silent_since) < settings.client_silence
        {
            return;
        }
        if client.silent_tries >= settings.client_revive_tries_max {
            self.on_failed(Side::Client, LegEnd::StayedSilent, ctx);
            return;
        }
        client.silent_tries += 1;
        client.silent_since = now;
        let tries = client.silent_tries;
        self.reporter.say(Fact::ClientSilent { tries, silence: now.saturating_duration_since(heard) });
    }

    fn watch_video(&mut self, now: Instant) {
        let heard = self.legs.of(Side::Client).and_then(Transports::heard);
        let connected = self.legs.stands(Side::Client);
        let Some(watchdog) = self.watchdog.as_mut().filter(|w| now >= w.next_check()) else { return };
        if !connected {
            // The time until the client stands is not silence of its video.
            watchdog.mute(self.video_muted, now);
        }
        match watchdog.check(heard, now) {
            Some(Verdict::Silent { never_sent }) => {
                let had_h264 = self
                    .paths
                    .iter()
                    .flatten()
                    .any(|p| p.formats.iter().any(|f| f.name.eq_ignore_ascii_case("H264")));
                self.reporter.say(Fact::NoVideo { never_sent, had_h264 });
                let is_video =
                    |path: &Option<Path>| path.as_ref().is_some_and(|p| p.media == MediaType::Video);
                if let Some(index) = self.paths.iter().position(is_video)
                    && let Some(source) = self.legs.carrying(Side::Client, index)
                {
                    source.request_key_frame(index);
                }
            }
            Some(Verdict::Back) => self.reporter.say(Fact::VideoBack),
            None => {}
        }
    }

    fn say_stats(&mut self, ctx: &Context<'_>) {
        let interval = ctx.settings.stats_interval;
        let elapsed = ctx.now.saturating_duration_since(self.stats_at);
        if interval.is_zero() || elapsed < interval {
            return;
        }
        self.stats_at = ctx.now;
        let rate = |bytes: u64, before: u64| {
            let bits = bytes.saturating_sub(before).saturating_mul(8);
            (bits as f64 / elapsed.as_secs_f64()) as u64
        };
        let before = self.stats_before;
        let now = [
            self.stats.client.bytes_received,
            self.stats.client.bytes_sent,
            self.stats.upstream.bytes_received,
            self.stats.upstream.bytes_sent,
        ];
        let [client_in, client_out, upstream_in, upstream_out] = std::array::from_fn(|i| {
            rate(now.get(i).copied().unwrap_or_default(), before.get(i).copied().unwrap_or_default())
        });
        self.stats.client.bitrate_received = client_in;
        self.stats.client.bitrate_sent = client_out;
        self.stats.upstream.bitrate_received = upstream_in;
        self.stats.upstream.bitrate_sent = upstream_out;
        self.stats_before = now;
        for path in self.paths.iter().flatten() {
            let name = path.last_type.and_then(|pt| path.format(pt)).map(|f| f.name.clone());
            match path.media {
                MediaType::Audio => self.stats.audio_codec = name,
                MediaType::Video => self.stats.video_codec = name,
            }
        }
        self.reporter.say(Fact::Stats(Box::new(self.stats.clone())));
    }
}
