//! The signaling layer: reading and editing WCS messages without re-serialising them.
//!
//! A message is forwarded as the bytes that arrived. [`peek()`] finds its name and where its
//! arguments lie, the functions beside it find single values, and [`Edits`] replaces single
//! values while every other byte stays. Nothing here does IO, keeps state between messages, or
//! decides what happens to one.
//!
//! All functions take bytes from outside: they never panic, never recurse with the nesting of
//! the text, and never read past it. Text that is no JSON yields an error or `None`.
//!
//! ```
//! use holdfast_core::signaling::{Edits, peek};
//!
//! let text = br#"{"message":"stopStream","data":[{"mediaSessionId":"a","name":"cam"}]}"#;
//! let peek = peek(text)?;
//! assert_eq!(peek.name, "stopStream");
//! assert_eq!(peek.string("name").as_deref(), Some("cam"));
//!
//! // The upstream knows this stream by another id: that is replaced, and nothing else.
//! let mut edits = Edits::new();
//! edits.push_string(peek.field("mediaSessionId").expect("it is there"), "b7");
//! assert_eq!(edits.apply(text), br#"{"message":"stopStream","data":[{"mediaSessionId":"b7","name":"cam"}]}"#);
//! # Ok::<(), holdfast_core::signaling::PeekError>(())
//! ```

mod edit;
#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
mod names;
mod peek;
pub mod redact;
mod scan;
pub mod sdp;
pub mod synthetic;
#[cfg(test)]
mod testing;
mod value;
pub mod view;

pub use edit::{Edits, remove_field, remove_fields, set_field};
pub use names::{ClientMessage, ServerMessage};
pub use peek::{Peek, PeekError, peek};
pub use scan::{MAX_DEPTH, Span};
pub use value::{
    boolean, element, elements, field, fields, identifier, is_null, number, string, unsigned_integer,
};
