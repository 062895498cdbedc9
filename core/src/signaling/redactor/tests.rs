#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;

use super::*;
use crate::signaling::{sdp::strip_codecs, view::Connection};

fn shown() -> Redactor {
    Redactor::new([7; KEY_BYTES], Names::Shown)
}

fn anonymous() -> Redactor {
    Redactor::new([7; KEY_BYTES], Names::Anonymous)
}

fn text(message: &str) -> String {
    let redacted = shown().message(message.as_bytes());
    assert!(redacted.is_readable, "{message}");
    redacted.text
}

const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 192.168.7.9\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:hush1\r\na=ice-pwd:hush2hush2hush2hush2hush2\r\n\
    a=candidate:1 1 udp 2122260223 192.168.7.9 5000 typ srflx raddr 10.1.2.3 rport 9 generation 0 ufrag hush1\r\n\
    a=fingerprint:sha-256 AB:CD:hush3\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:77 cname:hush4\r\na=ssrc:77 msid:s t\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:hush5\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:102 H264/90000\r\na=fmtp:102 profile-level-id=42e01f\r\na=identity:hush6\r\na=hush7\r\ni=hush8\r\nhush9\r\n";

#[test]
fn a_secret_in_any_field_is_gone_and_the_rest_stands_as_it_stood() {
    let message = r#"{ "message" : "connection", "data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","MSE"],
        "authToken":"hush-1","sipLogin":"hush-2","sipPassword":"hush-3","custom":{"token":"hush-4","n":[5,"hush-5"]},
        "clientVersion":"2.0","keepAlive":true,"nobodyKnows":"hush-6","deep":[{"deeper":["hush-7",8,null]}],
        "password":12345678,"sipPort":5060,"pin":4711,"api_token":{"hush-8":1}}], "extra":"hush-9" }"#;
    let redacted = text(message);
    assert!(
        !redacted.contains("hush") && !redacted.contains("12345678") && !redacted.contains("4711"),
        "{redacted}"
    );
    for stays in [
        r#"{ "message" : "connection", "data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","MSE"],"#,
        r#""clientVersion":"2.0","keepAlive":true,"nobodyKnows":"redacted-"#,
        r#""deeper":["redacted-"#,
        r#"",8,null]}]"#,
        r#""sipPort":5060"#,
        r#""custom":{"redacted":"redacted-"#,
    ] {
        assert!(redacted.contains(stays), "{stays} in {redacted}");
    }
    let json: Value = serde_json::from_str(&redacted).unwrap();
    assert!(json["data"][0]["password"].is_number() && json["data"][0]["custom"].is_object());
}

#[test]
fn equal_secrets_have_equal_placeholders_wherever_they_stand_and_another_key_has_others() {
    let first = text(r#"{"message":"getUserData","data":[{"authToken":"a/b","status":"ESTABLISHED"}]}"#);
    let again = text(r#"{"message":"connectMediaTransport","data":[{"authToken":"a\/b"}]}"#);
    let placeholder = shown().secret("a/b");
    assert!(first.contains(&placeholder) && again.contains(&placeholder), "{first} {again}");
    assert_ne!(placeholder, shown().secret("a/c"));
    assert_ne!(placeholder, Redactor::new([8; KEY_BYTES], Names::Shown).secret("a/b"));
    assert_eq!(shown().secret(&placeholder), placeholder);
    assert_eq!(text(r#"{"message":"connection","data":[{"authToken":""}]}"#).matches("redacted").count(), 0);
}

#[test]
fn what_is_redacted_twice_is_redacted_once() {
    let message = format!(
        r#"{{"message":"publishStream","data":[{{"mediaSessionId":"a1","name":"rtsp://u:hush@cam/1","sdp":{},
            "custom":[1],"info":"at wss://u:hush@h, key=hush, eyJhbGciOiJIUzI1NiJ9.eyJz"}}]}}"#,
        Value::from(OFFER)
    );
    let once = text(&message);
    assert!(!once.contains("hush") && !once.contains("eyJ"), "{once}");
    assert_eq!(text(&once), once);
}

#[test]
fn names_stay_without_their_credentials_and_differ_where_they_did() {
    let redactor = shown();
    assert_eq!(redactor.name("room1-ann-4f2a"), "room1-ann-4f2a");
    let [first, second] = ["rtsp://u:hush1@cam/1", "rtsp://u:hush2@cam/1"].map(|name| redactor.name(name));
    assert!(first.starts_with("rtsp://cam/1;redacted-") && first != second, "{first} {second}");
    assert_eq!(redactor.words("Stream not found"), "Stream not found");
    assert_eq!(
        redactor.words("Stopped by rtsp://u:hush1@cam/1 itself"),
        format!("Stopped by {first} itself")
    );
}

#[test]
fn descriptions_of_media_keep_what_is_sent_and_lose_who_sends_it() {
    let redacted = shown().sdp(OFFER);
    assert!(!redacted.contains("hush"), "{redacted}");
    let ufrag = shown().secret("hush1");
    assert!(redacted.contains(&format!("a=ice-ufrag:{ufrag}\r\n")));
    assert!(redacted.contains(&format!(
        "192.168.7.9 5000 typ srflx raddr 10.1.2.3 rport 9 generation 0 ufrag {ufrag}\r\n"
    )));
    assert!(
        redacted.contains("a=fingerprint:sha-256 redacted-") && redacted.contains("a=ssrc:77 msid:s t\r\n")
    );
    assert_eq!(redacted.lines().count(), OFFER.lines().count());
    assert!(
        shown()
            .sdp("o=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP4 0.0.0.0")
            .starts_with("o=mozilla...THIS_IS_SDPARTA-99.0")
    );
    // The core edits what it is given: it comes to the same whether that was redacted before or after.
    assert_eq!(strip_codecs(&redacted, "H264"), shown().sdp(&strip_codecs(OFFER, "H264")));
    // One that stands where nobody looks for it.
    let odd = text(
        r#"{"message":"setRemoteSDP","data":["a1","v=0\r\na=ice-pwd:hush\r\n",true],"x":"v=0\r\na=ice-pwd:hush"}"#,
    );
    assert!(
        !odd.contains("hush")
            && odd.starts_with(r#"{"message":"setRemoteSDP","data":["a1","v=0\r\na=ice-pwd:redacted-"#)
    );
}

#[test]
fn anonymous_texts_tell_no_name_and_no_address() {
    let redactor = anonymous();
    let message = format!(
        r#"{{"message":"publishStream","data":[{{"mediaSessionId":"a1","name":"cam1","status":"PENDING","sdp":{}}},{{"name":5}}]}}"#,
        Value::from(OFFER)
    );
    let redacted = redactor.message(message.as_bytes()).text;
    assert!(
        !redacted.contains("cam1") && !redacted.contains("192.168") && !redacted.contains("10.1.2.3"),
        "{redacted}"
    );
    assert!(redacted.contains("c=IN IP4 0.0.0.0") && redacted.contains("IN IP4 198.1"), "{redacted}");
    assert!(
        redacted.contains(&redactor.name("cam1")) && redacted.contains(&redactor.name("5")),
        "{redacted}"
    );
    assert_eq!(redactor.words("Stream name is already in use"), "Stream name is already in use");
    let told = redactor.words("cam1 is not at 10.0.0.7");
    assert!(told.contains(" is not at ") && !told.contains("cam1") && !told.contains("10.0"), "{told}");
    let event = r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r1","name":"PUBLISHED","info":{"login":"bob","name":"r1-bob"}}}]}"#;
    let event = redactor.message(event.as_bytes()).text;
    assert!(
        event.contains(r#""name":"PUBLISHED""#) && !event.contains("bob") && !event.contains("r1"),
        "{event}"
    );
    assert!(redactor.sdp("a=candidate:1 1 udp 9 fe80::1 9 typ host").contains(" 2001:db8::"));
}

#[test]
fn what_applications_say_to_each_other_is_shown_where_it_is_the_room_protocol() {
    let join = r#"{"message":"sendData","data":[{"operationId":"o1","payload":{"command":"join","options":{"name":"r1","record":true}}}]}"#;
    assert_eq!(text(join), join);
    let state = r#"{"message":"OnDataEvent","data":[{"payload":{"roomName":"r1","name":"STATE","info":["ann",{"login":"bob","name":"r1-bob-1"}]}}]}"#;
    assert_eq!(text(state), state);
    for other in [
        r#"{"message":"sendData","data":[{"operationId":"o1","payload":{"name":"hush","token":"hush"}}]}"#,
        r#"{"message":"sendData","data":[{"operationId":"o1","payload":"hush"}]}"#,
        r#"{"message":"sendData","data":[{"payload":{"command":"sendMessage","options":{"roomConfig":{"name":"r1"},"to":"hush","text":"hush"}}}]}"#,
        r#"{"message":"sendStreamEvent","data":[{"mediaSessionId":"a","type":"data","payload":[{"hush":1}]}]}"#,
        r#"{"message":"sendDtmf","data":[{"callId":"c","type":"RFC2833","dtmf":"hush"}]}"#,
        r#"{"message":"pushLogs","data":[{"logs":"hush"}]}"#,
        r#"{"message":"hush hush","data":["hush",["hush"]]}"#,
        r#"["hush"]"#,
        r#""hush""#,
        r#"{"message":"publishStream","data":[{"sdp":"hush"},{"sdp":"a=hush\nx=hush"}]}"#,
        r#"{"message":"setRemoteSDP","data":["a","hush=\na=ice-pwd:hush"]}"#,
    ] {
        assert!(!text(other).contains("hush"), "{}", text(other));
    }
}

#[test]
fn what_cannot_be_read_is_one_placeholder() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for odd in [&b"hush"[..], b"{\"message\":\"hush\"", b"{\"a\":\"\xff hush\"}", deep.as_bytes(), b""] {
        let redacted = shown().message(odd);
        assert!(!redacted.is_readable && !redacted.text.contains("hush"), "{redacted:?}");
        assert!(redacted.text.ends_with(&format!("({} bytes)", odd.len())));
        assert!(serde_json::from_str::<Value>(&redacted.text).is_err());
    }
    let marked = text("\u{feff}{\"message\":\"ping\",\"data\":[null]}");
    assert_eq!(marked, "\u{feff}{\"message\":\"ping\",\"data\":[null]}");
}

/// What the core writes from what it read is the same text, whether redacted before or after.
#[test]
fn a_resume_by_token_comes_to_the_same() {
    let connection = r#"{"message":"connection","data":[{"appKey":"a","authToken":"old","sipPassword":"p","custom":{"x":"y"}}]}"#;
    let resuming = |text: &str, token: &str| {
        let peek = crate::signaling::peek(text.as_bytes()).unwrap();
        String::from_utf8(Connection::of(&peek).resuming(token)).unwrap()
    };
    let after = text(&resuming(connection, "new-token"));
    assert_eq!(resuming(&text(connection), &shown().secret("new-token")), after);
}
