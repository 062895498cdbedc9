//! What a client says and hears by HTTP on one connection: requests in their order, until one of them makes it a
//! session. What is answered is decided in `respond`.

mod body;
mod conversation;
mod course;
mod headers;
mod lb;
mod pass;
mod request_body;
mod respond;
mod side;
mod tunnel;
mod upstream;
mod watched;

pub(super) use conversation::{Becomes, Unserved, Visitor, converse, is_gone};
pub(super) use respond::{Admitted, dial, notice_balancer};
pub(super) use side::{HttpSide, InFlight};
pub(super) use upstream::HttpServer;
