//! Which message it is: what a session acts on, by name, each with a view of its fields.
//!
//! A name stands here and nowhere else. What is not listed is `Other`: it passes as the bytes that
//! arrived, and nobody looks into it. Matching the name is all that this does; nothing of the
//! arguments is read before a handler asks its view, and what a message means is for the session.

use super::{
    peek::Peek,
    view::{
        AboutStream, AudioCodec, AvailableAnswer, CallMessage, Connection, DataEvent, DataStatus, Fail,
        MediaTransport, MetricsUpdate, RemoteSdp, SendData, SessionDebug, StreamEvent, StreamRequest,
        StreamStatus, UserData,
    },
};

macro_rules! messages {
    ($(#[$about:meta])* $kind:ident {
        $($(#[$meaning:meta])* $variant:ident $(($view:ident))? = $($name:literal)|+,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub enum $kind<'a> {
            $(
                $(#[$meaning])*
                #[doc = concat!("\n\nOn the wire:" $(, " `", stringify!($name), "`")+, ".")]
                $variant $(($view<'a>))?,
            )*
            /// A message that nobody acts on.
            Other,
        }

        impl<'a> $kind<'a> {
            /// The message of this name. Names are case-sensitive, as in the SDK.
            #[must_use]
            pub fn of(peek: &'a Peek<'a>) -> Self {
                match &*peek.name {
                    $($($name)|+ => Self::$variant $(($view::of(peek)))?,)*
                    _ => Self::Other,
                }
            }

            /// Whether somebody may look into the arguments of messages of this name.
            pub(crate) const fn is_looked_into(name: &[u8]) -> bool {
                match name {
                    $($($name)|+ => {
                        const VIEW: &[&str] = &[$(stringify!($view))?];
                        !VIEW.is_empty()
                    })*
                    _ => false,
                }
            }

            /// Every name that is not `Other`.
            #[cfg(test)]
            pub(super) const NAMES: &'static [&'static [u8]] = &[$($($name,)+)*];
        }
    };
}

messages! {
    /// A message from client to server (protocol S2.1, S2.3, S2.5, S2.9).
    ClientMessage {
        /// A sign of life, to be answered.
        Ping = b"ping",
        /// A sign of life, as the answer to one.
        Pong = b"pong",
        /// What loses nothing when lost: nobody waits for an answer.
        OneShot = b"pushLogs" | b"sendDtmf" | b"submitBugReport",
        /// Metrics of a stream, many of them.
        MetricsBatch(AboutStream) = b"webRTCMetricsBatch",
        /// Who the client is: the first message of a session.
        Connection(Connection) = b"connection",
        /// The first message of a media socket.
        ConnectMediaTransport(MediaTransport) = b"connectMediaTransport",
        /// A stream is to be published.
        PublishStream(StreamRequest) = b"publishStream",
        /// A stream is to be played.
        PlayStream(StreamRequest) = b"playStream",
        /// The end of a publish.
        UnPublishStream(StreamRequest) = b"unPublishStream",
        /// The end of a play.
        StopStream(StreamRequest) = b"stopStream",
        /// A question whether a stream is there.
        AvailableStream(AboutStream) = b"availableStream",
        /// A picture of a stream is wanted.
        Snapshot(AboutStream) = b"snapshot",
        /// An event of a stream, as a mute.
        SendStreamEvent(StreamEvent) = b"sendStreamEvent",
        /// What metrics a stream will have.
        MetricsDescription(AboutStream) = b"webRTCMetricsClientDescription",
        /// Data of the application, or a command of the room protocol.
        SendData(SendData) = b"sendData",
        /// A call begins.
        Call(CallMessage) = b"call",
        /// Something is done with a call that goes on.
        CallVerb(CallMessage) = b"answer" | b"hold" | b"unhold" | b"transfer",
        /// A call is to end.
        Hangup(CallMessage) = b"hangup",
        /// The server's log of this session.
        SessionDebug(SessionDebug) = b"sessionDebug",
    }
}

messages! {
    /// A message from server to client (protocol S2.2, S2.4, S2.6).
    ServerMessage {
        /// A sign of life, to be answered.
        Ping = b"ping",
        /// The session is accepted.
        UserData(UserData) = b"getUserData",
        /// The server's version.
        Version = b"getVersion",
        /// The SIP client is registered.
        Registered = b"registered",
        /// Something is refused.
        Fail(Fail) = b"fail",
        /// The answer, or an offer, for a stream or a call.
        RemoteSdp(RemoteSdp) = b"setRemoteSDP",
        /// What became of a stream.
        StreamStatus(StreamStatus) = b"notifyStreamStatusEvent",
        /// The size of a stream's video, in the clothes of a status.
        VideoFormat(StreamStatus) = b"notifyVideoFormat",
        /// An event of a stream, as the answer to a snapshot.
        StreamEvent(StreamEvent) = b"notifyStreamEvent",
        /// How much video flows.
        VideoRate(AboutStream) = b"inboundVideoRate" | b"outboundVideoRate",
        /// Whether a stream is there.
        AvailableStream(AvailableAnswer) = b"availableStream",
        /// How audio is encoded.
        AudioCodec(AudioCodec) = b"notifyAudioCodec",
        /// What became of a `sendData`.
        DataStatus(DataStatus) = b"DataStatusEvent",
        /// Data of the application, or an event of a room.
        DataEvent(DataEvent) = b"OnDataEvent",
        /// Somebody calls.
        IncomingCall(CallMessage) = b"notifyIncomingCall",
        /// What became of a call.
        CallStatus(CallMessage) = b"notifyTryingResponse" | b"ring" | b"talk" | b"hold" | b"finish" | b"busy"
            | b"sessionProgress",
        /// Which streams the server wants metrics of.
        MetricsUpdate(MetricsUpdate) = b"webRTCMetricsDescriptionUpdate",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::signaling::peek;

    /// What is known of the server.
    const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

    fn named(name: &str) -> String {
        format!(r#"{{"message":"{name}","data":[{{"mediaSessionId":"a"}}]}}"#)
    }

    #[test]
    fn every_name_is_one_of_the_protocol_and_found() {
        let text = |name: &&[u8]| String::from_utf8(name.to_vec()).unwrap();
        for name in ClientMessage::NAMES.iter().chain(ServerMessage::NAMES).map(text) {
            assert!(PROTOCOL.contains(&format!("`{name}")), "{name} is not in docs/protocol.md");
        }
        let is_known = |name: &str, of_client: bool| {
            let text = named(name);
            let peek = peek(text.as_bytes()).unwrap();
            if of_client {
                !matches!(ClientMessage::of(&peek), ClientMessage::Other)
            } else {
                !matches!(ServerMessage::of(&peek), ServerMessage::Other)
            }
        };
        assert!(ClientMessage::NAMES.iter().map(text).all(|name| is_known(&name, true)));
        assert!(ServerMessage::NAMES.iter().map(text).all(|name| is_known(&name, false)));
        for name in ["PublishStream", "publishStreams", "", "getUserData", "notifyMessage"] {
            assert!(!is_known(name, true), "{name}");
        }
        for name in ["connection", "publishStream", "dataStatusEvent", "pong"] {
            assert!(!is_known(name, false), "{name}");
        }
    }

    #[test]
    fn a_name_spelled_with_escapes_is_the_same_and_the_view_sees_its_fields() {
        let text = br#"{"data":[{"mediaSession\u0049d":"a"}],"message":"stop\u0053tream"}"#;
        let peek = peek(text).unwrap();
        let ClientMessage::StopStream(stop) = ClientMessage::of(&peek) else { panic!("it is a stop") };
        assert_eq!(stop.media_session_id().unwrap().string().as_deref(), Some("a"));
    }
}
