//! HTTP ports of our own (the admin port): who may ask, and how much asking may cost. Knows nothing of what is
//! asked.

mod guard;
mod listener;
mod serve;

pub(crate) use guard::stranger;
pub(crate) use listener::{Listener, Peer};
pub(crate) use serve::{Bounds, Lasting, serve};
