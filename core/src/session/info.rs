//! What a failure text of the server means for a restore (protocol S5.3, rule R9).

/// Whether another try by the proxy can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryClass {
    /// May pass by itself: one of ours may try again within the limits.
    Transient,
    /// The name or id is still held, perhaps by the session that just died (rule R7).
    InUse,
    /// The stream is not there: transient while its publisher is being restored.
    NotFound,
    /// The player's publisher ended: by choice or lost (rule R9).
    PublisherEnded,
    /// The media path failed: only a new offer of the client mends it in direct media.
    ClientMedia,
    /// The server does not take the codecs: worth one try without H264.
    Codec,
    /// Final: forward and forget.
    Permanent,
}

const CLASSES: &[(&str, RetryClass)] = &[
    ("Stopped by session disconnect", RetryClass::Transient),
    ("Session not ready", RetryClass::Transient),
    ("Session does not exist", RetryClass::Transient),
    ("Publish stream is not ready", RetryClass::Transient),
    ("Stream name is already in use", RetryClass::InUse),
    ("MediaSessionId is already in use", RetryClass::InUse),
    ("Stream not found", RetryClass::NotFound),
    ("CDN stream not found", RetryClass::NotFound),
    ("Failed to connect to origin stream", RetryClass::Transient),
    ("Agent servicing origin stream is shutting down", RetryClass::Transient),
    ("RtspAgent shutdown", RetryClass::Transient),
    ("Requested stream shutdown", RetryClass::Transient),
    ("Failed to connect to rtsp stream", RetryClass::Transient),
    ("Rtsp stream not found", RetryClass::Transient),
    ("Stopped by publisher stop", RetryClass::PublisherEnded),
    ("No available transcoders", RetryClass::Transient),
    ("Stream failed", RetryClass::Transient),
    ("Failed by error", RetryClass::Transient),
    ("Failed to add stream to proxy", RetryClass::Transient),
    ("Failed by ICE error", RetryClass::ClientMedia),
    ("Failed by ICE timeout", RetryClass::ClientMedia),
    ("Failed by ICE keep alive", RetryClass::ClientMedia),
    ("Failed by DTLS error", RetryClass::ClientMedia),
    ("Failed by DTLS fingerprint error", RetryClass::ClientMedia),
    ("Failed by RTP activity", RetryClass::ClientMedia),
    ("No common codecs", RetryClass::Codec),
    ("Transcoding required, but disabled", RetryClass::Codec),
];

/// The class of an info text; anything unknown is the server's own decision and permanent.
pub(super) fn classify(info: &str) -> RetryClass {
    CLASSES
        .iter()
        .find(|(text, _)| text.eq_ignore_ascii_case(info))
        .map_or(RetryClass::Permanent, |entry| entry.1)
}

/// Whether a refused first publish is worth a try without H264: refused for its codecs, or for a
/// reason so general that codecs may be it.
pub(super) fn may_be_the_codec(info: &str) -> bool {
    const GENERAL: &[&str] = &["", "Stream failed", "Failed by error", "Failed to add stream to proxy"];
    classify(info) == RetryClass::Codec || GENERAL.iter().any(|text| text.eq_ignore_ascii_case(info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_their_class_and_unknown_ones_are_permanent() {
        assert_eq!(classify("Stream name is already in use"), RetryClass::InUse);
        assert_eq!(classify("stream not found"), RetryClass::NotFound);
        assert_eq!(classify("Restricted access"), RetryClass::Permanent);
        assert_eq!(classify("Forbidden by our billing"), RetryClass::Permanent);
        assert_eq!(classify(""), RetryClass::Permanent);
    }

    #[test]
    fn a_name_in_use_is_no_codec_trouble() {
        assert!(may_be_the_codec("No common codecs"));
        assert!(may_be_the_codec(""));
        assert!(!may_be_the_codec("Stream name is already in use"));
        assert!(!may_be_the_codec("Restricted access"));
    }
}
