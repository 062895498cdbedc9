//! Media of anchored streams: what viewers see, what the workers move. In a proxy that anchors no media the
//! families of the workers are not there.

use std::fmt;

use crate::{
    media::MediaStatus,
    net::View,
    telemetry::counts::{Direction, Label, Leg, MediaCounts},
};

use super::page::{Page, of};

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let counts = &view.counts().media;
    seen(page, counts)?;
    paths(page, counts)?;
    view.media.as_ref().map_or(Ok(()), |status| {
        workers(page, status, counts)?;
        moved(page, status)?;
        sockets(page, status)
    })
}

/// What clients notice.
fn seen(page: &mut Page<'_>, counts: &MediaCounts) -> fmt::Result {
    let help = "How long media stood still because of a restore: of plays at the viewer, of publishes at the server.";
    page.histograms("media_gap_seconds", help, counts.gaps().map(|(kind, gaps)| (vec![of(kind)], gaps)))?;
    let help = "Streams whose media goes past the proxy although it is to be anchored.";
    page.count("media_streams_unanchorable", help, &counts.unanchorable)?;
    let help = "Streams whose media is gone for good; their clients were told.";
    page.count("media_streams_lost", help, &counts.lost)?;
    let help = "Times that a publisher sent no video and was asked for a key frame.";
    page.count("media_streams_without_video", help, &counts.no_video)?;
    page.count("media_codec_changes", "Times that a publisher changed its codec.", &counts.codec_changes)
}

/// The ways of media, by what each stream says of itself every few seconds.
fn paths(page: &mut Page<'_>, counts: &MediaCounts) -> fmt::Result {
    let codecs = counts.codecs().map(|(codec, streams)| (vec![of(codec)], streams));
    page.gauges(
        "media_codec_streams",
        "Anchored streams by codec; one with audio and video counts for both.",
        codecs,
    )?;
    let legs = || Leg::ALL.iter().copied();
    let trips = legs().filter_map(|leg| Some((vec![of(leg)], counts.round_trip(leg)?)));
    let help = "Round trips of media; each stream counts once per interval of its numbers.";
    page.histograms("media_round_trip_seconds", help, trips)?;
    let losses = legs().flat_map(|leg| {
        let directions = Direction::ALL.iter().copied();
        directions.filter_map(move |way| Some((vec![of(leg), of(way)], counts.loss(leg, way)?)))
    });
    let help = "Shares of packets lost on the way; each stream counts once per interval of its numbers.";
    page.histograms("media_loss_ratio", help, losses)
}

fn workers(page: &mut Page<'_>, status: &MediaStatus, counts: &MediaCounts) -> fmt::Result {
    let (health, counted) = (&status.health, &status.counted);
    page.gauge("media_workers", "Media workers that there should be.", health.workers)?;
    page.gauge("media_workers_alive", "Media workers at work.", health.workers_alive)?;
    let help = "Media workers that a fault ended and that were started again.";
    page.counter("media_worker_restarts", help, health.worker_restarts)?;
    page.gauge("media_streams", "Anchored streams.", counted.streams)?;
    page.counter("media_streams_opened", "Anchored streams opened.", counted.streams_opened)?;
    let help = "Anchored streams that a fault of Holdfast ended.";
    page.counter("media_streams_broken", help, counted.streams_broken)?;
    page.counter("media_key_frames", "Key frames passed on.", counted.key_frames)?;
    let help = "Key frames that senders were asked for.";
    page.count("media_key_frame_requests", help, &counts.key_frame_requests)?;
    let help = "Times that a client's media was silent and was given a new way.";
    page.counter("media_revivals", help, counted.revivals)
}

fn moved(page: &mut Page<'_>, status: &MediaStatus) -> fmt::Result {
    let counted = &status.counted;
    let help = "RTP packets that were authentic.";
    page.counter("media_packets_received", help, counted.packets_received)?;
    let help = "RTP packets passed to the other side.";
    page.counter("media_packets_forwarded", help, counted.packets_forwarded)?;
    let help = "RTP packets not passed on: before a key frame, without a receiver, past a bound.";
    page.counter("media_packets_dropped", help, counted.packets_dropped)?;
    page.counter("media_received_bytes", "RTP payload that was authentic.", counted.bytes_received)?;
    page.counter("media_forwarded_bytes", "RTP payload passed to the other side.", counted.bytes_forwarded)?;
    let ways = [(Direction::Received, counted.datagrams_received), (Direction::Sent, counted.datagrams_sent)];
    let ways = ways.map(|(way, count)| (vec![of(way)], count));
    page.counters("media_datagrams", "Datagrams on all sockets.", ways)?;
    let foreign =
        [(Leg::Client, counted.datagrams_foreign), (Leg::Upstream, counted.datagrams_foreign_upstream)];
    let foreign = foreign.map(|(leg, count)| (vec![of(leg)], count));
    page.counters("media_datagrams_foreign", "Datagrams that belong to no stream.", foreign)?;
    let help = "Datagrams of streams that were not authentic, or past a bound.";
    page.counter("media_datagrams_refused", help, counted.datagrams_refused)?;
    status.kernel_drops.map_or(Ok(()), |drops| {
        page.counter("media_kernel_drops", "Datagrams that the kernel dropped: sockets were full.", drops)
    })
}

fn sockets(page: &mut Page<'_>, status: &MediaStatus) -> fmt::Result {
    let counted = &status.counted;
    page.gauge("media_tcp_connections", "TCP connections of clients for media.", counted.tcp_connections)?;
    let help = "TCP connections for media that got no place, or lost it without having passed a check.";
    page.counter("media_tcp_refused", help, counted.tcp_refused)?;
    let help = "Sockets and connections to nodes for media, beside the one that streams share.";
    page.gauge("media_upstream_sockets", help, counted.upstream_sockets)?;
    let help = "Addresses of nodes that media is taken from.";
    page.gauge("media_upstream_addresses", help, counted.upstream_addresses)
}
