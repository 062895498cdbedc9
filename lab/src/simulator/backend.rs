//! Where the answers to offers come from: made up here, or from the media server.

use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::fake::{self, Direction};
use super::media::{AnswerOptions, CodecRules, Media, VideoCodec, mse_answer};
use super::refusal::Refusal;
use super::settings::{MediaMode, SimulatorSettings};

/// The kinds of media.
#[derive(Clone)]
pub(super) enum Backend {
    /// Made up.
    Fake,
    /// A media server.
    Real(Media),
}

impl fmt::Debug for Backend {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Fake => "Fake",
            Self::Real(_) => "Real",
        })
    }
}

/// What an answer needs to know of its stream.
#[derive(Debug, Clone)]
pub(super) struct AnswerRequest {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) published: bool,
    pub(super) offer: String,
    pub(super) transport_tcp: bool,
}

impl Backend {
    /// The backend that the settings ask for.
    ///
    /// # Errors
    /// When the media server cannot open its sockets.
    pub(super) fn start(settings: &SimulatorSettings) -> std::io::Result<Self> {
        Ok(match settings.media {
            MediaMode::Fake => Self::Fake,
            MediaMode::Real => Self::Real(Media::start(settings.media_server.settings())?),
        })
    }

    /// The answer, when it can be given without waiting.
    pub(super) fn answer_at_once(
        &self,
        settings: &SimulatorSettings,
        request: &AnswerRequest,
    ) -> Option<Result<String, Refusal>> {
        match self {
            Self::Fake => Some(fake_answer(settings, request)),
            Self::Real(_) => None,
        }
    }

    /// The answer of the media server.
    ///
    /// # Errors
    /// What the client is to be told instead.
    pub(super) async fn answer(
        &self,
        settings: &SimulatorSettings,
        request: &AnswerRequest,
    ) -> Result<String, Refusal> {
        let media = match self {
            Self::Fake => return fake_answer(settings, request),
            Self::Real(media) => media,
        };
        let options = AnswerOptions {
            shape: settings.streams.answer_shape,
            codecs: CodecRules {
                prefer: settings.streams.prefer_codecs.clone(),
                exclude: settings.streams.exclude_codecs.clone(),
                refuse: Vec::new(),
                single: settings.streams.single_codec,
            },
            transport_tcp: request.transport_tcp,
            without_repair: settings.streams.without_repair,
            fingerprints: settings.streams.answer_fingerprints.clone(),
            own_payload_types: settings.streams.own_payload_types,
            reject: settings.streams.reject_sections.clone(),
        };
        let answer = if request.published {
            media.publish(&request.id, &request.name, &request.offer, options).await
        } else {
            media.play(&request.id, &request.name, &request.offer, options).await
        };
        Ok(answer?)
    }

    /// The answer to the fixed offer of an MSE player.
    ///
    /// # Errors
    /// What the client is to be told instead.
    #[allow(clippy::unused_self)] // Answers are this type's business, whatever the kind.
    pub(super) fn mse_answer(&self, offer: &str) -> Result<String, Refusal> {
        Ok(mse_answer(offer)?)
    }

    /// Records for an MSE player, when there are real ones.
    pub(super) fn play_mse(&self, id: &str, name: &str) -> Option<mpsc::Receiver<Bytes>> {
        match self {
            Self::Fake => None,
            Self::Real(media) => Some(media.play_mse(id, name)),
        }
    }

    /// What the media server counted.
    pub(super) fn counters(&self) -> Value {
        match self {
            Self::Fake => Value::Null,
            Self::Real(media) => serde_json::to_value(media.counters()).unwrap_or_default(),
        }
    }

    /// The packets received of a publish, when there is real media.
    pub(super) fn packets_received(&self, id: &str) -> Option<u64> {
        match self {
            Self::Fake => None,
            Self::Real(media) => media.counters().streams.get(id).map(|stream| stream.packets_received),
        }
    }

    /// Applies loss, jitter and silence from now on.
    pub(super) fn set_network(&self, settings: &SimulatorSettings, silent: bool) {
        if let Self::Real(media) = self {
            let mut conditions = settings.media_server.network();
            conditions.silent |= silent;
            media.set_network(conditions);
        }
    }

    /// Sends a player no media, or goes on.
    pub(super) fn withhold(&self, id: &str, withheld: bool) {
        if let Self::Real(media) = self {
            media.withhold(id, withheld);
        }
    }

    /// Ends the media of a stream.
    pub(super) fn close(&self, id: &str) {
        if let Self::Real(media) = self {
            media.close(id);
        }
    }
}

fn fake_answer(settings: &SimulatorSettings, request: &AnswerRequest) -> Result<String, Refusal> {
    let direction = if request.published { Direction::Receive } else { Direction::Send };
    let excluded: Vec<&str> = settings.streams.exclude_codecs.iter().copied().map(codec_name).collect();
    fake::answer(&request.offer, settings.streams.answer_shape, direction, &excluded)
}

/// A codec's name in `rtpmap` lines.
pub(super) const fn codec_name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::Vp8 => "VP8",
        VideoCodec::H264 => "H264",
    }
}
