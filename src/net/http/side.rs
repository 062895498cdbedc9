//! What all requests that are passed on share: how many there are, the name of this proxy on their way, and which of
//! their failures were told.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;

use crate::{
    address::{Counted, Counts},
    telemetry::{Told, counts::HttpFailure, events},
};

/// How often the same failure is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Kinds of failures of routes that are kept in mind.
const KINDS_TOLD_MAX: usize = 1_024;

/// One for the whole proxy.
#[derive(Debug)]
pub(crate) struct HttpSide {
    in_flight: Arc<AtomicUsize>,
    by_address: Counts,
    /// The name of this proxy in `Via`, unlike that of any other.
    name: String,
    told: Mutex<Told<(String, usize)>>,
}

impl Default for HttpSide {
    fn default() -> Self {
        Self {
            in_flight: Arc::default(),
            by_address: Counts::default(),
            name: format!("holdfast-{:08x}", rand::random::<u32>()),
            told: Mutex::new(Told::with_pause(KINDS_TOLD_MAX, TOLD_EVERY)),
        }
    }
}

/// A request that is passed on; counts until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    all: Arc<AtomicUsize>,
    _of_address: Option<Counted>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

impl HttpSide {
    /// One more of this address, if it may have one.
    pub(crate) fn of_address(&self, client: IpAddr, max: usize) -> Option<Counted> {
        self.by_address.take(client, max)
    }

    /// One more of all, if there may be one.
    pub(crate) fn take(&self, of_address: Option<Counted>, max: usize) -> Option<InFlight> {
        let more = |taken: usize| (taken < max).then(|| taken.saturating_add(1));
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(InFlight { all: Arc::clone(&self.in_flight), _of_address: of_address })
    }

    /// Requests that are passed on at this moment.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a request has been here before: what `Via` says so far.
    pub(super) fn was_here<'a>(&self, mut vias: impl Iterator<Item = &'a HeaderValue>) -> bool {
        vias.any(|via| {
            let hops = via.as_bytes().split(|byte| *byte == b',');
            hops.map(<[u8]>::trim_ascii).any(|hop| hop.ends_with(self.name.as_bytes()))
        })
    }

    /// What this proxy adds to `Via`.
    pub(super) fn via(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("1.1 {}", self.name)).ok()
    }

    /// Tells a failure unless it was told of others like it a moment ago.
    pub(super) fn tell(&self, route: &str, server: &str, (kind, cause): (HttpFailure, &str)) {
        let may_tell = self.told.lock().may_tell((route.to_owned(), kind as usize), Instant::now());
        match may_tell {
            Some(0) => events::http_failed(route, &server, &cause),
            Some(more) => {
                let cause = format_args!("{cause}; {more} more since this was told");
                events::http_failed(route, &server, &cause);
            }
            None => tracing::debug!(route, server, cause, "a request that was passed on failed"),
        }
    }
}
