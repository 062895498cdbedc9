//! What sessions were told and what they decided, line by line, without secrets; and the way back: the same told to
//! a session anew, to see whether it decides the same.
//!
//! A [`Recorder`] stands beside a session and writes lines to a [`Tape`]: one for each input, for each question to the
//! directory with its answer, and for each output. A [`Replay`] reads them. Both write what they see in the same words
//! (`words`), so that equal decisions are equal lines. What is secret has a placeholder by the time it is written
//! ([`Redactor`](crate::signaling::redactor::Redactor)), and the replay works with these: what the core decides
//! depends on what equals what, not on what it says.
//!
//! Sizes alone differ: a placeholder is not as long as what it stands for. Where a bound of bytes was reached the
//! replay may decide otherwise, and what is kept is not compared.

mod directory;
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod line;
mod recorder;
mod replay;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

pub use line::{Heading, LINE_BYTES_MAX, Line, SCHEMA, Start};
pub use recorder::{Recorder, Tape};
pub use replay::{Difference, ReadError, Replay, Report, SessionReport};
pub use timeline::told;
