//! What clients of this crate say, as the SDK says it (protocol S2.3). Must not know who says it, nor read answers.

use serde_json::{Value, json};

/// The argument of `publishStream` or `playStream`.
pub(crate) fn stream(publish: bool, id: &str, name: &str, provider: &str, offer: &str) -> Value {
    json!({
        "mediaSessionId": id,
        "name": name,
        "published": publish,
        "hasVideo": true,
        "hasAudio": true,
        "status": "PENDING",
        "record": false,
        "mediaProvider": provider,
        "sdp": offer,
        "bitrate": 0,
        "minBitrate": 0,
        "maxBitrate": 0,
        "constraints": {"audio": true, "video": {"width": 640, "height": 480}},
    })
}

/// The argument of `unPublishStream` or `stopStream`.
pub(crate) fn stop(publish: bool, id: &str, name: &str) -> Value {
    json!({
        "mediaSessionId": id,
        "name": name,
        "published": publish,
        "hasVideo": true,
        "hasAudio": true,
        "status": if publish { "PUBLISHING" } else { "PLAYING" },
        "record": false,
    })
}
