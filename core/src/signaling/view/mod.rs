//! Typed views of the messages the proxy acts on.
//!
//! A view borrows from the text and reads its fields in one walk over the first argument. Every
//! field is optional: what is missing or of another type reads as `None`, and what a message
//! must have is for the caller to demand. Views say nothing about what a message means.
//!
//! Strings that are long and seldom looked at (SDP) are given as spans; read them with
//! [`string`](super::string()).

mod call;
mod data;
mod session;
mod stream;

use std::borrow::Cow;

pub use call::CallMessage;
pub use data::{DataEvent, DataStatus, Participant, SendData};
pub use session::{Connection, Fail, MediaTransport, SIP_FIELDS, UserData};
pub use stream::{AvailableAnswer, MetricsUpdate, RemoteSdp, StreamEvent, StreamMessage, StreamRequest};

use super::peek::Peek;
use super::scan::Span;
use super::value::{boolean, fields, string};

/// Reads the fields of one object of a message.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn of(message: &Peek<'a>) -> Self {
        Self { text: message.text() }
    }

    fn string(self, value: Option<Span>) -> Option<Cow<'a, str>> {
        string(self.text, value?)
    }

    fn boolean(self, value: Option<Span>) -> Option<bool> {
        boolean(self.text, value?)
    }

    fn fields<const N: usize>(self, object: Option<Span>, keys: [&str; N]) -> [Option<Span>; N] {
        object.map_or([None; N], |object| fields(self.text, object, keys))
    }
}

#[cfg(test)]
mod tests;
