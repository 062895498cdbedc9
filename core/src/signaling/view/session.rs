//! Views of what concerns a session as a whole, and its calls (protocol S2.1, S2.2, S2.5, S2.6).

use std::borrow::Cow;

use super::{Field, key, views};
use crate::signaling::{
    edit::{remove_field, remove_fields, set_field},
    peek,
    scan::Span,
    value::boolean,
};

/// The fields of `connection` that log a SIP client in. A resume by token leaves them out (protocol S7).
const SIP_FIELDS: [&str; 8] = [
    "sipLogin",
    "sipAuthenticationName",
    "sipPassword",
    "sipDomain",
    "sipOutboundProxy",
    "sipProxy",
    "sipPort",
    "sipRegisterRequired",
];

/// The statuses after which the SDK forgets a call (protocol S3.5).
const CALL_IS_OVER: [&str; 3] = ["FINISH", "FAILED", "BUSY"];

views! {
    /// `connection`: who the client is. It holds credentials.
    Connection;
    /// `getUserData`: the server accepted the session.
    UserData;
    /// `fail`: the server refused something. It never ends a session by itself.
    Fail;
    /// `sessionDebug`: the server's log of this session begins or ends.
    SessionDebug;
    /// A message about a call, of either side. The SDK lets the status drive a call, not the name of
    /// the message.
    CallMessage;
}

impl<'a> Connection<'a> {
    /// The first argument, which says it all; without it the message is no `connection`.
    #[must_use]
    pub fn argument(self) -> Option<Field<'a>> {
        self.0.place_of_argument(0)
    }

    /// The server application, as `defaultApp` or `roomApp`.
    #[must_use]
    pub fn app_key(self) -> Option<Cow<'a, str>> {
        self.0.string(key::APP_KEY)
    }

    /// The SDK's version, as `2.0`.
    #[must_use]
    pub fn client_version(self) -> Option<Cow<'a, str>> {
        self.0.string("clientVersion")
    }

    /// Whether the client asks that its session outlives its socket.
    #[must_use]
    pub fn keep_alive(self) -> bool {
        self.0.field("keepAlive").and_then(|value| boolean(self.text(), value)) == Some(true)
    }

    /// Whether it is of the SFU SDK, whose messages are not ours to understand (protocol S2.8).
    #[must_use]
    pub fn is_sfu(self) -> bool {
        matches!(self.app_key().as_deref(), Some("sfuApp" | "sfuZClientApp"))
    }

    /// What the first argument says but for the token, which is of a session and not of a client.
    #[must_use]
    pub fn without_token(self) -> Option<Vec<u8>> {
        let argument = self.argument()?;
        let argument = argument.span().of(argument.message());
        Some(remove_field(argument, Span { start: 0, end: argument.len() }, key::AUTH_TOKEN))
    }

    /// The message with the token of an earlier session, and without SIP credentials (protocol S7).
    #[must_use]
    pub fn resuming(self, token: &str) -> Vec<u8> {
        let Some(argument) = self.0.argument(0) else { return self.text().to_vec() };
        let without_sip = remove_fields(self.text(), argument, &SIP_FIELDS);
        let argument = peek(&without_sip).ok().and_then(|peek| peek.argument(0));
        let Some(argument) = argument else { return without_sip };
        set_field(&without_sip, argument, key::AUTH_TOKEN, &serde_json::Value::from(token).to_string())
    }
}

impl<'a> UserData<'a> {
    /// The token of this session.
    #[must_use]
    pub fn auth_token(self) -> Option<Field<'a>> {
        self.0.place(key::AUTH_TOKEN)
    }

    /// The server application, echoed.
    #[must_use]
    pub fn app_key(self) -> Option<Cow<'a, str>> {
        self.0.string(key::APP_KEY)
    }
}

impl<'a> Fail<'a> {
    /// The id of the stream that is refused; `None` if something else is.
    #[must_use]
    pub fn stream(self) -> Option<Field<'a>> {
        let of_stream = self.0.string("apiMethod").as_deref() == Some("StreamStatusEvent");
        if of_stream { self.0.place(key::ID) } else { None }
    }

    /// Why: an HTTP reason phrase or a text of the server's.
    #[must_use]
    pub fn info(self) -> Option<Cow<'a, str>> {
        self.0.string(key::INFO)
    }
}

impl SessionDebug<'_> {
    /// Whether the log begins.
    #[must_use]
    pub fn starts(self) -> bool {
        self.0.string("command").as_deref() == Some("start")
    }
}

impl<'a> CallMessage<'a> {
    /// The call's id.
    #[must_use]
    pub fn call_id(self) -> Option<Field<'a>> {
        self.0.place(key::CALL_ID)
    }

    /// Whether the status ends the call.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.0.string(key::STATUS).is_some_and(|status| CALL_IS_OVER.contains(&&*status))
    }
}
