//! `holdfast simulate`: a stand-in for Web Call Server, faithful to the protocol reference (S12),
//! with switches for what is not known of the real one, faults on order, and a strict eye on what
//! clients do. It is a tool for tests and trials and must not be used by the proxy itself.

mod backend;
mod byte_stream;
mod choice;
mod connection;
mod control;
mod counters;
mod dispatch;
pub(crate) mod durations;
mod fake;
mod faults;
mod handshake;
mod health;
pub mod media;
mod media_socket;
mod record;
mod refusal;
mod requests;
mod rooms;
mod server;
mod session;
mod settings;
mod shared;
mod sip;
mod state;
mod streams;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub use byte_stream::Cut;
pub use choice::{ConnectionChoice, StreamChoice};
pub use control::{ControlError, ControlPort};
pub use counters::{JournalEntry, Violation, ViolationKind};
pub use faults::{Fault, FaultError, Newcomers};
pub use media::{AnswerShape, VideoCodec};
pub use settings::{
    CallOutcome, ConnectRefusal, DataSettings, EmptyData, HandshakeSettings, MediaMode, MediaServerSettings,
    PingSettings, ResumeMode, SessionSettings, SimulatorLimits, SimulatorSettings, SimulatorTls, SipSettings,
    SnapshotMode, StreamRefusal, StreamSettings, StreamVerb, VersionOrder,
};

use backend::Backend;
use server::Service;
use shared::{Doors, Shared};

/// A listener, or an error that names its address.
fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    server::bind(address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

/// A running simulated server.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    control_address: Option<SocketAddr>,
    stat_address: Option<SocketAddr>,
    agent_address: Option<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Binds all addresses and begins to serve. Needs a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound, a certificate cannot be read, or media cannot start.
    pub async fn start(settings: SimulatorSettings) -> io::Result<Self> {
        let backend = Backend::start(&settings)?;
        let (listen, tls, control) = (settings.listen.clone(), settings.tls.clone(), settings.control);
        let (stat, agent) = (settings.stat, settings.agent);
        let shared = Shared::new(settings, backend);
        let mut simulator = Self {
            shared: shared.clone(),
            addresses: Vec::new(),
            tls_addresses: Vec::new(),
            control_address: None,
            stat_address: None,
            agent_address: None,
            listeners: Vec::new(),
            control: None,
        };
        for address in listen {
            let local = simulator.serve(address, Service::Clients(None))?;
            simulator.addresses.push(local);
        }
        if let Some(tls) = tls {
            let acceptor = server::tls_acceptor(&tls)?;
            for address in tls.listen {
                let local = simulator.serve(address, Service::Clients(Some(acceptor.clone())))?;
                simulator.tls_addresses.push(local);
            }
        }
        simulator.stat_address = stat.map(|address| simulator.serve(address, Service::Stat)).transpose()?;
        simulator.agent_address =
            agent.map(|address| simulator.serve(address, Service::Agent)).transpose()?;
        if let Some(address) = control {
            let listener = bound(address)?;
            simulator.control_address = Some(listener.local_addr()?);
            simulator.control = Some(tokio::spawn(control::run(shared, listener)));
        }
        Ok(simulator)
    }

    /// Binds an address and serves it for as long as the simulator lives.
    fn serve(&mut self, address: SocketAddr, service: Service) -> io::Result<SocketAddr> {
        let listener = bound(address)?;
        let local = listener.local_addr()?;
        self.listeners.push(tokio::spawn(server::run(self.shared.clone(), listener, local, service)));
        Ok(local)
    }

    /// The first plain address, or the first TLS one when there is no plain one; port 0 of an
    /// unspecified address when it listens nowhere.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let first = self.addresses.iter().chain(&self.tls_addresses).next();
        first.copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// All plain addresses.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// All TLS addresses.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// The address of the control port, if there is one.
    #[must_use]
    pub const fn control_address(&self) -> Option<SocketAddr> {
        self.control_address
    }

    /// The address of the page of figures, if there is one.
    #[must_use]
    pub const fn stat_address(&self) -> Option<SocketAddr> {
        self.stat_address
    }

    /// The address of the agent, if there is one.
    #[must_use]
    pub const fn agent_address(&self) -> Option<SocketAddr> {
        self.agent_address
    }

    /// Everything known, as on `GET /state` of the control port.
    #[must_use]
    pub fn state(&self) -> Value {
        self.shared.state()
    }

    /// The counters alone, as on `GET /summary`: cheap with thousands of sessions.
    #[must_use]
    pub fn summary(&self) -> Value {
        self.shared.summary()
    }

    /// What clients did wrong, the first ones in full.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.world().violations.list.clone()
    }

    /// The last events, oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.shared.world().journal.entries.iter().cloned().collect()
    }

    /// Changes settings, as `POST /switch` does.
    ///
    /// # Errors
    /// When a key is unknown or a value has the wrong form.
    pub fn switch(&self, changes: &Value) -> Result<(), serde_json::Error> {
        self.shared.switch(changes)
    }

    /// Commits a fault, as `POST /fault` does; the answer says what it did.
    ///
    /// # Errors
    /// When the fault names something that does not exist.
    pub fn fault(&self, fault: Fault) -> Result<Value, FaultError> {
        self.shared.fault(fault)
    }

    /// Ends the simulator as if its process was killed: clients see their connections end without
    /// a close frame. The addresses are free when this returns.
    pub async fn shutdown(mut self) {
        self.stop();
        for listener in std::mem::take(&mut self.listeners) {
            // An error means that the task was cancelled with its runtime.
            let _ = listener.await;
        }
        if let Some(control) = self.control.take() {
            let _ = control.await;
        }
    }

    fn stop(&self) {
        self.shared.set_frozen(false);
        self.shared.doors.send_replace(Doors::Gone);
        if let Some(control) = &self.control {
            control.abort();
        }
        self.shared.cut_all(Cut::Fin);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}
