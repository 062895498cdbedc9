//! Views of `connection`, `getUserData`, `fail` and `connectMediaTransport`.

use std::borrow::Cow;

use super::Reader;
use crate::signaling::peek::Peek;
use crate::signaling::scan::Span;
use crate::signaling::value::elements;

/// The fields of `connection` that log a SIP client in. A resume by token leaves them out (S7).
pub const SIP_FIELDS: [&str; 8] = [
    "sipLogin",
    "sipAuthenticationName",
    "sipPassword",
    "sipDomain",
    "sipOutboundProxy",
    "sipProxy",
    "sipPort",
    "sipRegisterRequired",
];

/// `connection`, or its older form `connect`: the first message of a session (S2.1).
///
/// It holds credentials: show it redacted only.
#[derive(Clone)]
pub struct Connection<'a> {
    /// The whole first argument, to edit it.
    pub argument: Option<Span>,
    /// The server application, as `defaultApp` or `roomApp`.
    pub app_key: Option<Cow<'a, str>>,
    /// The client asks that its session outlives its socket.
    pub keep_alive: Option<bool>,
    /// The token of an earlier session.
    pub auth_token: Option<Cow<'a, str>>,
    /// Where the token stands.
    pub auth_token_span: Option<Span>,
    /// The SDK's version, as `2.0`.
    pub client_version: Option<Cow<'a, str>>,
    /// `WebRTC`, `MSE`, `WSPlayer`, `Flash` in the client's order. What is no string is left out.
    pub media_providers: Vec<Cow<'a, str>>,
    /// The SIP login, if this is a SIP client.
    pub sip_login: Option<Cow<'a, str>>,
    /// A SIP client that waits for `registered`.
    pub sip_register_required: Option<bool>,
    /// `custom.login`: the user name in the room API (S2.7).
    pub custom_login: Option<Cow<'a, str>>,
}

impl<'a> Connection<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [app, keep, token, version, providers, sip_login, register, custom] = message.fields([
            "appKey",
            "keepAlive",
            "authToken",
            "clientVersion",
            "mediaProviders",
            "sipLogin",
            "sipRegisterRequired",
            "custom",
        ]);
        let [login] = reader.fields(custom, ["login"]);
        let providers = providers
            .map(|list| elements(reader.text, list).filter_map(|one| reader.string(Some(one))).collect());
        Self {
            argument: message.argument(0),
            app_key: reader.string(app),
            keep_alive: reader.boolean(keep),
            auth_token: reader.string(token),
            auth_token_span: token,
            client_version: reader.string(version),
            media_providers: providers.unwrap_or_default(),
            sip_login: reader.string(sip_login),
            sip_register_required: reader.boolean(register),
            custom_login: reader.string(login),
        }
    }

    /// True for the SFU SDK, whose messages are not ours to understand (S2.8).
    #[must_use]
    pub fn is_sfu(&self) -> bool {
        matches!(self.app_key.as_deref(), Some("sfuApp" | "sfuZClientApp"))
    }
}

/// `getUserData`: the server accepted the session (S2.2).
#[derive(Clone)]
pub struct UserData<'a> {
    /// The token of this session.
    pub auth_token: Option<Cow<'a, str>>,
    /// Where the token stands.
    pub auth_token_span: Option<Span>,
    /// `ESTABLISHED`.
    pub status: Option<Cow<'a, str>>,
    /// The SIP login, echoed.
    pub sip_login: Option<Cow<'a, str>>,
    /// The server wants WebRTC metrics.
    pub wants_metrics: bool,
}

impl<'a> UserData<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [token, status, sip_login, metrics] =
            message.fields(["authToken", "status", "sipLogin", "webRTCMetricsServerDescription"]);
        Self {
            auth_token: reader.string(token),
            auth_token_span: token,
            status: reader.string(status),
            sip_login: reader.string(sip_login),
            wants_metrics: metrics.is_some_and(|span| span.of(reader.text).starts_with(b"{")),
        }
    }
}

/// `fail`: the server refused something (S2.2). It never ends a session by itself.
#[derive(Clone, Debug)]
pub struct Fail<'a> {
    /// `FAILED`.
    pub status: Option<Cow<'a, str>>,
    /// Why: an HTTP reason phrase or custom text.
    pub info: Option<Cow<'a, str>>,
    /// What was refused: `ConnectionStatusEvent`, `StreamStatusEvent`.
    pub api_method: Option<Cow<'a, str>>,
    /// The stream's id, if it concerns one.
    pub id: Option<Cow<'a, str>>,
}

impl<'a> Fail<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [status, info, method, id] = message.fields(["status", "info", "apiMethod", "id"]);
        Self {
            status: reader.string(status),
            info: reader.string(info),
            api_method: reader.string(method),
            id: reader.string(id),
        }
    }

    /// True if the whole connection was refused.
    #[must_use]
    pub fn refuses_connection(&self) -> bool {
        self.api_method.as_deref() == Some("ConnectionStatusEvent")
    }
}

/// `connectMediaTransport`: the first message on a media socket (S2.9).
#[derive(Clone)]
pub struct MediaTransport<'a> {
    /// The session's token as the client knows it.
    pub auth_token: Option<Cow<'a, str>>,
    /// Where the token stands.
    pub auth_token_span: Option<Span>,
}

impl<'a> MediaTransport<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let [token] = message.fields(["authToken"]);
        Self { auth_token: Reader::of(message).string(token), auth_token_span: token }
    }
}
