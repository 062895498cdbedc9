//! What the probe says: messages as the SDK makes them (protocol S2.1, S2.3).

use serde_json::{Value, json};

use super::settings::ProbeSettings;

/// The `appKey` that no server has.
pub(super) const UNKNOWN_APP_KEY: &str = "holdfastProbeUnknownApp";
/// The token that nobody gave.
pub(super) const UNKNOWN_TOKEN: &str = "/192.0.2.1:1/192.0.2.1:2-holdfast-probe";
/// The field of `custom` by which a connection is known again.
pub(super) const MARK: &str = "holdfastProbe";

/// The fixed offer of the MSE player (protocol S2.9).
pub(super) const MSE_OFFER: &str = "v=0\r\no=- 1988962254 1988962254 IN IP4 0.0.0.0\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    a=sdplang:en\r\nm=video 0 RTP/AVP 112\r\na=rtpmap:112 H264/90000\r\n\
    a=fmtp:112 packetization-mode=1; profile-level-id=42001f\r\na=recvonly\r\n\
    m=audio 0 RTP/AVP 108 109 110\r\na=rtpmap:108 mpeg4-generic/16000/1\r\n\
    a=rtpmap:109 mpeg4-generic/44100/1\r\na=rtpmap:110 mpeg4-generic/48000/1\r\na=recvonly\r\n";

/// How a connection is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes<'a> {
    /// Instead of that of the settings.
    pub(super) app_key: Option<&'a str>,
    /// `keepAlive`, if it is said at all.
    pub(super) keep_alive: Option<bool>,
    /// `authToken`, if it is said.
    pub(super) token: Option<&'a str>,
    /// Who it is: put into `custom`.
    pub(super) mark: &'a str,
    /// `custom.login`, as rooms want it.
    pub(super) login: Option<&'a str>,
}

/// The argument of `connection`.
pub(super) fn connection(settings: &ProbeSettings, wishes: &Wishes<'_>) -> Value {
    let mut custom = settings.custom.clone().unwrap_or_else(|| json!({}));
    if let Value::Object(fields) = &mut custom {
        fields.insert(MARK.to_owned(), json!(wishes.mark));
        if let Some(login) = wishes.login {
            fields.insert("login".to_owned(), json!(login));
        }
    }
    let browser = concat!("holdfast probe ", env!("CARGO_PKG_VERSION"));
    let mut argument = json!({
        "appKey": wishes.app_key.unwrap_or(&settings.app_key),
        "mediaProviders": ["WebRTC", "MSE", "WSPlayer"],
        "clientVersion": "2.0",
        "clientOSVersion": browser,
        "clientBrowserVersion": browser,
        "msePacketizationVersion": 2,
        "custom": custom,
    });
    if let Value::Object(fields) = &mut argument {
        if let Some(keep_alive) = wishes.keep_alive {
            fields.insert("keepAlive".to_owned(), json!(keep_alive));
        }
        if let Some(token) = wishes.token {
            fields.insert("authToken".to_owned(), json!(token));
        }
    }
    argument
}
