//! What the session core and the media workers say to each other, as far as the core sees it: facts
//! and numbers of anchored streams. What the core orders is [`crate::session::MediaCommand`]. Plain
//! data; it knows no packets and decides nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::session::Epoch;

/// Which way the media of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From the client to the upstream.
    Publish,
    /// From the upstream to the client.
    Play,
}

/// What happened to a stream.
#[derive(Debug)]
pub enum Fact {
    /// The offer to send upstream in place of the client's.
    UpstreamOffer {
        /// The epoch it was asked for.
        epoch: Epoch,
        /// The offer.
        sdp: String,
    },
    /// The answer to give to the client in place of the upstream's; once per stream.
    ClientAnswer {
        /// The answer.
        sdp: String,
    },
    /// This stream cannot be anchored: use direct media. The stream is closed, no facts follow.
    Unanchorable {
        /// For the log; holds no secrets.
        reason: String,
    },
    /// ICE and DTLS with the client stand. Once per stream.
    ClientConnected,
    /// ICE and DTLS with the upstream stand.
    UpstreamConnected {
        /// The epoch of the leg.
        epoch: Epoch,
    },
    /// Media flows through the leg of this epoch. `complete` false is a sign of life: packets came
    /// from the sending side, but not yet all the proof; said with the first of them and about
    /// once per second while more come. `complete` true is the proof, said once per leg.
    Flowing {
        /// The epoch of the leg.
        epoch: Epoch,
        /// A key frame of video passed.
        key_frame: bool,
        /// This is all the proof the stream can give: a key frame for video; a packet where
        /// there is only audio; audio for a while where video gives no key frame; a connected
        /// upstream where the sender (alive) sends nothing at all, or no video because it is muted
        /// or its source pauses.
        complete: bool,
    },
    /// The upstream leg of this epoch came to nothing: no connectivity within the time limit,
    /// a DTLS error, an answer we cannot use, or the peer closed it. The leg is dropped.
    UpstreamFailed {
        /// The epoch of the leg.
        epoch: Epoch,
        /// For the log; holds no secrets.
        reason: String,
    },
    /// There was no socket left for the upstream leg of this epoch. The leg is dropped. Never a
    /// reason for direct media: that would only hide it.
    OutOfSockets {
        /// The epoch of the leg.
        epoch: Epoch,
        /// For the log; holds no secrets.
        reason: String,
    },
    /// Nothing at all has come from the upstream on this leg for `upstream_silence`. Once per
    /// silence; the leg is kept.
    UpstreamSilent {
        /// The epoch of the leg.
        epoch: Epoch,
    },
    /// Nothing at all has come from the client for `client_silence`; repeated after each
    /// further `client_silence` until it is heard again or the tries are over. Answer with
    /// [`MediaCommand::Revive`](crate::session::MediaCommand::Revive) if the client's socket lives.
    ClientSilent {
        /// How often this was said in this silence, from 1.
        tries: u32,
        /// How long the silence has lasted.
        silence: Duration,
    },
    /// The client leg was silent and is heard again.
    ClientRevived {
        /// How long it was silent.
        silence: Duration,
    },
    /// Send this to the client by `setRemoteSDP`.
    NewClientCredentials {
        /// An offer that the SDK never answers.
        sdp: String,
    },
    /// The client leg ended: it closed its side, or revival ran out of tries.
    ClientGone {
        /// For the log.
        reason: String,
    },
    /// A publisher's browser changed its codec on its own: [`MediaCommand::Attach`](crate::session::MediaCommand::Attach) with `narrow` in
    /// the current epoch makes the upstream follow. Video is not forwarded until then.
    CodecChanged {
        /// The epoch of the leg that no longer fits.
        epoch: Epoch,
        /// Encoding name now sent, as in the client's offer.
        codec: String,
    },
    /// The watchdog saw no video from a publisher for `bitrate_max_tries` checks although it is
    /// not muted and the client leg lives. Once per silence of the video.
    NoVideo {
        /// It never sent any since the leg stands; false: it did and pauses (no failure unless
        /// the check is strict).
        never_sent: bool,
        /// The client was answered with H264, so an answer without it might help.
        had_h264: bool,
    },
    /// Video is back after [`Fact::NoVideo`].
    VideoBack,
    /// The stream broke by a fault of ours, or its worker did. The stream is closed, no facts
    /// follow.
    Broken {
        /// For the log; holds no secrets.
        reason: String,
    },
    /// Numbers, every `stats_interval`.
    Stats(Box<StreamStats>),
}

/// Numbers of one stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamStats {
    /// Direction; absent only in the default value.
    pub kind: Option<Kind>,
    /// Encoding name of the video last forwarded.
    pub video_codec: Option<String>,
    /// Encoding name of the audio last forwarded.
    pub audio_codec: Option<String>,
    /// The client's side.
    pub client: LegStats,
    /// The upstream's side, summed over all epochs.
    pub upstream: LegStats,
    /// Upstream legs attached so far.
    pub attached: u32,
    /// Key frames forwarded.
    pub key_frames: u64,
    /// Key frame requests sent to the sending side.
    pub key_frame_requests: u64,
    /// Packets not forwarded: before a key frame, without a leg, of a foreign payload type.
    pub dropped: u64,
    /// Those of them that were too long: no payload over 1,700 bytes is forwarded.
    pub oversized: u64,
    /// Gaps that restores left in the forwarded video, or audio where there is no video.
    pub gaps: u64,
    /// Lengths of the gaps that restores left in the forwarded media, in milliseconds, newest
    /// last, at most 16.
    pub gaps_ms: Vec<u64>,
    /// Times the client leg was given new credentials.
    pub revivals: u32,
}

/// Numbers of one leg, counted in RTP packets and their payload bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LegStats {
    /// RTP packets received.
    pub packets_received: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// RTP packets sent (without retransmissions).
    pub packets_sent: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bits per second received over the last interval.
    pub bitrate_received: u64,
    /// Payload bits per second sent over the last interval.
    pub bitrate_sent: u64,
    /// Share of packets lost on the way to us, 0 to 1, if known.
    pub loss_received: Option<f32>,
    /// Share of packets lost on the way to the peer, 0 to 1, as the peer reports.
    pub loss_sent: Option<f32>,
    /// Round trip in milliseconds, if known.
    pub round_trip_ms: Option<f32>,
}
