//! Packets from one leg to the other. The feedback that goes the other way is in `feedback`.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use str0m::net::Transmit;

use crate::media::{
    Fact, Kind,
    descriptor::{starts_key_frame, vp8_numbers, vp8_patch},
    engine::{EngineEvent, Fares, Media},
    resend::Packet,
    sdp::{CodecKind, MediaType},
    transport::{PAYLOAD_BYTES_MAX, TransportEvent},
};

use crate::milliseconds::ms;

use super::{Context, Side, Stream, error::LegEnd, leg::send_to_client, path::Path, proof::flowed};

/// How often the legs may wake each other before the worker turns to other streams.
const ROUNDS_MAX: usize = 4;

/// Lengths of gaps that are kept for the statistics.
const GAPS_MAX: usize = 16;

impl Stream {
    /// Lets one transport speak, and acts on what it says.
    pub(super) fn drive(&mut self, side: Side, number: usize, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let mut events = std::mem::take(ctx.events);
        match side {
            Side::Client => {
                if let Some(transport) = self.legs.transport(side, number) {
                    let mut send = |t: Transmit, local: Option<IpAddr>| send_to_client(t, local, ctx);
                    transport.drive(now, &mut send, &mut events, number);
                }
            }
            Side::Upstream | Side::Left => {
                if let Some(leg) = self.legs.leg_mut(side)
                    && let (Some(transport), Some(link)) =
                        (leg.transports.all.get_mut(number), leg.links.get_mut(number))
                {
                    let mut send = |t: Transmit, _| link.send(t, ctx);
                    transport.drive(now, &mut send, &mut events, number);
                }
            }
        }
        for (number, event) in events.drain(..) {
            match event {
                TransportEvent::Engine(event) => self.on_event(side, number, event, ctx),
                TransportEvent::Failed(error) => self.on_failed(side, LegEnd::Transport(error), ctx),
            }
        }
        // What was handled may have left events of its own (a leg that was released).
        events.clear();
        *ctx.events = events;
    }

    /// Lets every transport speak that was written to or whose time has come.
    pub(crate) fn drive_all(&mut self, ctx: &mut Context<'_>) {
        for _ in 0..ROUNDS_MAX {
            let mut busy = false;
            for side in Side::ALL {
                for number in 0..self.legs.of(side).map_or(0, |t| t.all.len()) {
                    if self.is_due(side, number, ctx.now) {
                        busy = true;
                        self.drive(side, number, ctx);
                    }
                }
            }
            if !busy {
                break;
            }
        }
    }

    fn is_due(&self, side: Side, number: usize, now: Instant) -> bool {
        let transport = self.legs.of(side).and_then(|t| t.all.get(number));
        transport.is_some_and(|t| t.dirty || t.deadline <= now)
    }

    fn on_event(&mut self, side: Side, number: usize, event: EngineEvent, ctx: &mut Context<'_>) {
        match event {
            EngineEvent::Media(packet) => self.forward(side, number, packet, ctx),
            EngineEvent::KeyFrameWanted(section) => {
                if let Some(index) = self.index_of(side, number, section) {
                    self.pass_key_frame_request(side, index, ctx);
                }
            }
            EngineEvent::CanTake { section, bitrate } => {
                if let Some(index) = self.index_of(side, number, section) {
                    self.pass_estimate(side, index, bitrate);
                }
            }
            EngineEvent::Connected => self.on_connected(side, ctx),
            EngineEvent::Closed => self.on_failed(side, LegEnd::PeerClosed, ctx),
            EngineEvent::Disconnected if side != Side::Client => {
                self.on_failed(side, LegEnd::Disconnected, ctx);
            }
            // Clients come back; what is asked for again the transport has sent.
            EngineEvent::Disconnected | EngineEvent::Again { .. } => {}
            // Of the upstream's legs the numbers are those of the one that counts.
            EngineEvent::Egress(_) | EngineEvent::Ingress(_)
                if side != Side::Client && side != self.leading() => {}
            EngineEvent::Egress(Fares { loss, round_trip }) => {
                let leg = self.leg_stats(side);
                leg.loss_sent = loss.or(leg.loss_sent);
                leg.round_trip_ms = round_trip.map(|rtt| rtt.as_secs_f32() * 1000.0).or(leg.round_trip_ms);
            }
            EngineEvent::Ingress(Fares { loss, round_trip }) => {
                let leg = self.leg_stats(side);
                leg.loss_received = loss.or(leg.loss_received);
                leg.round_trip_ms = round_trip.map(|rtt| rtt.as_secs_f32() * 1000.0).or(leg.round_trip_ms);
            }
        }
    }

    const fn leg_stats(&mut self, side: Side) -> &mut crate::media::LegStats {
        match side {
            Side::Client => &mut self.stats.client,
            Side::Upstream | Side::Left => &mut self.stats.upstream,
        }
    }

    pub(super) fn index_of(&self, side: Side, number: usize, mid: str0m::media::Mid) -> Option<usize> {
        self.legs.of(side)?.all.get(number)?.index_of(mid)
    }

    fn on_connected(&mut self, side: Side, ctx: &Context<'_>) {
        if side == Side::Client {
            let Some(client) =
                self.legs.client.as_mut().filter(|c| c.transports.connected() && !c.said_connected)
            else {
                return;
            };
            client.said_connected = true;
            self.reporter.say(Fact::ClientConnected);
        } else {
            let Some(leg) = self.legs.leg_mut(side) else { return };
            if !leg.transports.connected() || leg.connected_at.is_some() {
                return;
            }
            leg.connected_at = Some(ctx.now);
            let epoch = leg.epoch;
            self.reporter.say(Fact::UpstreamConnected { epoch });
        }
        self.request_key_frames(ctx);
        self.timers_at = ctx.now;
    }

    /// A leg ended.
    pub(super) fn on_failed(&mut self, side: Side, end: LegEnd, ctx: &mut Context<'_>) {
        match side {
            Side::Upstream => {
                if let Some(epoch) = self.legs.epoch() {
                    self.drop_newest(ctx);
                    self.reporter.say(Fact::UpstreamFailed { epoch, reason: end.to_string() });
                }
            }
            Side::Left => self.left_lost(end, ctx),
            Side::Client => {
                if let Some(client) = self.legs.client.take() {
                    client.release(self.key, ctx);
                    self.reporter.say(Fact::ClientGone { reason: end.to_string() });
                }
            }
        }
    }

    fn forward(&mut self, side: Side, number: usize, packet: Media, ctx: &mut Context<'_>) {
        let bytes = packet.payload.len() as u64;
        let leg = self.leg_stats(side);
        leg.packets_received += 1;
        leg.bytes_received += bytes;
        ctx.tally.packets_received += 1;
        ctx.tally.bytes_received += bytes;
        let key_frames = self.stats.key_frames;
        let sent = self.pass_on(side, number, packet, ctx);
        ctx.tally.key_frames += self.stats.key_frames - key_frames;
        let leg = self.leg_stats(if side == Side::Client { Side::Upstream } else { Side::Client });
        leg.packets_sent += sent;
        leg.bytes_sent += sent * bytes;
        if sent > 0 {
            ctx.tally.packets_forwarded += 1;
            ctx.tally.bytes_forwarded += bytes;
        } else {
            self.stats.dropped += 1;
            ctx.tally.packets_dropped += 1;
        }
    }

    /// Takes a packet of the sending side to the other, a publisher's to both upstreams while it moves.
    /// Returns how often it was sent.
    fn pass_on(&mut self, side: Side, number: usize, packet: Media, ctx: &Context<'_>) -> u64 {
        if (side == Side::Client) != self.kind.is_publish() {
            return 0;
        }
        if packet.payload.len() > PAYLOAD_BYTES_MAX {
            self.stats.oversized += 1;
            return 0;
        }
        match self.kind {
            Kind::Play => u64::from(self.pass(side, number, packet, ctx)),
            Kind::Publish if self.legs.left.is_some() => {
                let left = self.pass(Side::Left, number, packet.clone(), ctx);
                u64::from(left) + u64::from(self.pass(Side::Upstream, number, packet, ctx))
            }
            Kind::Publish => u64::from(self.pass(Side::Upstream, number, packet, ctx)),
        }
    }

    /// Takes a packet through this leg of the upstream. False: it was dropped.
    fn pass(&mut self, leg: Side, number: usize, mut packet: Media, ctx: &Context<'_>) -> bool {
        let now = ctx.now;
        let ssrc = packet.ssrc;
        let source = self.legs.transport(leg.source(self.kind), number);
        let Some(index) = source.and_then(|t| t.section_of(ssrc)) else { return false };
        let Some((path, _)) = self.legs.way(&mut self.paths, self.kind, leg, index) else { return false };
        if path.over_limit(packet.payload.len(), ctx.settings.bitrate_max, now) {
            return false;
        }
        if !packet.payload.is_empty() {
            path.last_in = Some(now);
        }
        if self.kind == Kind::Play {
            // From here on it has the client's number.
            packet.payload_type = path.payload_type_out(packet.payload_type);
        }
        let payload_type = packet.payload_type;
        if path.media == MediaType::Video
            && !packet.payload.is_empty()
            && let Some(watchdog) = &mut self.watchdog
        {
            watchdog.saw_video(now);
        }
        path.source_is(ssrc);
        path.report = packet.report.or(path.report);
        if !packet.payload.is_empty() {
            path.last_type = Some(payload_type);
        }
        if !path.allowed.contains(&payload_type) {
            if leg == Side::Upstream {
                self.on_foreign_type(index, payload_type, ctx);
            }
            return false;
        }
        self.goes_on(leg, index, &packet, now) && self.write(leg, index, packet, ctx)
    }

    fn write(&mut self, leg: Side, index: usize, packet: Media, ctx: &Context<'_>) -> bool {
        let now = ctx.now;
        let reported = |p: &Path| p.report.is_some() || p.last_in.is_none();
        let all_reported = self.paths_of(leg).iter().flatten().all(reported);
        let Some((path, target)) = self.legs.way(&mut self.paths, self.kind, leg, index) else {
            return false;
        };
        let Some(target) = target.filter(|t| t.connected) else { return false };
        let payload_type = packet.payload_type;
        let Some(format) = path.format(payload_type).map(|f| f.handling) else { return false };
        let key_frame = path.media == MediaType::Video && starts_key_frame(format.kind, &packet.payload);
        if path.waiting {
            if !key_frame {
                return false;
            }
            path.key_frame_seen();
        }
        let timestamp = packet.timestamp;
        let sent = &mut path.sent;
        let Some(numbers) = sent.continuity.map(packet.sequence, timestamp, format.clock_rate, now) else {
            return false;
        };
        if key_frame && sent.key_timestamp != Some(numbers.timestamp) {
            sent.key_timestamp = Some(numbers.timestamp);
            self.stats.key_frames += 1;
        }
        let report = path.report.filter(|_| all_reported);
        let capture = self.sender_clock.capture(report, timestamp, format.clock_rate, now);
        let mut extensions = packet.extensions;
        extensions.mid = None;
        extensions.rid = None;
        extensions.rid_repair = None;
        extensions.transport_cc = None;
        extensions.abs_send_time = None;
        let vp8 = if format.kind == CodecKind::Vp8 { vp8_numbers(&packet.payload) } else { None };
        let vp8_patch =
            vp8.and_then(|(descriptor, numbers)| vp8_patch(&descriptor, sent.continuity.map_vp8(numbers)));
        let write = Packet {
            payload_type: match self.kind {
                Kind::Publish => path.payload_type_out(payload_type).into(),
                Kind::Play => payload_type.into(),
            },
            sequence: numbers.sequence,
            timestamp: numbers.timestamp,
            wallclock: capture,
            marker: packet.marker,
            extensions,
            payload: packet.payload,
            vp8_patch,
            repairable: format.repairable,
        };
        if !target.write(index, write) {
            return false;
        }
        self.went(leg, index, now);
        true
    }

    /// A packet went out: was it the first one through this leg, or after a gap?
    fn went(&mut self, leg: Side, index: usize, now: Instant) {
        let Some((path, _)) = self.legs.way(&mut self.paths, self.kind, leg, index) else { return };
        let last = path.sent.last_out.replace(now);
        let is_after_gap = std::mem::take(&mut path.sent.interrupted);
        let is_first = !std::mem::replace(&mut path.flowed, true);
        path.ever_flowed = true;
        let is_picture = path.media == MediaType::Video;
        if let Some(last) = last.filter(|_| is_after_gap)
            // The picture's gap is the one that is seen; without a picture it is that of the sound.
            && (is_picture || flowed(self.paths_of(leg), MediaType::Video).is_empty())
        {
            self.note_gap(now.saturating_duration_since(last));
        }
        if is_first && leg == Side::Upstream {
            self.say_flowing(now);
        }
    }

    fn note_gap(&mut self, gap: Duration) {
        self.stats.gaps += 1;
        self.stats.gaps_ms.push(ms(gap));
        if self.stats.gaps_ms.len() > GAPS_MAX {
            self.stats.gaps_ms.remove(0);
        }
    }

    /// A payload type that the receiving leg does not take.
    fn on_foreign_type(&mut self, index: usize, payload_type: u8, ctx: &Context<'_>) {
        let Some(path) = self.paths.get(index).and_then(Option::as_ref) else { return };
        let Some(format) = path.format(payload_type) else { return };
        if self.kind != Kind::Publish || path.media != MediaType::Video || !ctx.settings.change_codec {
            return;
        }
        let codec = format.name.clone();
        if let Some(leg) = self.legs.live_mut()
            && !leg.said_codec
        {
            leg.said_codec = true;
            let epoch = leg.epoch;
            self.reporter.say(Fact::CodecChanged { epoch, codec });
        }
    }
}
