//! What the clients say: the shapes and sizes of the SDK (protocol S1, S2).

use serde_json::json;

use crate::messages;

/// The answer to a ping.
pub(super) const PONG: &str = r#"{"message":"pong","data":[null]}"#;

/// An offer as Chromium makes it, so that sizes are true: about 5 KB. No media will come of it.
pub(super) const OFFER: &str = include_str!("offer.sdp");

/// `connection` of client `number`.
pub(super) fn connection(number: usize) -> String {
    let browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
    json!({"message": "connection", "data": [{
        "appKey": "defaultApp",
        "mediaProviders": ["WebRTC", "MSE", "WSPlayer"],
        "clientVersion": "2.0",
        "clientOSVersion": browser,
        "clientBrowserVersion": browser,
        "msePacketizationVersion": 2,
        "custom": {"client": number},
    }]})
    .to_string()
}

/// The id of a client's `n`-th publish, in the form of the SDK's.
pub(super) fn stream_id(number: usize, n: u32) -> String {
    format!("{number:08x}-{:04x}-11ef-8000-{:012x}", n & 0xffff, std::process::id())
}

/// The name that the publisher of a group publishes and its players play.
pub(super) fn stream_name(group: usize) -> String {
    format!("load-{}-{group}", std::process::id())
}

/// `publishStream` or `playStream` with this offer.
pub(super) fn stream(publish: bool, id: &str, name: &str, offer: &str) -> String {
    let message = if publish { "publishStream" } else { "playStream" };
    json!({"message": message, "data": [messages::stream(publish, id, name, "WebRTC", offer)]}).to_string()
}

/// `unPublishStream` of what [`stream`] published.
pub(super) fn unpublish(id: &str, name: &str) -> String {
    json!({"message": "unPublishStream", "data": [messages::stop(true, id, name)]}).to_string()
}

/// `sendData` of `bytes` in all, or a little more if that is less than the envelope.
pub(super) fn send_data(bytes: usize) -> String {
    let head = r#"{"message":"sendData","data":[{"operationId":"00000000-0000-11ef-8000-000000000000","payload":{"x":""#;
    let tail = r#""}}]}"#;
    let filler = bytes.saturating_sub(head.len() + tail.len());
    let mut text = String::with_capacity(head.len() + filler + tail.len());
    text.push_str(head);
    text.extend(std::iter::repeat_n('x', filler));
    text.push_str(tail);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_sizes_of_the_sdk() {
        assert_eq!(send_data(200).len(), 200);
        assert_eq!(send_data(6_000).len(), 6_000);
        serde_json::from_str::<serde_json::Value>(&send_data(1)).unwrap();
        let publish = stream(true, &stream_id(1, 1), &stream_name(1), OFFER);
        assert!((4_500..8_000).contains(&publish.len()), "{}", publish.len());
        assert!(uuid::Uuid::parse_str(&stream_id(70_000, 3)).is_ok());
    }
}
