//! The clients' side: listening, handshakes, TLS, and the task that drives each session. It decides nothing
//! about the protocol.

mod addresses;
mod admission;
mod census;
pub(crate) mod certificates;
mod closing;
mod driver;
mod first_message;
mod handshake;
pub(crate) mod health;
mod http;
mod leaving;
mod ledger;
mod listener;
mod listeners;
pub(crate) mod live;
mod media_health;
mod media_socket;
mod memory;
mod mover;
mod moves;
mod operate;
mod pinned;
mod proxy;
mod proxy_header;
mod pulse;
mod recordings;
mod reload;
mod request;
mod route;
mod search;
mod shared;
pub(crate) mod tls;
mod view;

pub use crate::upstream::{
    DIAL_BUCKETS_MS, DialCounts, Figures, MediaState, NodeState, NodeStatus, PoolError, StepCount, Wish,
    WishRefused,
};
pub use leaving::{LeaveCause, LeaveOrder, LeaveStage, LeaveStatus, StayRefused};
pub use ledger::SessionLedger;
pub use listener::BACKLOG;
pub use mover::{DRAIN_RATE, DrainOrder, DrainStatus, Purpose};
pub use proxy::{Facts, MemoryFacts, Proxy, StartError, sessions_that_fit};
pub use pulse::{NodeFigures, RunningOutage, Sample, StreamFigures};
pub use recordings::{RecordBounds, RecordOrder, RecordRefused, Recorded, RecordedLines, RecordingStatus};
pub use reload::{Change, Prepared, ReloadOutcome, ReloadReport, ReloadTrigger};
pub use search::{Order, PAGE_DEFAULT, PAGE_MAX, SessionFound, SessionPage, SessionQuery};
pub(crate) use view::View;
