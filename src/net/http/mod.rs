//! What a client says and hears by HTTP on one connection: requests in their order, until one of them makes it a
//! session. What is answered is decided in `respond`.

mod body;
mod conversation;
mod course;
mod respond;
mod watched;

pub(super) use conversation::{Unserved, Visitor, converse, is_gone};
pub(super) use respond::{Admitted, dial, notice_balancer};
