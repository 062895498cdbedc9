//! `holdfast top`: what a running proxy knows, on a terminal that stays up to date.
//!
//! Three parts that know each other one way only: `Model` is what was heard and what was typed, without IO and
//! without a clock; `view` draws a model into a buffer and changes nothing; `screen` is the terminal itself. Who asks
//! the proxy, and how often, is the command's (`cli`). Must not ask anything of a proxy itself, nor change it.

mod columns;
mod model;
mod news;
mod screen;
mod text;
mod view;

pub(crate) use model::{Model, Wanted};
pub(crate) use news::{News, sessions_path};
pub use screen::Screen;
pub(crate) use view::{draw, plain};
