//! What the session core and the media workers say to each other of anchored streams: commands, facts
//! and numbers. Plain data; it knows no packets and decides nothing.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, SessionId};

/// Names an anchored stream for as long as the process lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamKey {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its number there.
    pub number: u32,
}

#[cfg(test)]
impl StreamKey {
    /// In tests most streams are of a session with this name.
    pub(crate) const fn of_first_session(number: u32) -> Self {
        Self { session: SessionId(1), number }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m{}", self.session, self.number)
    }
}

/// Which way the media of a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From the client to the upstream.
    Publish,
    /// From the upstream to the client.
    Play,
}

impl Kind {
    /// The status that says the stream runs.
    pub(crate) const fn running(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISHING",
            Self::Play => "PLAYING",
        }
    }

    /// The status that answers the client's own stop.
    pub(crate) const fn stopped(self) -> &'static str {
        match self {
            Self::Publish => "UNPUBLISHED",
            Self::Play => "STOPPED",
        }
    }

    /// As events name it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }

    /// It goes from the client to the upstream.
    #[must_use]
    pub const fn is_publish(self) -> bool {
        matches!(self, Self::Publish)
    }
}

/// Sound, pictures, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tracks {
    /// Sound.
    pub audio: bool,
    /// Pictures.
    pub video: bool,
}

impl Tracks {
    /// One of both at least.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.audio || self.video
    }
}

/// What the session core wants of a stream. Commands for a stream that is unknown (closed, or never
/// opened) are ignored. `C` is what the workers have to know of the client and the session core does not.
#[derive(Debug)]
pub enum MediaCommand<C = ()> {
    /// A client wants to publish or play: take its offer and make an upstream leg for `epoch`.
    /// Answered by [`Fact::UpstreamOffer`], or by [`Fact::Unanchorable`], which ends the stream.
    Open {
        /// The stream.
        key: StreamKey,
        /// Which way the media goes.
        kind: Kind,
        /// The upstream connection that will get the offer.
        epoch: Epoch,
        /// The `sdp` of the client's `publishStream` or `playStream`.
        client_offer: String,
        /// Leave H264 out, towards the client as well: it failed with it before, or the upstream
        /// refused.
        refuse_h264: bool,
        /// What its driver knows of the client.
        client: C,
    },
    /// Make a new upstream leg: a new epoch, or another try in the same one. The old one, if
    /// any, is dropped, unless the new one begins beside it. Answered by [`Fact::UpstreamOffer`].
    Attach {
        /// The stream.
        key: StreamKey,
        /// The upstream connection that will get the offer.
        epoch: Epoch,
        /// Offer only the payload types that are being sent (publish). Right for restores and
        /// codec changes; without effect before the first packet and on plays.
        narrow: bool,
        /// Leave H264 out of the offer and of the client's answer, if that was not given yet.
        refuse_h264: bool,
        /// Keep the leg there is as the one that is left, and let media go on through it: a player
        /// is sent its media until a key frame has come through the new leg, a publisher's media
        /// goes to both. It ends by [`MediaCommand::LetGo`], [`MediaCommand::Return`],
        /// [`MediaCommand::Detach`], an `Attach` that is not beside, or with the stream. A leg that is
        /// left already stays that; the one in the making is dropped for the new one. Where no leg is
        /// any more there is nothing to keep: the new one begins like any other.
        ///
        /// [`Fact::Flowing`], complete, says that a player has been switched to the new leg, or that the
        /// new upstream has a publisher's key frame. While the leg that is left shows a picture, sound
        /// alone proves nothing. If the new leg fails ([`Fact::UpstreamFailed`] of its epoch) the one that
        /// is left goes on, also for a player that had been switched. If the one that is left
        /// fails, nothing is said: see [`MediaCommand::Return`].
        beside: bool,
    },
    /// The move is made: drop the leg that is left, if there is one.
    LetGo {
        /// The stream.
        key: StreamKey,
    },
    /// The move came to nothing: drop the new leg, whatever became of it, and lead with the one
    /// that is left; a player that had been switched goes back to it at its next key frame. Answered
    /// only if that leg was lost in the meantime, or was none when the new one began: by
    /// [`Fact::UpstreamFailed`] of its epoch. Ignored if no leg began beside another.
    Return {
        /// The stream.
        key: StreamKey,
    },
    /// The `sdp` of the upstream's `setRemoteSDP` for the offer of this epoch. The first one
    /// is answered by [`Fact::ClientAnswer`]. Ignored if another epoch was attached since, or
    /// if this offer has its answer already.
    UpstreamAnswer {
        /// The stream.
        key: StreamKey,
        /// The epoch of the offer it answers.
        epoch: Epoch,
        /// The answer.
        sdp: String,
    },
    /// The upstream is lost: drop its leg, and one that is left, keep the client's.
    Detach {
        /// The stream.
        key: StreamKey,
    },
    /// The client (un)muted: the watchdog does not expect muted video.
    Muted {
        /// The stream.
        key: StreamKey,
        /// Video is muted now.
        video: bool,
    },
    /// Give the client leg new ICE credentials, to be sent to the client by `setRemoteSDP`.
    /// Answered by [`Fact::NewClientCredentials`]; also after [`Fact::ClientSilent`] only.
    Revive {
        /// The stream.
        key: StreamKey,
    },
    /// The stream is over. No facts follow.
    Close {
        /// The stream.
        key: StreamKey,
    },
}

impl MediaCommand {
    /// The same with what its driver knows of the client.
    #[must_use]
    pub fn of<C>(self, client: impl FnOnce() -> C) -> MediaCommand<C> {
        match self {
            Self::Open { key, kind, epoch, client_offer, refuse_h264, client: () } => {
                MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client: client() }
            }
            Self::Attach { key, epoch, narrow, refuse_h264, beside } => {
                MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside }
            }
            Self::LetGo { key } => MediaCommand::LetGo { key },
            Self::Return { key } => MediaCommand::Return { key },
            Self::UpstreamAnswer { key, epoch, sdp } => MediaCommand::UpstreamAnswer { key, epoch, sdp },
            Self::Detach { key } => MediaCommand::Detach { key },
            Self::Muted { key, video } => MediaCommand::Muted { key, video },
            Self::Revive { key } => MediaCommand::Revive { key },
            Self::Close { key } => MediaCommand::Close { key },
        }
    }
}

impl<C> MediaCommand<C> {
    /// The stream it is for.
    #[must_use]
    pub const fn key(&self) -> StreamKey {
        match self {
            Self::Open { key, .. }
            | Self::Attach { key, .. }
            | Self::UpstreamAnswer { key, .. }
            | Self::Detach { key }
            | Self::LetGo { key }
            | Self::Return { key }
            | Self::Muted { key, .. }
            | Self::Revive { key }
            | Self::Close { key } => *key,
        }
    }
}

/// What happened to a stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Which media goes through the leg of this epoch: of a play what comes from the upstream, of a publish
    /// what goes there. Said when the first goes, or after a while in which none does, and at each change
    /// from then on; of a leg that began beside another as of any other.
    Goes {
        /// The epoch of the leg.
        epoch: Epoch,
        /// What the leg is for.
        taken: Tracks,
        /// What went through it of late.
        goes: Tracks,
    },
    /// Nothing at all has come from the client for `client_silence`; repeated after each
    /// further `client_silence` until it is heard again or the tries are over. Answer with
    /// [`MediaCommand::Revive`] if the client's socket lives.
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
    /// A publisher's browser changed its codec on its own: [`MediaCommand::Attach`] with `narrow` in
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
    /// Gaps that restores and moves left in the forwarded video, or audio where there is no video: from
    /// the last packet through the leg before to the first through the next. A publisher's move
    /// leaves none, for its media goes to both.
    pub gaps: u64,
    /// Their lengths in milliseconds, newest last, at most 16.
    pub gaps_ms: Vec<u64>,
    /// Legs that began beside another and took over from it.
    pub moves: u32,
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
