//! New settings for a proxy that runs: all that can fail is prepared first and changes nothing, then all of it is
//! put in force at once and cannot fail. No session is closed by it, and none is lost.
//!
//! Reads no configuration: that is for whoever asks for it.

mod report;

use std::sync::{Arc, atomic::Ordering};

use crate::{
    config::{NetSettings, SessionSettings},
    ids::NodeId,
    limits::Division,
    telemetry::events,
    upstream::{NodeChanges, Planned},
};

pub(crate) use report::Reloads;
pub use report::{Change, ReloadOutcome, ReloadReport, ReloadTrigger};

use super::{
    Proxy, StartError,
    certificates::{self, CertificateChanges},
    listeners::{ListenerChanges, PlannedListeners},
    proxy::{HANDSHAKES_MAX_LEAST, divide_files},
    route::Routes,
    shared::Shared,
    tls::ClientTls,
};

/// Settings that nothing speaks against any more. Dropped, they change nothing.
#[derive(Debug)]
pub struct Prepared {
    net: NetSettings,
    session: SessionSettings,
    division: Division,
    nodes: Planned,
    client_tls: ClientTls,
    certificates: certificates::Prepared,
    routes: Routes,
    listeners: PlannedListeners,
}

impl Proxy {
    /// Does all of it that can fail: reads certificates, binds ports, looks at nodes. One at a time.
    ///
    /// # Errors
    /// As [`Proxy::start`]; nothing has changed then.
    pub fn prepare(&self, mut net: NetSettings, session: SessionSettings) -> Result<Prepared, StartError> {
        let shared = self.shared();
        if shared.leaving.closed.is_cancelled() {
            return Err(StartError::Stopping);
        }
        let division = divide_files(&net, shared.media.is_some());
        net.limits.sessions_max.get_or_insert_with(|| division.sessions());
        let client_tls = ClientTls::new(&net.upstream, Some(&*shared.client_tls.lock()))?;
        let is_same_tls = Arc::ptr_eq(&client_tls.config, &shared.client_tls.lock().config);
        let settings = shared.settings.load();
        let before = is_same_tls.then_some(&settings.upstream);
        let nodes = Planned::new(&net, (&client_tls.config, &shared.files), before)?;
        shared.pool.check_room(&nodes)?;
        let certificates = shared.certificates.prepare(&net.listen)?;
        let routes = Routes::new(&net, (&shared.files, division), Some(&shared.routes.load()))?;
        let listeners = shared.listeners.plan(net.listen.listeners(), net.listen.reuse_port)?;
        Ok(Prepared { net, session, division, nodes, client_tls, certificates, routes, listeners })
    }

    /// Puts it in force. What changed, object by object.
    pub fn put_in_force(&self, prepared: Prepared) -> Vec<Change> {
        let shared = self.shared();
        let Prepared { net, session, division, nodes, client_tls, certificates, routes, listeners } =
            prepared;
        let mut changes = Vec::new();
        // A session that begins meanwhile finds each of these as it was or as it is, and either will do.
        *shared.client_tls.lock() = client_tls;
        changes.extend(of_certificates(&shared.certificates.install(certificates)));
        shared.routes.store(Arc::new(routes));
        limit(shared, &net, division);
        if **shared.session_settings.load() != session {
            shared.session_settings.store(Arc::new(session));
        }
        if **shared.settings.load() != net {
            shared.settings.store(Arc::new(net));
        }
        let of_nodes = shared.pool.take_in(nodes);
        changes.extend(of_listeners(&shared.listeners.take_in(shared, listeners)));
        changes.extend(tell_of_nodes(shared, of_nodes));
        changes
    }
}

impl Proxy {
    /// One reading of the configuration is over: counted, told in the log, and shown from now on.
    pub fn note_reload(&self, report: ReloadReport) -> ReloadReport {
        let report = self.shared().reloads.note(report);
        let trigger = report.trigger.as_str();
        match &report.error {
            Some(error) => events::reload_refused(trigger, error),
            None => events::reloaded(trigger, &report.summary, report.generation, report.took_ms),
        }
        report
    }

    /// The last of these, if there was one.
    #[must_use]
    pub fn last_reload(&self) -> Option<ReloadReport> {
        self.shared().reloads.last()
    }

    /// How many there were.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.shared().reloads.last_id()
    }

    /// The configuration that it began with is told from others by this.
    pub fn set_config_hash(&self, hash: String) {
        self.shared().reloads.begin(hash);
    }

    /// How many configurations have been in force, and what tells this one from others.
    #[must_use]
    pub fn configuration(&self) -> (u64, String) {
        self.shared().reloads.configuration()
    }
}

/// What TLS listeners speak with from now on.
fn of_certificates(changes: &CertificateChanges) -> Vec<Change> {
    let lists = [
        (&changes.added, "added"),
        (&changes.renewed, "renewed"),
        (&changes.changed, "changed"),
        (&changes.removed, "removed"),
    ];
    let of = |(files, what): (&Vec<String>, &'static str)| {
        files.iter().map(|file| Change::of("certificate", file, what)).collect::<Vec<_>>()
    };
    let others = [(changes.clients, "of clients"), (changes.terms, "of listeners")];
    let others = others.into_iter().filter(|(is_other, _)| *is_other);
    let others = others.map(|(_, which)| Change::of("tls", which, "changed"));
    lists.into_iter().flat_map(of).chain(others).collect()
}

/// The limits of the process. Whoever is there stays, however many they are.
fn limit(shared: &Shared, net: &NetSettings, division: Division) {
    shared.files.divide(division);
    let places = net.limits.sessions_max.unwrap_or_else(|| division.sessions());
    shared.live.set_places(places);
    let handshakes_max = places.max(HANDSHAKES_MAX_LEAST);
    shared.handshakes_max.store(handshakes_max, Ordering::Relaxed);
    let before = shared.limits.load_full();
    let connections_max = division.sessions().min(handshakes_max) / 2;
    let http = &shared.settings.load().http;
    shared.addresses.change(Some((&before, http)), (&net.limits, &net.http), connections_max);
    if *before != net.limits {
        shared.limits.store(Arc::new(net.limits.clone()));
    }
}

fn of_listeners(changes: &ListenerChanges) -> Vec<Change> {
    let lists = [(&changes.opened, "opened"), (&changes.closed, "closed"), (&changes.switched, "switched")];
    let of = |(list, what): (&Vec<std::net::SocketAddr>, &'static str)| {
        let named = list.iter().map(|address| Change::of("listener", &address.to_string(), what));
        named.collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(of).collect()
}

/// Those that are to be left and have nobody are gone at once; of the others sessions begin to leave.
fn tell_of_nodes(shared: &Arc<Shared>, changes: NodeChanges) -> Vec<Change> {
    let names: Vec<_> = changes.removed.iter().map(|node| (*node, shared.pool.node_name(*node))).collect();
    let gone = let_go(shared);
    shared.movers.follow(shared);
    let what = |node| if gone.iter().any(|(gone, _)| *gone == node) { "removed" } else { "drained" };
    let removed = names.iter().map(|(node, name)| Change::of("node", name, what(*node)));
    let lists = [(changes.added, "added"), (changes.changed, "changed"), (changes.returned, "returned")];
    let others =
        lists.iter().flat_map(|(names, what)| names.iter().map(|name| Change::of("node", name, what)));
    others.chain(removed).collect()
}

/// Forgets nodes that are no longer in the configuration and that nobody is on any more.
pub(crate) fn let_go(shared: &Shared) -> Vec<(NodeId, String)> {
    let gone = shared.pool.let_go(|node| shared.live.on_node(node) == 0);
    for (node, name) in &gone {
        shared.outages.forget(*node);
        events::node_gone(name);
    }
    gone
}
