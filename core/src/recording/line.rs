//! The lines of a recording, as they are written: JSON, one object per line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{Epoch, NodeId, SessionId},
    media::StreamKey,
    session::{DialError, Evidence, LossCause, Timestamp},
    settings::SessionSettings,
};

/// Which lines there are and what they mean. Raised when a reader of the one before would misunderstand.
pub const SCHEMA: u32 = 1;

/// Longest line that is written or read, in bytes.
pub const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A line. Times are milliseconds of the process that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line: what this is.
    Recording(Heading),
    /// From here on a session is recorded.
    Session(Box<Start>),
    /// A session was told something.
    In {
        /// Which session.
        s: SessionId,
        /// When.
        t: Timestamp,
        /// What.
        said: Said,
    },
    /// While it handled that, it asked what is known of others, or told it.
    Asked {
        /// Which session.
        s: SessionId,
        /// What.
        what: String,
        /// The answer.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        answer: Value,
    },
    /// It decided something.
    Out {
        /// Which session.
        s: SessionId,
        /// What kind of decision.
        out: String,
        /// What.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// A message went through that the session was not asked about: it is only passed through.
    Passed {
        /// Which session.
        s: SessionId,
        /// When.
        t: Timestamp,
        /// From the client, else from the server.
        from_client: bool,
        /// What, or how many bytes.
        message: Message,
    },
    /// It is over, or is not recorded any more.
    SessionEnd {
        /// Which session.
        s: SessionId,
        /// When.
        t: Timestamp,
    },
    /// The last line: why nothing more was recorded.
    End {
        /// Why.
        reason: String,
    },
}

/// What a recording is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of Holdfast that was recorded.
    pub version: String,
    /// Whether names of streams and addresses have placeholders as well.
    pub anonymous: bool,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
}

/// How a session began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Which session.
    pub s: SessionId,
    /// When it began; where that is not known, since when it is recorded.
    pub t: Timestamp,
    /// All that it was told is recorded, from its beginning: it can be replayed.
    pub from_start: bool,
    /// What its draws come from.
    pub seed: u64,
    /// Its first node.
    pub node: NodeId,
    /// There are media workers.
    pub with_media: bool,
    /// What it goes by.
    pub settings: SessionSettings,
}

/// A message of a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A text.
    Text(String),
    /// One that could not be read, and was replaced as a whole.
    Unreadable(String),
    /// Bytes, of which there were so many.
    Binary(usize),
}

/// An input, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// By the client.
    Client(Message),
    /// By the upstream of this epoch.
    Upstream(Epoch, Message),
    /// The client lives.
    ClientActivity,
    /// The client's socket ended.
    ClientClosed(Option<u16>),
    /// An upstream connection stands.
    UpstreamOpened(Epoch, NodeId),
    /// A dial failed.
    DialFailed(Epoch, DialError),
    /// The upstream lives.
    UpstreamActivity(Epoch),
    /// An upstream connection ended.
    UpstreamLost(Epoch, LossCause),
    /// A node is up.
    NodeUp,
    /// A path is open.
    PathUp,
    /// A node is in doubt.
    NodeDoubtful,
    /// Of a doubt.
    Evidence(Epoch, Evidence),
    /// An order to move.
    Move(NodeId),
    /// The connection that was left is let go.
    LetGo,
    /// It is kept.
    Hold,
    /// An order to leave.
    ForceMove,
    /// Of the media workers: a fact, as JSON.
    Media(StreamKey, Value),
    /// Of another session.
    Mail(MailSaid),
    /// The process ends.
    Shutdown,
    /// A time has come.
    Timeout,
}

/// Mail, as it is written: who somebody is stands only as whether it is the same client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailSaid {
    /// A name is settled.
    NameSettled(String),
    /// A room is settled: the room of this number.
    RoomSettled(u32),
    /// Somebody wants a name.
    ProveAlive {
        /// Which.
        name: String,
        /// Who.
        asker: SessionId,
        /// It seems to be the same client.
        is_same: bool,
    },
    /// A media socket flows.
    MediaSocketFlows(Epoch),
    /// An answer.
    Proven {
        /// Of which name.
        name: String,
        /// Its holder lives.
        alive: bool,
    },
}
