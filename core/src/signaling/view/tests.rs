#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::signaling::{peek, synthetic};

/// What the value says, as text.
fn id(field: Option<Field<'_>>) -> Option<String> {
    field.and_then(Field::id).map(Cow::into_owned)
}

/// The message with `new` in place of what is `"old"` there.
fn replaced(field: Option<Field<'_>>) -> String {
    let field = field.expect("the field is there");
    assert_eq!(field.span().of(field.message()), b"\"old\"");
    String::from_utf8(field.replaced("new")).unwrap()
}

#[test]
fn connection() {
    let text = br#"{"message":"connection","data":[{"appKey":"roomApp","keepAlive":true,"authToken":"t","clientVersion":"2.0","sipLogin":"1001","sipRegisterRequired":true}]}"#;
    let message = peek(text).unwrap();
    let view = Connection::of(&message);
    assert_eq!((view.app_key().as_deref(), view.client_version().as_deref()), (Some("roomApp"), Some("2.0")));
    assert!(view.keep_alive() && !view.is_sfu() && view.argument().is_some());
    assert_eq!(
        String::from_utf8(view.resuming("/1")).unwrap(),
        r#"{"message":"connection","data":[{"appKey":"roomApp","keepAlive":true,"authToken":"/1","clientVersion":"2.0"}]}"#
    );
    assert_eq!(
        String::from_utf8(view.without_token().unwrap()).unwrap(),
        r#"{"appKey":"roomApp","keepAlive":true,"clientVersion":"2.0","sipLogin":"1001","sipRegisterRequired":true}"#
    );
    let sfu = peek(br#"{"message":"connection","data":[{"appKey":"sfuZClientApp"}]}"#).unwrap();
    assert!(Connection::of(&sfu).is_sfu() && !Connection::of(&sfu).keep_alive());
    let empty = peek(br#"{"message":"connection","data":[]}"#).unwrap();
    let view = Connection::of(&empty);
    assert!(view.argument().is_none() && view.without_token().is_none());
    assert_eq!(view.resuming("t"), empty.text());
}

#[test]
fn user_data_and_failures() {
    let text = br#"{"message":"getUserData","data":[{"authToken":"old","appKey":"app"}]}"#;
    let message = peek(text).unwrap();
    let view = UserData::of(&message);
    assert_eq!((view.app_key().as_deref(), id(view.auth_token()).as_deref()), (Some("app"), Some("old")));
    assert!(replaced(view.auth_token()).contains(r#""authToken":"new","appKey":"app""#));

    let session =
        br#"{"message":"fail","data":[{"info":"Forbidden","apiMethod":"ConnectionStatusEvent","id":"a"}]}"#;
    let message = peek(session).unwrap();
    assert_eq!(Fail::of(&message).info().as_deref(), Some("Forbidden"));
    assert!(Fail::of(&message).stream().is_none(), "the whole session is refused");
    let stream = br#"{"message":"fail","data":[{"apiMethod":"StreamStatusEvent","id":"old"}]}"#;
    let message = peek(stream).unwrap();
    assert!(replaced(Fail::of(&message).stream()).contains(r#""id":"new""#));
}

#[test]
fn what_concerns_a_media_socket_and_the_log_of_a_session() {
    let message = peek(br#"{"message":"connectMediaTransport","data":[{"authToken":"old"}]}"#).unwrap();
    assert!(replaced(MediaTransport::of(&message).auth_token()).contains(r#""authToken":"new""#));
    let debug = |command: &str| {
        let text = format!(r#"{{"message":"sessionDebug","data":[{{"command":"{command}"}}]}}"#);
        SessionDebug::of(&peek(text.as_bytes()).unwrap()).starts()
    };
    assert!(debug("start") && !debug("stop"));
}

#[test]
fn streams() {
    let text = br#"{"message":"publishStream","data":[{"mediaSessionId":"old","name":"cam","mediaProvider":"WebRTC","sdp":"v=0\r\n","custom":{"mediaSessionId":"keep"}}]}"#;
    let message = peek(text).unwrap();
    let view = StreamRequest::of(&message);
    assert_eq!((view.name().as_deref(), view.media_provider().as_deref()), (Some("cam"), Some("WebRTC")));
    assert_eq!(view.sdp().unwrap().string().as_deref(), Some("v=0\r\n"));
    assert!(view.sdp().unwrap().is_string());
    assert_eq!(
        replaced(view.media_session_id()),
        String::from_utf8_lossy(text).replace("\"old\"", "\"new\"")
    );
    let numbers = peek(br#"{"message":"playStream","data":[{"mediaSessionId":7,"name":8}]}"#).unwrap();
    let view = StreamRequest::of(&numbers);
    assert_eq!((id(view.media_session_id()).as_deref(), view.name().as_deref()), (Some("7"), Some("8")));
    assert!(!view.media_session_id().unwrap().is_string());

    let status = synthetic::stream_status(&synthetic::StreamStatus {
        media_session_id: "old",
        name: "cam",
        published: true,
        status: "FAILED",
        info: Some("Stream failed"),
    });
    let message = peek(&status).unwrap();
    let view = StreamStatus::of(&message);
    assert_eq!((view.status().as_deref(), view.info().as_deref()), (Some("FAILED"), Some("Stream failed")));
    assert!(StreamStatus::is_over("STOPPED") && !StreamStatus::is_over("PLAYING"));
    assert!(replaced(view.media_session_id()).contains(r#""mediaSessionId":"new","name":"cam""#));
    assert!(replaced(AboutStream::of(&message).media_session_id()).contains(r#""mediaSessionId":"new""#));
}

#[test]
fn arguments_in_a_row() {
    let text = synthetic::set_remote_sdp("old", "v=0\r\n", true);
    let message = peek(&text).unwrap();
    let view = RemoteSdp::of(&message);
    assert_eq!(view.sdp().as_deref(), Some("v=0\r\n"));
    assert!(replaced(view.id()).contains(r#"["new","v=0\r\n",true]"#));
    for data in [r#"["a"]"#, "{}", "null"] {
        let text = format!(r#"{{"message":"setRemoteSDP","data":{data}}}"#);
        assert_eq!(RemoteSdp::of(&peek(text.as_bytes()).unwrap()).sdp(), None);
    }
    let message = peek(br#"{"message":"notifyAudioCodec","data":["old",{"name":"speex"}]}"#).unwrap();
    assert!(replaced(AudioCodec::of(&message).id()).contains(r#"["new",{"name":"speex"}]"#));
}

#[test]
fn answers_events_and_metrics() {
    let text = synthetic::available_stream("old", true, "yes");
    let message = peek(&text).unwrap();
    assert!(replaced(AvailableAnswer::of(&message).id()).contains(r#""id":"new""#));

    let text = synthetic::snapshot_failed("old", "lost");
    let message = peek(&text).unwrap();
    let view = StreamEvent::of(&message);
    assert_eq!(view.kind().as_deref(), Some("snapshotFailed"));
    assert!(replaced(view.media_session_id()).contains(r#""mediaSessionId":"new""#));

    let ids = |data: &str| {
        let text = format!(r#"{{"message":"webRTCMetricsDescriptionUpdate","data":[{data}]}}"#);
        let message = peek(text.as_bytes()).unwrap();
        MetricsUpdate::of(&message).ids().map(|field| id(Some(field)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(r#"{"ids":["a",7],"collect":"off"}"#), ["a", "7"]);
    assert!(ids(r#"{"collect":"on"}"#).is_empty() && ids(r#"{"ids":"a"}"#).is_empty());
}

#[test]
fn calls() {
    let text = synthetic::call_finished("old", "FINISH");
    let message = peek(&text).unwrap();
    assert!(CallMessage::of(&message).is_over());
    assert!(replaced(CallMessage::of(&message).call_id()).contains(r#""callId":"new""#));
    let talk = peek(br#"{"message":"talk","data":[{"callId":7,"status":"ESTABLISHED"}]}"#).unwrap();
    let view = CallMessage::of(&talk);
    assert_eq!((view.is_over(), id(view.call_id()).as_deref()), (false, Some("7")));
}

#[test]
fn room_commands() {
    let command = |payload: &str| {
        let text = format!(r#"{{"message":"sendData","data":[{{"operationId":"op","payload":{payload}}}]}}"#);
        let message = peek(text.as_bytes()).unwrap();
        assert_eq!(id(SendData::of(&message).operation_id()).as_deref(), Some("op"));
        SendData::of(&message).room_command().map(|command| match command {
            RoomCommand::Join(room) => format!("join {room}"),
            RoomCommand::Leave(room) => format!("leave {room}"),
        })
    };
    assert_eq!(command(r#"{"command":"join","options":{"name":"r"}}"#).as_deref(), Some("join r"));
    assert_eq!(command(r#"{"options":{"name":"r"},"command":"leave"}"#).as_deref(), Some("leave r"));
    for payload in [
        r#"{"command":"sendMessage","options":{"roomConfig":{"name":"r"},"name":"r"}}"#,
        r#"{"command":"join","options":{"name":7}}"#,
        r#"{"command":"join"}"#,
        r#""join""#,
        "null",
    ] {
        assert_eq!(command(payload), None, "{payload}");
    }
    let text = synthetic::data_status("old", Err("no"));
    let message = peek(&text).unwrap();
    let view = DataStatus::of(&message);
    assert_eq!((view.is_accepted(), view.info().as_deref()), (false, Some("no")));
    assert!(replaced(view.operation_id()).contains(r#""operationId":"new""#));
    assert!(DataStatus::of(&peek(&synthetic::data_status("op", Ok(()))).unwrap()).is_accepted());
}

#[test]
fn room_events() {
    let participant = |login: &'static str, stream: Option<&'static str>| Participant {
        login: login.into(),
        stream: stream.map(Into::into),
    };
    let text = br#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r","name":"STATE","info":["al",{"login":"bob","name":"r-bob-1"},7,{"name":"x"},{"login":"x"},"eve"]}}]}"#;
    let message = peek(text).unwrap();
    let event = DataEvent::of(&message).room_event().unwrap();
    assert_eq!((&*event.room, event.kind), ("r", RoomEventKind::State));
    let all: Vec<_> = event.participants(5).collect();
    assert_eq!(all, [participant("al", None), participant("bob", Some("r-bob-1"))]);
    assert_eq!((event.participants(6).count(), event.participant()), (3, None));

    let about = |event| {
        let text = synthetic::room_event("r", event);
        let message = peek(&text).unwrap();
        let event = DataEvent::of(&message).room_event().unwrap();
        let participant = event.participant().unwrap();
        let stream = participant.stream.map(Cow::into_owned);
        (event.kind, event.kind.is_end(), participant.login.into_owned(), stream)
    };
    let heard = about(synthetic::RoomEvent::Joined("al"));
    assert_eq!(heard, (RoomEventKind::Joined, false, "al".to_owned(), None));
    let heard = about(synthetic::RoomEvent::Left("al"));
    assert_eq!(heard, (RoomEventKind::Left, true, "al".to_owned(), None));
    let heard = about(synthetic::RoomEvent::Published { login: "al", stream: "s" });
    assert_eq!(heard, (RoomEventKind::Published, false, "al".to_owned(), Some("s".to_owned())));
    let heard = about(synthetic::RoomEvent::Unpublished { login: "al", stream: "s" });
    assert_eq!(heard, (RoomEventKind::Unpublished, true, "al".to_owned(), Some("s".to_owned())));

    for payload in ["null", r#"{"roomName":"r","name":"STATE"}"#, r#"{"roomName":1,"name":"LEFT","info":1}"#]
    {
        let text = format!(r#"{{"message":"OnDataEvent","data":[{{"payload":{payload}}}]}}"#);
        assert!(DataEvent::of(&peek(text.as_bytes()).unwrap()).room_event().is_none());
    }
}

#[test]
fn wherever_a_message_to_a_client_may_have_an_id() {
    let ids = |text: &str| {
        let message = peek(text.as_bytes()).unwrap();
        ids_of_client(&message).filter_map(|field| id(Some(field))).collect::<Vec<_>>()
    };
    assert_eq!(
        ids(
            r#"{"message":"x","data":[{"operationId":"d","callId":"c","id":"b","mediaSessionId":"a","name":"n"}]}"#
        ),
        ["a", "b", "c", "d"]
    );
    assert_eq!(ids(r#"{"message":"x","data":["a","b"]}"#), ["a"]);
    assert!(ids(r#"{"message":"x"}"#).is_empty());
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
        r#"[{"mediaSessionId":{},"name":null,"status":[],"info":{},"callId":true,"payload":3,"appKey":{},"keepAlive":"true","ids":7,"authToken":[],"type":1}]"#,
    ] {
        let text = format!(r#"{{"message":"x","data":{data}}}"#);
        let message = peek(text.as_bytes()).unwrap();
        let (request, status) = (StreamRequest::of(&message), StreamStatus::of(&message));
        assert!(id(request.media_session_id()).is_none() && request.name().is_none());
        assert!(status.status().is_none() && status.info().is_none());
        assert!(StreamEvent::of(&message).kind().is_none());
        assert!(id(CallMessage::of(&message).call_id()).is_none() && !CallMessage::of(&message).is_over());
        assert!(SendData::of(&message).room_command().is_none());
        assert!(DataEvent::of(&message).room_event().is_none());
        let connection = Connection::of(&message);
        assert!(connection.app_key().is_none() && !connection.keep_alive());
        assert!(id(UserData::of(&message).auth_token()).is_none());
        assert_eq!(MetricsUpdate::of(&message).ids().count(), 0);
    }
}
