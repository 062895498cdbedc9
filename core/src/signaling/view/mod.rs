//! Views of the messages the proxy acts on: the names of their fields, and where the fields stand.
//!
//! A view is the message seen as what its name says. It has read nothing: each method looks for
//! one field when it is asked. What is missing or of another type is `None`, and what a message
//! must have is for the caller to demand. Views say nothing about what a message means, and change
//! nothing: [`Field::replaced`] and its like give the text that the message would be.

mod data;
mod media;
mod session;
mod stream;

use std::borrow::Cow;

pub use data::{DataEvent, DataStatus, Participant, RoomCommand, RoomEvent, RoomEventKind, SendData};
pub use media::{AudioCodec, MediaTransport, RemoteSdp};
pub use session::{CallMessage, Connection, Fail, SessionDebug, UserData};
pub use stream::{AboutStream, AvailableAnswer, MetricsUpdate, StreamEvent, StreamRequest, StreamStatus};

use super::{edit::Edits, peek::Peek, scan::Span, value};

/// Keys that several messages have.
mod key {
    pub(super) const APP_KEY: &str = "appKey";
    pub(super) const AUTH_TOKEN: &str = "authToken";
    pub(super) const CALL_ID: &str = "callId";
    pub(super) const ID: &str = "id";
    pub(super) const INFO: &str = "info";
    pub(super) const MEDIA_SESSION_ID: &str = "mediaSessionId";
    pub(super) const NAME: &str = "name";
    pub(super) const OPERATION_ID: &str = "operationId";
    pub(super) const PAYLOAD: &str = "payload";
    pub(super) const STATUS: &str = "status";
}

/// Declares views: what all of them have.
macro_rules! views {
    ($($(#[$about:meta])* $view:ident;)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub struct $view<'a>(&'a crate::signaling::peek::Peek<'a>);

        impl<'a> $view<'a> {
            /// This message, whatever its name, seen as one of these.
            #[must_use]
            pub const fn of(peek: &'a crate::signaling::peek::Peek<'a>) -> Self {
                Self(peek)
            }

            /// The whole message.
            #[must_use]
            pub const fn text(self) -> &'a [u8] {
                self.0.text()
            }
        }
    )*};
}
use views;

/// A value in a message: where it stands, to be read or replaced.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    text: &'a [u8],
    span: Span,
}

impl<'a> Field<'a> {
    /// The whole message.
    #[must_use]
    pub const fn message(self) -> &'a [u8] {
        self.text
    }

    /// Where the value stands in the message.
    #[must_use]
    pub const fn span(self) -> Span {
        self.span
    }

    /// The string, unescaped.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        value::string(self.text, self.span)
    }

    /// The id or name: a string, or a number as it is written.
    #[must_use]
    pub fn id(self) -> Option<Cow<'a, str>> {
        value::identifier(self.text, self.span)
    }

    /// Whether it is a string, without looking into it: an SDP is long.
    #[must_use]
    pub fn is_string(self) -> bool {
        self.span.of(self.text).first() == Some(&b'"')
    }

    /// The message with this string in place of the value, every other byte the same.
    #[must_use]
    pub fn replaced(self, value: &str) -> Vec<u8> {
        let mut edits = Edits::new();
        edits.push_string(self.span, value);
        edits.apply(self.text)
    }
}

impl<'a> Peek<'a> {
    /// Where `key` of the first argument stands.
    fn place(&self, key: &str) -> Option<Field<'a>> {
        self.placed(self.field(key))
    }

    /// Where the argument with this index stands.
    fn place_of_argument(&self, index: usize) -> Option<Field<'a>> {
        self.placed(self.argument(index))
    }

    fn placed(&self, span: Option<Span>) -> Option<Field<'a>> {
        Some(Field { text: self.text(), span: span? })
    }
}

/// The values of a message to a client that may be an id which the client has chosen.
pub fn ids_of_client<'a>(peek: &'a Peek<'a>) -> impl Iterator<Item = Field<'a>> {
    let ids = peek.fields([key::MEDIA_SESSION_ID, key::ID, key::CALL_ID, key::OPERATION_ID]);
    ids.into_iter().chain([peek.argument(0)]).filter_map(|span| peek.placed(span))
}

#[cfg(test)]
mod tests;
