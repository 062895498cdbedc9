//! The signaling layer: reading and editing WCS messages without re-serialising them.
//!
//! A message is forwarded as the bytes that arrived. [`peek()`] finds its name and where its
//! arguments lie, [`ClientMessage`] and [`ServerMessage`] say which one it is, the [`view`] that
//! comes with it reads single fields, and [`Edits`] replaces single values while every other byte
//! stays. Nothing here does IO, keeps state between messages, or decides what happens to one.
//!
//! All functions take bytes from outside: they never panic, never recurse with the nesting of
//! the text, and never read past it. Text that is no JSON yields an error or `None`.
//!
//! ```
//! use holdfast_core::signaling::{ClientMessage, peek};
//!
//! let text = br#"{"message":"stopStream","data":[{"mediaSessionId":"a","name":"cam"}]}"#;
//! let peek = peek(text)?;
//! let ClientMessage::StopStream(stop) = ClientMessage::of(&peek) else { panic!("it is a stop") };
//! assert_eq!(stop.name().as_deref(), Some("cam"));
//!
//! // The upstream knows this stream by another id: that is replaced, and nothing else.
//! let id = stop.media_session_id().expect("it is there");
//! assert_eq!(id.replaced("b7"), br#"{"message":"stopStream","data":[{"mediaSessionId":"b7","name":"cam"}]}"#);
//! # Ok::<(), holdfast_core::signaling::PeekError>(())
//! ```

mod edit;
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod peek;
pub mod redact;
pub mod redactor;
mod scan;
pub mod sdp;
pub mod synthetic;
#[cfg(test)]
mod testing;
mod value;
pub mod view;

pub use edit::Edits;
pub use message::{ClientMessage, ServerMessage};
pub(crate) use peek::peek_into;
pub use peek::{Peek, PeekError, peek};
pub use scan::Span;
