//! How whoever answers here asks for a new configuration, and what the answers go by while it becomes another.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{mpsc, oneshot};

use super::Setup;
use crate::net::{ReloadReport, ReloadTrigger};

/// Most who may wait for theirs.
const WAITING_MAX: usize = 8;

/// What the admin side goes by, which may become another.
#[derive(Clone, Debug)]
pub struct Board(Arc<ArcSwap<Setup>>);

impl From<Setup> for Board {
    fn from(setup: Setup) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(setup)))
    }
}

impl Board {
    /// What it goes by now.
    pub(super) fn now(&self) -> Guard<Arc<Setup>> {
        self.0.load()
    }

    /// What it goes by from now on. What it began with (doors, bounds) stays.
    pub fn change(&self, change: impl FnOnce(&mut Setup)) {
        let mut setup = Setup::clone(&self.0.load());
        change(&mut setup);
        self.0.store(Arc::new(setup));
    }
}

/// Somebody wants the configuration to be read again.
#[derive(Debug)]
pub struct Asked {
    /// How it came.
    pub trigger: ReloadTrigger,
    /// Who is told what became of it, if anybody is.
    pub answer: Option<oneshot::Sender<ReloadReport>>,
}

/// Where that is asked for.
#[derive(Clone, Debug)]
pub struct Reloading(mpsc::Sender<Asked>);

impl Reloading {
    /// A place to ask at, and where it arrives.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Asks for it and for what becomes of it; none: as many wait as may.
    pub(super) fn ask(&self) -> Option<oneshot::Receiver<ReloadReport>> {
        let (answer, told) = oneshot::channel();
        let asked = Asked { trigger: ReloadTrigger::Api, answer: Some(answer) };
        self.0.try_send(asked).ok().map(|()| told)
    }

    /// Asks for it, however many wait: one that has not begun will read what there is then.
    pub fn signal(&self) {
        let _ = self.0.try_send(Asked { trigger: ReloadTrigger::Signal, answer: None });
    }
}
