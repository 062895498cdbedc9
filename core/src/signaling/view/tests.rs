#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::signaling::{peek, remove_fields, synthetic};

#[test]
fn connection() {
    let text = br#"{"message":"connection","data":[{"appKey":"roomApp","mediaProviders":["WebRTC",7,"MSE"],"keepAlive":true,"authToken":"t","clientVersion":"2.0","custom":{"login":"Al\u0069ce","token":"jwt"},"sipLogin":"1001","sipRegisterRequired":true}]}"#;
    let message = peek(text).unwrap();
    let view = Connection::read(&message);
    assert_eq!(view.app_key.as_deref(), Some("roomApp"));
    assert_eq!(view.keep_alive, Some(true));
    assert_eq!(view.auth_token.as_deref(), Some("t"));
    assert_eq!(view.auth_token_span.unwrap().of(text), b"\"t\"");
    assert_eq!(view.client_version.as_deref(), Some("2.0"));
    assert_eq!(view.media_providers, ["WebRTC", "MSE"]);
    assert_eq!(view.sip_login.as_deref(), Some("1001"));
    assert_eq!(view.sip_register_required, Some(true));
    assert_eq!(view.custom_login.as_deref(), Some("Alice"));
    assert!(!view.is_sfu());
    let bare = remove_fields(text, view.argument.unwrap(), &SIP_FIELDS);
    assert_eq!(Connection::read(&peek(&bare).unwrap()).sip_login, None);
    let sfu = br#"{"message":"connection","data":[{"appKey":"sfuZClientApp"}]}"#;
    assert!(Connection::read(&peek(sfu).unwrap()).is_sfu());
}

#[test]
fn user_data_and_failures() {
    let text = br#"{"message":"getUserData","data":[{"authToken":"t","status":"ESTABLISHED","sipLogin":"1","webRTCMetricsServerDescription":{}}]}"#;
    let view = UserData::read(&peek(text).unwrap());
    assert_eq!(view.auth_token.as_deref(), Some("t"));
    assert_eq!(view.auth_token_span.unwrap().of(text), b"\"t\"");
    assert_eq!(view.status.as_deref(), Some("ESTABLISHED"));
    assert_eq!(view.sip_login.as_deref(), Some("1"));
    assert!(view.wants_metrics);

    let refusal = synthetic::connection_fail("Forbidden");
    let view = Fail::read(&peek(&refusal).unwrap());
    assert!(view.refuses_connection());
    assert_eq!((view.info.as_deref(), view.id), (Some("Forbidden"), None));
    let stream = br#"{"message":"fail","data":[{"apiMethod":"StreamStatusEvent","id":"a"}]}"#;
    let view = Fail::read(&peek(stream).unwrap());
    assert_eq!(view.id.as_deref(), Some("a"));
    assert!(!view.refuses_connection());

    let text = synthetic::connect_media_transport("tok");
    let view = MediaTransport::read(&peek(&text).unwrap());
    assert_eq!(view.auth_token.as_deref(), Some("tok"));
    assert_eq!(view.auth_token_span.unwrap().of(&text), b"\"tok\"");
}

#[test]
fn streams() {
    let text = br#"{"message":"publishStream","data":[{"mediaSessionId":"a","name":"cam","published":true,"hasVideo":true,"hasAudio":false,"status":"PENDING","record":false,"mediaProvider":"WebRTC","sdp":"v=0\r\n","custom":{"name":"room"}}]}"#;
    let view = StreamRequest::read(&peek(text).unwrap());
    assert_eq!(view.media_session_id.as_deref(), Some("a"));
    assert_eq!(view.media_session_id_span.unwrap().of(text), b"\"a\"");
    assert_eq!(view.name.as_deref(), Some("cam"));
    assert_eq!((view.published, view.record), (Some(true), Some(false)));
    assert_eq!((view.has_video, view.has_audio), (Some(true), Some(false)));
    assert_eq!(view.media_provider.as_deref(), Some("WebRTC"));
    assert_eq!(string(text, view.sdp.unwrap()).unwrap(), "v=0\r\n");
    assert_eq!(view.custom_name.as_deref(), Some("room"));

    let status = synthetic::stream_status(&synthetic::StreamStatus {
        media_session_id: "a",
        name: "cam",
        published: true,
        status: "FAILED",
        info: Some("Stream failed"),
    });
    let view = StreamMessage::read(&peek(&status).unwrap());
    assert!(view.is_terminal());
    assert_eq!(view.info.as_deref(), Some("Stream failed"));
    assert_eq!((view.media_session_id.as_deref(), view.published), (Some("a"), Some(true)));
    assert_eq!(view.name.as_deref(), Some("cam"));
}

#[test]
fn remote_sdp() {
    let text = synthetic::set_remote_sdp("a", "v=0\r\n", true);
    let view = RemoteSdp::read(&peek(&text).unwrap());
    assert_eq!((view.id.as_deref(), view.is_initiator), (Some("a"), Some(true)));
    assert_eq!(string(&text, view.sdp.unwrap()).unwrap(), "v=0\r\n");
    let view = RemoteSdp::read(&peek(br#"{"message":"setRemoteSDP","data":["a",""]}"#).unwrap());
    assert_eq!((view.id.as_deref(), view.is_initiator), (Some("a"), None));
    let view = RemoteSdp::read(&peek(br#"{"message":"setRemoteSDP","data":{}}"#).unwrap());
    assert!(view.id.is_none() && view.sdp.is_none() && view.is_initiator.is_none());
}

#[test]
fn availability_events_and_metrics() {
    let text = synthetic::available_stream("a", true, "yes");
    let view = AvailableAnswer::read(&peek(&text).unwrap());
    assert_eq!((view.id.as_deref(), view.status.as_deref()), (Some("a"), Some("true")));
    assert_eq!(view.info.as_deref(), Some("yes"));
    let text = br#"{"message":"availableStream","data":[{"id":"a","status":true}]}"#;
    assert_eq!(AvailableAnswer::read(&peek(text).unwrap()).status, None);

    let text = synthetic::snapshot_failed("a", "lost");
    let view = StreamEvent::read(&peek(&text).unwrap());
    assert_eq!((view.media_session_id.as_deref(), view.kind.as_deref()), (Some("a"), Some("snapshotFailed")));
    assert_eq!(view.payload.unwrap().of(&text), br#"{"info":"lost"}"#);

    let text = br#"{"message":"webRTCMetricsDescriptionUpdate","data":[{"ids":["a","b"],"collect":"off"}]}"#;
    let view = MetricsUpdate::read(&peek(text).unwrap());
    assert_eq!(view.ids.unwrap(), ["a", "b"]);
    assert_eq!(view.collect.as_deref(), Some("off"));
    let text = br#"{"message":"webRTCMetricsDescriptionUpdate","data":[{"collect":"on"}]}"#;
    assert!(MetricsUpdate::read(&peek(text).unwrap()).ids.is_none());
}

#[test]
fn calls() {
    let text =
        br#"{"message":"call","data":[{"callId":"c","incoming":false,"status":"PENDING","sdp":"v=0"}]}"#;
    let view = CallMessage::read(&peek(text).unwrap());
    assert_eq!((view.call_id.as_deref(), view.incoming), (Some("c"), Some(false)));
    assert!(view.sdp.is_some() && !view.is_terminal());
    let text = synthetic::call_finished("c", "FINISH");
    assert!(CallMessage::read(&peek(&text).unwrap()).is_terminal());
}

#[test]
fn room_commands() {
    let text = synthetic::join_room("op", "r", Some(true));
    let view = SendData::read(&peek(&text).unwrap());
    assert_eq!((view.operation_id.as_deref(), view.command.as_deref()), (Some("op"), Some("join")));
    assert_eq!((view.room.as_deref(), view.record), (Some("r"), Some(true)));
    let text = br#"{"message":"sendData","data":[{"operationId":"op","payload":{"command":"sendMessage","options":{"roomConfig":{"name":"r"},"to":"bob"}}}]}"#;
    let view = SendData::read(&peek(text).unwrap());
    assert_eq!((view.command.as_deref(), view.room.as_deref()), (Some("sendMessage"), Some("r")));
    let text = br#"{"message":"sendData","data":[{"operationId":"op","payload":"text"}]}"#;
    let view = SendData::read(&peek(text).unwrap());
    assert_eq!(view.payload.unwrap().of(text), b"\"text\"");
    assert!(view.command.is_none());
    let text = synthetic::data_status("op", Err("no"));
    let view = DataStatus::read(&peek(&text).unwrap());
    assert_eq!((view.operation_id.as_deref(), view.status.as_deref()), (Some("op"), Some("FAILED")));
    assert_eq!(view.info.as_deref(), Some("no"));
}

#[test]
fn room_events() {
    let participant = |login: &'static str, stream: Option<&'static str>| Participant {
        login: login.into(),
        stream: stream.map(Into::into),
    };
    let text = br#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"STATE","info":["al",{"login":"bob","name":"r-bob-1"},7,{"name":"x"}]}}]}"#;
    let view = DataEvent::read(&peek(text).unwrap());
    assert_eq!((view.room_name.as_deref(), view.name.as_deref()), (Some("r"), Some("STATE")));
    assert_eq!(view.participants(), [participant("al", None), participant("bob", Some("r-bob-1"))]);

    let text = synthetic::room_event("r", synthetic::RoomEvent::Joined("al"));
    assert_eq!(DataEvent::read(&peek(&text).unwrap()).participants(), [participant("al", None)]);
    let published = synthetic::RoomEvent::Published { login: "al", stream: "s" };
    let text = synthetic::room_event("r", published);
    assert_eq!(DataEvent::read(&peek(&text).unwrap()).participants(), [participant("al", Some("s"))]);
    let text = br#"{"message":"OnDataEvent","data":[{"operationId":"op","payload":null}]}"#;
    let view = DataEvent::read(&peek(text).unwrap());
    assert_eq!(view.operation_id.as_deref(), Some("op"));
    assert!(view.room_name.is_none() && view.participants().is_empty());
}

#[test]
fn wrong_types_read_as_nothing() {
    for data in [
        "null",
        "[]",
        "{}",
        "[null]",
        "7",
        "\"x\"",
        r#"[{"mediaSessionId":7,"name":null,"status":[],"info":{},"published":"true","callId":1,"payload":3,"appKey":{},"custom":"x","ids":7,"authToken":1}]"#,
    ] {
        let text = format!(r#"{{"message":"x","data":{data}}}"#);
        let message = peek(text.as_bytes()).unwrap();
        let stream = StreamMessage::read(&message);
        assert!(stream.media_session_id.is_none() && stream.name.is_none() && stream.info.is_none());
        assert!(stream.status.is_none() && stream.published.is_none());
        assert!(CallMessage::read(&message).call_id.is_none());
        assert!(SendData::read(&message).command.is_none());
        assert!(DataEvent::read(&message).room_name.is_none());
        let connection = Connection::read(&message);
        assert!(connection.app_key.is_none() && connection.custom_login.is_none());
        assert!(UserData::read(&message).auth_token.is_none());
        assert!(MetricsUpdate::read(&message).ids.is_none());
    }
}
