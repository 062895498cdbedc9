//! Messages as the SDK and a server write them, in the sizes that matter.
#![allow(dead_code)]

/// A whole offer of Chromium.
const OFFER: &str = include_str!("../../lab/src/load/offer.sdp");

/// A ping of the server.
pub(crate) fn ping() -> String {
    r#"{"message":"ping","data":[null]}"#.to_owned()
}

/// Its answer.
pub(crate) fn pong() -> String {
    r#"{"message":"pong","data":[null]}"#.to_owned()
}

/// `sendData` of so many bytes in all.
pub(crate) fn data(bytes: usize) -> String {
    let head = r#"{"message":"sendData","data":[{"operationId":"6cd0a0c2-9a1c-11ef-8000-0242ac120002","payload":{"text":""#;
    let tail = r#""}}]}"#;
    format!("{head}{}{tail}", "x".repeat(bytes.saturating_sub(head.len() + tail.len())))
}

/// How the server settles it.
pub(crate) fn data_accepted() -> String {
    r#"{"message":"DataStatusEvent","data":[{"operationId":"6cd0a0c2-9a1c-11ef-8000-0242ac120002","status":"ACCEPTED"}]}"#
        .to_owned()
}

/// `connection`, and `getUserData` that establishes it under this token.
pub(crate) fn connection(token: &str) -> [String; 2] {
    let browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
    let connection = serde_json::json!({"message": "connection", "data": [{
        "appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"], "clientVersion": "2.0",
        "clientOSVersion": browser, "clientBrowserVersion": browser, "msePacketizationVersion": 2,
    }]});
    let established = serde_json::json!({"message": "getUserData", "data": [{
        "authToken": token, "status": "ESTABLISHED", "appKey": "defaultApp",
    }]});
    [connection.to_string(), established.to_string()]
}

/// `publishStream` of about 2 KB: its SDP is the head of an offer, up to a line's end.
pub(crate) fn publish_2_kb(id: &str, name: &str) -> String {
    let end = OFFER.match_indices('\n').map(|(at, _)| at + 1).find(|end| *end >= 1_500);
    publish(id, name, OFFER.get(..end.unwrap_or(OFFER.len())).unwrap_or(OFFER))
}

/// `publishStream` with a whole offer.
pub(crate) fn publish_whole(id: &str, name: &str) -> String {
    publish(id, name, OFFER)
}

fn publish(id: &str, name: &str, sdp: &str) -> String {
    serde_json::json!({"message": "publishStream", "data": [{
        "mediaSessionId": id, "name": name, "published": true, "hasVideo": true, "hasAudio": true,
        "status": "PENDING", "record": false, "mediaProvider": "WebRTC", "sdp": sdp, "bitrate": 0,
        "minBitrate": 0, "maxBitrate": 0, "constraints": {"audio": true, "video": {"width": 640, "height": 480}},
    }]})
    .to_string()
}

/// What the server says to a publish: its answer, and PUBLISHING.
pub(crate) fn publish_answered(id: &str, name: &str) -> [String; 2] {
    let answer = serde_json::json!({"message": "setRemoteSDP", "data": [id, OFFER, true]});
    [answer.to_string(), status(id, name, "PUBLISHING")]
}

/// A play by MSE, and what the server says to it.
pub(crate) fn play_mse(id: &str, name: &str) -> [String; 3] {
    let play = serde_json::json!({"message": "playStream", "data": [{
        "mediaSessionId": id, "name": name, "published": false, "hasVideo": true, "hasAudio": true,
        "status": "PENDING", "record": false, "mediaProvider": "MSE", "sdp": "v=0",
    }]});
    let answer = serde_json::json!({"message": "setRemoteSDP", "data": [id, "v=0", true]});
    [play.to_string(), answer.to_string(), status(id, name, "PLAYING")]
}

/// The end of a publish: the client's wish, and the server's word.
pub(crate) fn publish_ended(id: &str, name: &str) -> [String; 2] {
    let wish = serde_json::json!({"message": "unPublishStream", "data": [{
        "mediaSessionId": id, "name": name, "published": true, "hasVideo": true, "hasAudio": true,
        "status": "PUBLISHING", "record": false,
    }]});
    [wish.to_string(), status(id, name, "UNPUBLISHED")]
}

fn status(id: &str, name: &str, status: &str) -> String {
    serde_json::json!({"message": "notifyStreamStatusEvent", "data": [{
        "mediaSessionId": id, "name": name, "published": true, "hasVideo": true, "hasAudio": true, "status": status,
        "mediaProvider": "WebRTC", "record": false,
    }]})
    .to_string()
}
