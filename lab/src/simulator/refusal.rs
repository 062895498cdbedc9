//! Why the simulated server refuses what a client asks, in the words in which it says so (`info`).

use thiserror::Error;

use super::media::MediaRefusal;

/// A refusal; its text is the `info` that the client is told
/// (protocol S5.3, S2.7).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    #[error("Failed to add stream to proxy")]
    NoMedia,
    #[error("No common codecs")]
    NoCommonCodecs,
    #[error("MediaSessionId is already in use")]
    IdInUse,
    #[error("Stream name is already in use")]
    NameInUse,
    #[error("Join refused")]
    JoinRefused,
    #[error("Message refused")]
    MessageRefused,
    #[error("Login is null")]
    NoLogin,
    #[error("Room name is null")]
    NoRoomName,
    #[error("Room not found")]
    NoRoom,
    #[error("Participant not found")]
    NoParticipant,
    #[error("Not in the room")]
    NotInRoom,
    #[error("Unknown command")]
    UnknownCommand,
    #[error("User with such login is already in the room")]
    LoginInRoom,
    /// What the settings say.
    #[error("{0}")]
    Ordered(String),
}

impl From<MediaRefusal> for Refusal {
    fn from(refusal: MediaRefusal) -> Self {
        tracing::info!(%refusal, "no answer for an offer");
        match refusal {
            MediaRefusal::NoCommonCodec(_) | MediaRefusal::CodecRefused(_) => Self::NoCommonCodecs,
            MediaRefusal::IdInUse => Self::IdInUse,
            MediaRefusal::NameInUse => Self::NameInUse,
            MediaRefusal::NoMedia | MediaRefusal::TooManyStreams | MediaRefusal::Failed(_) => Self::NoMedia,
        }
    }
}
