//! The messages the proxy makes itself, in the shapes that every SDK version understands
//! (protocol S2, S4.2, S10.6).
//!
//! Strings are escaped by `serde_json`; pings have none and come again and again, so that they are
//! written as they are. Everything is one text message, ready to be sent; ids and tokens must already
//! be those of the side it goes to.

use serde::Serialize;

#[derive(Serialize)]
struct Envelope<'a, T> {
    message: &'a str,
    data: T,
}

fn message<T: Serialize>(name: &str, data: T) -> Vec<u8> {
    // Writing these types into memory cannot fail: there is no IO and every map key is a string.
    serde_json::to_vec(&Envelope { message: name, data }).unwrap_or_default()
}

/// `ping` on the signaling socket. `data` must be there: the SDK reads `data[0]` of everything.
#[must_use]
pub fn ping() -> Vec<u8> {
    br#"{"message":"ping","data":[null]}"#.to_vec()
}

/// `pong` on the signaling socket.
#[must_use]
pub fn pong() -> Vec<u8> {
    br#"{"message":"pong","data":[null]}"#.to_vec()
}

/// `registered` to the client.
#[must_use]
pub fn registered() -> Vec<u8> {
    message("registered", [()])
}

/// `sessionDebug` to the server, which begins its log of this session.
#[must_use]
pub fn session_debug_start() -> Vec<u8> {
    #[derive(Serialize)]
    struct Debug<'a> {
        command: &'a str,
    }
    message("sessionDebug", [Debug { command: "start" }])
}

/// A `notifyStreamStatusEvent`: the verdict over a stream.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus<'a> {
    /// The stream's id as the client knows it.
    pub media_session_id: &'a str,
    /// The stream's name.
    pub name: &'a str,
    /// True for a publish, false for a play.
    pub published: bool,
    /// A word of S5.2, as `FAILED`.
    pub status: &'a str,
    /// A text of S5.3; left out if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a str>,
}

/// `notifyStreamStatusEvent` with this status.
#[must_use]
pub fn stream_status(status: &StreamStatus<'_>) -> Vec<u8> {
    message("notifyStreamStatusEvent", [status])
}

/// `setRemoteSDP` with its third argument, without which the Android handler throws: true if the
/// SDP answers the client's offer, false if it is an offer itself. The SDP must not be empty.
#[must_use]
pub fn set_remote_sdp(id: &str, sdp: &str, answers_client: bool) -> Vec<u8> {
    message("setRemoteSDP", (id, sdp, answers_client))
}

/// `DataStatusEvent`: settles a `sendData`. `Err` carries the info text of a FAILED.
#[must_use]
pub fn data_status(operation_id: &str, outcome: Result<(), &str>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct DataStatus<'a> {
        operation_id: &'a str,
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        info: Option<&'a str>,
    }
    let (status, info) = match outcome {
        Ok(()) => ("ACCEPTED", None),
        Err(info) => ("FAILED", Some(info)),
    };
    message("DataStatusEvent", [DataStatus { operation_id, status, info }])
}

/// `availableStream` answer for the stream of this id. Its status is a string: the SDK takes a
/// boolean `true` for a no.
#[must_use]
pub fn available_stream(media_session_id: &str, available: bool, info: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Available<'a> {
        id: &'a str,
        status: &'a str,
        info: &'a str,
    }
    let status = if available { "true" } else { "false" };
    message("availableStream", [Available { id: media_session_id, status, info }])
}

/// `notifyStreamEvent` that tells a client its snapshot failed.
#[must_use]
pub fn snapshot_failed(media_session_id: &str, info: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Payload<'a> {
        info: &'a str,
    }
    message(
        "notifyStreamEvent",
        [StreamEvent { media_session_id, kind: "snapshotFailed", payload: Some(Payload { info }) }],
    )
}

/// `sendStreamEvent` to the server without a payload, as `audioMuted` or `videoUnmuted`.
#[must_use]
pub fn send_stream_event(media_session_id: &str, kind: &str) -> Vec<u8> {
    message("sendStreamEvent", [StreamEvent::<()> { media_session_id, kind, payload: None }])
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamEvent<'a, P> {
    media_session_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<P>,
}

/// `finish`: ends a call on the client's side. The status is `FINISH`, `FAILED` or `BUSY`; it,
/// not the name of the message, drives the SDK.
#[must_use]
pub fn call_finished(call_id: &str, status: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Call<'a> {
        call_id: &'a str,
        status: &'a str,
    }
    message("finish", [Call { call_id, status }])
}

/// `hangup` to the server.
#[must_use]
pub fn hang_up(call_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Call<'a> {
        call_id: &'a str,
    }
    message("hangup", [Call { call_id }])
}

/// What happened in a room (S2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomEvent<'a> {
    /// This login came in. The SDK makes a new participant of it, without streams.
    Joined(&'a str),
    /// This login is gone.
    Left(&'a str),
    /// A login published. The SDK throws if it does not know the login: send `Joined` first.
    Published {
        /// Who publishes.
        login: &'a str,
        /// The name of the stream.
        stream: &'a str,
    },
    /// A login's stream is gone.
    Unpublished {
        /// Who published.
        login: &'a str,
        /// The name of the stream.
        stream: &'a str,
    },
}

/// `OnDataEvent` with a room event. It carries no `operationId`, so that no client answers it.
#[must_use]
pub fn room_event(room: &str, event: RoomEvent<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Info<'a> {
        Login(&'a str),
        Stream { login: &'a str, name: &'a str },
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload<'a> {
        room_name: &'a str,
        name: &'a str,
        info: Info<'a>,
    }
    #[derive(Serialize)]
    struct Event<'a> {
        payload: Payload<'a>,
    }
    let (name, info) = match event {
        RoomEvent::Joined(login) => ("JOINED", Info::Login(login)),
        RoomEvent::Left(login) => ("LEFT", Info::Login(login)),
        RoomEvent::Published { login, stream } => ("PUBLISHED", Info::Stream { login, name: stream }),
        RoomEvent::Unpublished { login, stream } => ("UNPUBLISHED", Info::Stream { login, name: stream }),
    };
    message("OnDataEvent", [Event { payload: Payload { room_name: room, name, info } }])
}

/// `sendData` to the server that leaves a room. The operation id must be a fresh one.
#[must_use]
pub fn leave_room(operation_id: &str, room: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Options<'a> {
        name: &'a str,
    }
    #[derive(Serialize)]
    struct Command<'a> {
        command: &'a str,
        options: Options<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        operation_id: &'a str,
        payload: Command<'a>,
    }
    let payload = Command { command: "leave", options: Options { name: room } };
    message("sendData", [Data { operation_id, payload }])
}

/// `unPublishStream` or `stopStream` to the server, with the fields the SDK sends. `status` is
/// what the stream is now, as `PUBLISHING`.
#[must_use]
pub fn stop_stream(media_session_id: &str, name: &str, published: bool, status: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Stop<'a> {
        media_session_id: &'a str,
        name: &'a str,
        published: bool,
        has_video: bool,
        has_audio: bool,
        status: &'a str,
        record: bool,
    }
    let verb = if published { "unPublishStream" } else { "stopStream" };
    let stop =
        Stop { media_session_id, name, published, has_video: true, has_audio: true, status, record: false };
    message(verb, [stop])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signaling::peek;

    fn is(message: &[u8], expected: &str) {
        assert_eq!(std::str::from_utf8(message).unwrap(), expected);
        peek(message).unwrap();
    }

    #[test]
    fn pings_have_data() {
        is(&ping(), r#"{"message":"ping","data":[null]}"#);
        is(&pong(), r#"{"message":"pong","data":[null]}"#);
        is(&registered(), r#"{"message":"registered","data":[null]}"#);
        is(&session_debug_start(), r#"{"message":"sessionDebug","data":[{"command":"start"}]}"#);
    }

    #[test]
    fn streams() {
        let mut status = StreamStatus {
            media_session_id: "a-1",
            name: "cam \"1\"",
            published: true,
            status: "FAILED",
            info: Some("Session not ready"),
        };
        is(
            &stream_status(&status),
            r#"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"a-1","name":"cam \"1\"","published":true,"status":"FAILED","info":"Session not ready"}]}"#,
        );
        status.info = None;
        status.status = "PUBLISHING";
        is(
            &stream_status(&status),
            r#"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"a-1","name":"cam \"1\"","published":true,"status":"PUBLISHING"}]}"#,
        );
        is(
            &set_remote_sdp("a-1", "v=0\r\n", true),
            r#"{"message":"setRemoteSDP","data":["a-1","v=0\r\n",true]}"#,
        );
        is(
            &available_stream("a-1", false, "lost"),
            r#"{"message":"availableStream","data":[{"id":"a-1","status":"false","info":"lost"}]}"#,
        );
        is(
            &available_stream("a-1", true, ""),
            r#"{"message":"availableStream","data":[{"id":"a-1","status":"true","info":""}]}"#,
        );
        is(
            &snapshot_failed("a-1", "lost"),
            r#"{"message":"notifyStreamEvent","data":[{"mediaSessionId":"a-1","type":"snapshotFailed","payload":{"info":"lost"}}]}"#,
        );
        is(
            &send_stream_event("a-1", "audioMuted"),
            r#"{"message":"sendStreamEvent","data":[{"mediaSessionId":"a-1","type":"audioMuted"}]}"#,
        );
        is(
            &stop_stream("a-1", "cam", true, "PUBLISHING"),
            r#"{"message":"unPublishStream","data":[{"mediaSessionId":"a-1","name":"cam","published":true,"hasVideo":true,"hasAudio":true,"status":"PUBLISHING","record":false}]}"#,
        );
        is(
            &stop_stream("a-1", "cam", false, "PLAYING"),
            r#"{"message":"stopStream","data":[{"mediaSessionId":"a-1","name":"cam","published":false,"hasVideo":true,"hasAudio":true,"status":"PLAYING","record":false}]}"#,
        );
    }

    #[test]
    fn session_data_and_calls() {
        is(
            &data_status("op", Err("lost")),
            r#"{"message":"DataStatusEvent","data":[{"operationId":"op","status":"FAILED","info":"lost"}]}"#,
        );
        is(
            &data_status("op", Ok(())),
            r#"{"message":"DataStatusEvent","data":[{"operationId":"op","status":"ACCEPTED"}]}"#,
        );
        is(
            &call_finished("c", "FAILED"),
            r#"{"message":"finish","data":[{"callId":"c","status":"FAILED"}]}"#,
        );
        is(&hang_up("c"), r#"{"message":"hangup","data":[{"callId":"c"}]}"#);
    }

    #[test]
    fn rooms() {
        is(
            &leave_room("op", "r"),
            r#"{"message":"sendData","data":[{"operationId":"op","payload":{"command":"leave","options":{"name":"r"}}}]}"#,
        );
        is(
            &room_event("r", RoomEvent::Joined("bob")),
            r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"JOINED","info":"bob"}}]}"#,
        );
        is(
            &room_event("r", RoomEvent::Left("bob")),
            r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"LEFT","info":"bob"}}]}"#,
        );
        is(
            &room_event("r", RoomEvent::Published { login: "bob", stream: "r-bob-1" }),
            r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"PUBLISHED","info":{"login":"bob","name":"r-bob-1"}}}]}"#,
        );
        is(
            &room_event("r", RoomEvent::Unpublished { login: "bob", stream: "r-bob-1" }),
            r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"UNPUBLISHED","info":{"login":"bob","name":"r-bob-1"}}}]}"#,
        );
    }
}
