//! The ports where clients come in: which are open, and how they become others while sessions stand.
//!
//! A port that is to be opened is bound before anything else changes. One that is closed takes in whoever the
//! system has connected already; sessions that came through it stay.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{StartError, listener, shared::Shared};

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// As it is written; its port may be 0.
    pub(crate) written: SocketAddr,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Whether those who come speak TLS.
    pub(crate) is_tls: Arc<AtomicBool>,
    pub(crate) listener: Arc<TcpListener>,
    pub(crate) closed: CancellationToken,
}

impl Open {
    fn is_written(&self, address: SocketAddr) -> bool {
        self.written == address || self.address == address
    }
}

/// All of them, in the order of the settings.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    open: Vec<Open>,
    /// Where they are or, once the proxy has let go of them, were.
    addresses: Vec<SocketAddr>,
}

/// What they are to be: nothing of it can fail any more.
#[derive(Debug)]
pub(crate) struct PlannedListeners {
    all: Vec<(Open, bool)>,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerChanges {
    pub(crate) opened: Vec<SocketAddr>,
    pub(crate) closed: Vec<SocketAddr>,
    /// They speak TLS now and did not, or the other way about.
    pub(crate) switched: Vec<SocketAddr>,
}

impl Listeners {
    /// Where they are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.lock().addresses.clone()
    }

    /// The proxy takes no new sessions: the ports are free for others as soon as nobody accepts there any more.
    pub(crate) fn let_go(&self) {
        self.0.lock().open.clear();
    }

    /// Binds those that are not there yet. Nobody is accepted there before [`Listeners::take_in`].
    ///
    /// # Errors
    /// An address cannot be had.
    pub(crate) fn plan(
        &self,
        wanted: impl Iterator<Item = (SocketAddr, bool)>,
        reuse_port: bool,
    ) -> Result<PlannedListeners, StartError> {
        let mut before = self.0.lock().open.clone();
        let wanted: Vec<_> = wanted.collect();
        let mut kept = Vec::new();
        for (address, is_tls) in &wanted {
            let at = before.iter().position(|open| open.is_written(*address));
            kept.push((at.map(|at| before.remove(at)), *address, *is_tls));
        }
        let open = |(kept, written, is_tls): (Option<Open>, SocketAddr, bool)| {
            let refused = |source| StartError::Listen { address: written, source };
            let open = match kept {
                Some(open) => open,
                None => {
                    let listener = bind(written, &before, reuse_port).map_err(refused)?;
                    let address = listener.local_addr().map_err(refused)?;
                    Open {
                        written,
                        address,
                        is_tls: Arc::new(AtomicBool::new(is_tls)),
                        listener: Arc::new(listener),
                        closed: CancellationToken::new(),
                    }
                }
            };
            Ok((open, is_tls))
        };
        Ok(PlannedListeners { all: kept.into_iter().map(open).collect::<Result<_, StartError>>()? })
    }

    /// From now on these are open and no others.
    pub(crate) fn take_in(&self, shared: &Arc<Shared>, planned: PlannedListeners) -> ListenerChanges {
        let mut changes = ListenerChanges::default();
        let mut all = self.0.lock();
        let is_same = |one: &Open, other: &Open| Arc::ptr_eq(&one.listener, &other.listener);
        for (one, is_tls) in &planned.all {
            if !all.open.iter().any(|known| is_same(known, one)) {
                let sessions_max = shared.live.places();
                tracing::info!(address = %one.address, tls = is_tls, sessions_max, "listening");
                changes.opened.push(one.address);
                tokio::spawn(listener::accept_all(Arc::clone(shared), one.clone()));
            } else if one.is_tls.swap(*is_tls, Ordering::AcqRel) != *is_tls {
                changes.switched.push(one.address);
            }
        }
        for gone in all.open.iter().filter(|known| !planned.all.iter().any(|(one, _)| is_same(known, one))) {
            tracing::info!(address = %gone.address, "not listening there any more");
            changes.closed.push(gone.address);
            gone.closed.cancel();
        }
        all.addresses = planned.all.iter().map(|(one, _)| one.address).collect();
        all.open = planned.all.into_iter().map(|(one, _)| one).collect();
        changes
    }
}

/// Binds an address; also one that overlaps with those that are to be closed, such as 127.0.0.1 in place of
/// 0.0.0.0.
fn bind(address: SocketAddr, closing: &[Open], reuse_port: bool) -> io::Result<TcpListener> {
    let in_the_way = |open: &&Open| address.port() != 0 && open.address.port() == address.port();
    let in_the_way: Vec<_> = closing.iter().filter(in_the_way).collect();
    match listener::bind(address, reuse_port) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !in_the_way.is_empty() => {}
        result => return result,
    }
    let share = |is_shared| -> io::Result<()> {
        in_the_way.iter().try_for_each(|open| SockRef::from(&*open.listener).set_reuse_port(is_shared))
    };
    share(true)?;
    let bound = listener::bind(address, true);
    // Nobody who does not share is to come in beside us; others of the same user could at most.
    share(reuse_port)?;
    let bound = bound?;
    SockRef::from(&bound).set_reuse_port(reuse_port)?;
    Ok(bound)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn addresses(planned: &PlannedListeners) -> Vec<SocketAddr> {
        planned.all.iter().map(|(open, _)| open.address).collect()
    }

    fn keep(listeners: &Listeners, planned: PlannedListeners) {
        let addresses = addresses(&planned);
        let open = planned.all.into_iter().map(|(open, _)| open).collect();
        *listeners.0.lock() = All { open, addresses };
    }

    #[tokio::test]
    async fn what_is_open_stays_and_what_cannot_be_had_changes_nothing() {
        let listeners = Listeners::default();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        keep(&listeners, listeners.plan([(any, false), (any, false)].into_iter(), false).unwrap());
        let before = listeners.addresses();
        let again = listeners.plan([(any, false), (any, true)].into_iter(), false).unwrap();
        assert_eq!(addresses(&again), before, "any port is any of ours");
        let taken = std::net::TcpListener::bind(any).unwrap().local_addr().unwrap();
        let _other = std::net::TcpListener::bind(taken).unwrap();
        let error = listeners.plan([(any, false), (taken, false)].into_iter(), false).unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        assert_eq!(listeners.addresses(), before);
    }

    #[tokio::test]
    async fn one_that_overlaps_with_one_that_is_closed_can_be_had() {
        let listeners = Listeners::default();
        let all: SocketAddr = "0.0.0.0:0".parse().unwrap();
        keep(&listeners, listeners.plan([(all, false)].into_iter(), false).unwrap());
        let wide = listeners.addresses()[0];
        let narrow = SocketAddr::from(([127, 0, 0, 1], wide.port()));
        let planned = listeners.plan([(narrow, false)].into_iter(), false).unwrap();
        assert_eq!(addresses(&planned), [narrow]);
        let beside = listeners.plan([(wide, false), (narrow, false)].into_iter(), false);
        assert!(beside.is_err(), "not where both are to stay");
        keep(&listeners, planned);
        let planned = listeners.plan([(wide, false)].into_iter(), false).unwrap();
        assert_eq!(addresses(&planned), [wide], "and back");
    }
}
