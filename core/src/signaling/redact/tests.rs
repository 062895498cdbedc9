#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

const CANARY: &str = "CANARY";

/// An argument in which every field that is not on the allow-list holds a secret, at any depth,
/// and the fields on it hold values of types they must not have or nested secrets.
fn argument() -> String {
    let secret = format!("\"{CANARY}\"");
    let mut fields = String::new();
    for key in [
        "authToken",
        "authorization",
        "sipPassword",
        "sipLogin",
        "sipAuthenticationName",
        "sipDomain",
        "sipOutboundProxy",
        "sipProxy",
        "caller",
        "callee",
        "visibleName",
        "target",
        "dtmf",
        "logs",
        "text",
        "metrics",
        "headers",
        "rtmpUrl",
        "token",
        "password",
        "recordName",
        "origin",
        "clientBrowserVersion",
        "stripped",
        "command",
        "type",
        "Status",
        "names",
    ] {
        fields.push_str(&format!("\"{key}\":{secret},"));
    }
    format!(
        r#"{{{fields}"custom":{{"login":{secret},"status":{secret},"name":{secret}}},"payload":{{"command":"join","options":{{"name":{secret}}},"info":{secret},"snapshot":{secret}}},"localMediaInfo":[{secret}],"webRTCMetricsServerDescription":{{"authorization":{secret}}},"sdp":"v=0\r\no={CANARY}\r\ns={CANARY}\r\nm=audio 9 {CANARY} 111 {CANARY}\r\na=ice-ufrag:{CANARY}\r\na=ice-pwd:{CANARY}\r\na=fingerprint:sha-256 {CANARY}\r\na=candidate:{CANARY}\r\na=rtpmap:111 opus/48000\r\na=fmtp:111 {CANARY}\r\n","callId":{{"x":{secret}}},"apiMethod":[{secret}],"id":{{"status":{secret}}},"operationId":[{secret}],"mediaSessionId":"m-1","name":"rtsp://user:{CANARY}@host/cam?token={CANARY}","published":true,"status":"FAILED","info":"Stream failed","appKey":"app","keepAlive":false}}"#
    )
}

#[test]
fn no_secret_is_shown_in_any_message() {
    let argument = argument();
    let names = ClientMessage::ALL
        .iter()
        .map(|message| (Sender::Client, message.name()))
        .chain(ServerMessage::ALL.iter().map(|message| (Sender::Server, message.name())))
        .chain([(Sender::Client, CANARY), (Sender::Server, "joinRoom")]);
    for (sender, name) in names {
        for data in [
            format!("[{argument}]"),
            format!("[[{argument}],\"{CANARY}\"]"),
            argument.clone(),
            format!("\"{CANARY}\""),
            format!("[null,{{\"status\":\"{CANARY}\"}},\"{CANARY}\"]"),
        ] {
            let text = format!(
                "{{\"message\":\"{name}\",\"{CANARY}\":\"{CANARY}\",\"status\":\"{CANARY}\",\"data\":{data}}}"
            );
            let shown = redacted(sender, text.as_bytes()).to_string();
            assert!(!shown.contains(CANARY), "{name}: {shown}");
            let debug = format!("{:?}", redacted(sender, text.as_bytes()));
            assert!(!debug.contains(CANARY), "{name}: {debug}");
            let peeked = peek(text.as_bytes()).unwrap();
            assert_eq!(Redacted::of(sender, &peeked).to_string(), shown);
        }
    }
}

#[test]
fn messages_that_applications_write_show_no_field() {
    for name in FREE_FORM {
        let known = ClientMessage::from_name(name) != ClientMessage::Other;
        let sender = if known { Sender::Client } else { Sender::Server };
        let text = format!(
            r#"{{"message":"{name}","data":[{{"id":"{CANARY}","name":"{CANARY}","info":"{CANARY}","status":"{CANARY}","sdp":"m=audio 9 X 0"}}]}}"#
        );
        let shown = redacted(sender, text.as_bytes()).to_string();
        assert_eq!(shown, format!("{name} ({} bytes)", text.len()));
    }
}

#[test]
fn a_status_event_is_shown_with_its_reason() {
    let text = format!("{{\"message\":\"notifyStreamStatusEvent\",\"data\":[{}]}}", argument());
    assert_eq!(
        redacted(Sender::Server, text.as_bytes()).to_string(),
        format!(
            "notifyStreamStatusEvent mediaSessionId=m-1 name=rtsp://host/cam published=true status=FAILED info=Stream failed sdp=audio(opus) ({} bytes)",
            text.len()
        )
    );
}

#[test]
fn a_connection_shows_its_application_only() {
    let text = format!("{{\"message\":\"connection\",\"data\":[{}]}}", argument());
    let shown = redacted(Sender::Client, text.as_bytes()).to_string();
    assert!(
        shown.starts_with("connection appKey=app keepAlive=false status=FAILED sdp=audio(opus)"),
        "{shown}"
    );
}

#[test]
fn a_remote_description_shows_its_codecs() {
    let text = br#"{"message":"setRemoteSDP","data":["m-1","m=audio 9 X 0\r\n",true]}"#;
    assert_eq!(redacted(Sender::Server, text).to_string(), "setRemoteSDP id=m-1 sdp=audio(PCMU) (66 bytes)");
}

#[test]
fn what_is_no_message_shows_its_size() {
    assert_eq!(redacted(Sender::Client, b"CANARY").to_string(), "6 bytes, the text is not JSON");
    assert_eq!(
        redacted(Sender::Client, br#"{"message":"joinRoom"}"#).to_string(),
        "unknown message (22 bytes)"
    );
}

#[test]
fn values_are_cut_and_cannot_break_lines() {
    let text = format!(
        "{{\"message\":\"snapshot\",\"data\":[{{\"name\":\"a\\nb\\u001b[0m{}\"}}]}}",
        "x".repeat(100_000)
    );
    let shown = redacted(Sender::Client, text.as_bytes()).to_string();
    assert!(shown.starts_with("snapshot name=a\u{fffd}b\u{fffd}[0mxxx"), "{shown}");
    assert!(shown.contains("x…") && shown.chars().count() < 140);
}

#[test]
fn urls_lose_their_credentials() {
    assert_eq!(without_credentials("rtsp://u:p/@d@cam:554/live?x=1#y"), "rtsp://cam:554/live");
    assert_eq!(without_credentials("rtmp://cam/live"), "rtmp://cam/live");
    assert_eq!(without_credentials("name@home?x"), "name@home?x");
}

#[test]
fn a_message_of_16_mib_is_shown_in_a_line() {
    let offer = "m=video 9 X 96\\r\\na=rtpmap:96 VP8/90000\\r\\n".repeat(16 * 1024 * 1024 / 48);
    let text = format!(r#"{{"message":"publishStream","data":[{{"sdp":"{offer}","mediaSessionId":"a"}}]}}"#);
    let shown = redacted(Sender::Client, text.as_bytes()).to_string();
    assert!(shown.starts_with("publishStream mediaSessionId=a sdp=video(VP8) video(VP8)"), "{shown}");
    assert!(shown.len() < 500);
}
