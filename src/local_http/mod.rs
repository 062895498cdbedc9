//! HTTP ports of our own on loopback (the admin port): who may ask, and how much asking may cost. Knows nothing of what is asked.

mod guard;
mod serve;

pub(crate) use guard::stranger;
pub(crate) use serve::{Bounds, serve};
