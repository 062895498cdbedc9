//! What the tasks of one simulator share: the world behind its lock, and whether it is frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use super::backend::Backend;
use super::settings::SimulatorSettings;
use super::world::World;

/// Whether and whom the listeners let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doors {
    /// Connections are accepted.
    Open,
    /// The kernel completes connections, nobody answers them.
    Silent,
    /// Nobody listens.
    Shut,
    /// The simulator ends.
    Gone,
}

/// Shared by all tasks of one simulator.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    frozen: watch::Sender<bool>,
    /// The same for the byte streams, which ask on every poll.
    pub(super) frozen_flag: Arc<AtomicBool>,
    pub(super) doors: watch::Sender<Doors>,
    /// Told when settings changed.
    pub(super) switched: Notify,
    /// New connections are silent from their first byte on.
    pub(super) holes_for_newcomers: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: SimulatorSettings, backend: Backend) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self {
            world: Mutex::new(World::new(shared.clone(), settings, backend)),
            frozen: watch::Sender::new(false),
            frozen_flag: Arc::new(AtomicBool::new(false)),
            doors: watch::Sender::new(Doors::Open),
            switched: Notify::new(),
            holes_for_newcomers: AtomicBool::new(false),
        })
    }

    /// The world. Never hold it across an await.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen_flag.load(Ordering::SeqCst)
    }

    /// Stops or lets go on everything that the server does by itself.
    pub(super) fn set_frozen(&self, frozen: bool) {
        self.frozen_flag.store(frozen, Ordering::SeqCst);
        self.frozen.send_replace(frozen);
        {
            let world = self.world();
            world.backend.set_network(&world.settings, frozen);
        }
        if !frozen {
            let breakers: Vec<_> = self
                .world()
                .connections
                .values()
                .map(|connection| connection.outbox.breaker.clone())
                .collect();
            for breaker in breakers {
                breaker.wake();
            }
        }
    }

    /// Resolves when the server is not frozen.
    pub(super) async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        // The sender lives in self, so waiting cannot fail.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    /// Resolves when connections may be accepted; false when the simulator or listener ends.
    pub(super) async fn doors_open(&self) -> bool {
        let mut doors = self.doors.subscribe();
        doors.wait_for(|doors| *doors != Doors::Silent).await.is_ok_and(|doors| *doors == Doors::Open)
    }
}
