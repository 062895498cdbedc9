//! Ids that a client writes as numbers. Inside they are texts like all others; what is said to the client
//! has them as it wrote them. Decides nothing.

use std::borrow::Cow;

use crate::signaling::{
    Edits, peek,
    view::{Field, ids_of_client},
};

use super::kept::texts;

/// Ids kept per session; the oldest goes first, and would be written as text from then on.
const NUMERIC_IDS_MAX: usize = 256;
/// Longest number that is taken for an id, in bytes.
const NUMBER_BYTES_MAX: usize = 32;

/// The ids that were numbers. Most sessions have none, and pay nothing.
#[derive(Debug, Default)]
pub(super) struct NumericIds(Vec<Box<str>>);

impl NumericIds {
    fn note(&mut self, id: &str) {
        if self.knows(id) {
            return;
        }
        if self.0.len() >= NUMERIC_IDS_MAX {
            self.0.remove(0);
        }
        self.0.push(id.into());
    }

    fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|known| **known == *id)
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        texts(&self.0)
    }

    /// A message for the client with these ids as numbers.
    pub(super) fn restore(&self, message: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return message;
        }
        let Ok(peek) = peek(&message) else { return message };
        let mut edits = Edits::new();
        for field in ids_of_client(&peek) {
            if let Some(id) = field.string().filter(|id| self.knows(id)) {
                edits.push(field.span(), id);
            }
        }
        if edits.is_empty() { message } else { edits.apply(&message) }
    }
}

impl NumericIds {
    /// An id in a message of the client; one that is a number is remembered as such.
    pub(super) fn client_id<'a>(&mut self, field: Field<'a>) -> Option<Cow<'a, str>> {
        let id = field.id()?;
        if !field.is_string() {
            if id.len() > NUMBER_BYTES_MAX {
                return None;
            }
            self.note(&id);
        }
        Some(id)
    }
}
