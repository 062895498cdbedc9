//! Taking sessions off a node while both ends live: who belongs together, who goes when, and what is left.
//!
//! Decides only: a survey of sessions, their answers and time come in, orders to sessions go out. It neither
//! knows sockets nor how a session moves; which node is the new one it asks ([`Choose`]).

mod moving;
mod plan;
mod progress;
mod webs;

pub use plan::{Act, Answer, Choose, Input, Plan, Wish};
pub use progress::{Left, Progress, Stage};
pub use webs::{Web, webs};

#[cfg(test)]
mod tests;
