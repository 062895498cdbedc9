//! Whether settings that are acceptable one by one fit together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AccessTarget, ClientAuth, Config, ListenSettings, LogTarget, MediaMode, RestoreMode, TlsMin, TlsSuite,
    file::ConfigFile,
    node::{self, DEFAULT_POOL, NamedNode},
    routes,
};

/// Most nodes of all pools together.
const NODES_MAX: usize = 256;
/// Most certificates of `[[listen.certificates]]`.
const CERTIFICATES_MAX: usize = 256;

/// Two settings that contradict each other, told at one of them.
pub(super) struct Conflict {
    pub(super) key: String,
    /// Which entry it is about, from 0, where the key is a list.
    pub(super) nth: usize,
    pub(super) message: String,
}

fn conflict(key: &str, message: impl Into<String>) -> Result<(), Conflict> {
    conflict_in((key, 0), message)
}

pub(super) fn conflict_in((key, nth): (&str, usize), message: impl Into<String>) -> Result<(), Conflict> {
    Err(Conflict { key: key.to_owned(), nth, message: message.into() })
}

/// Refuses what cannot work.
pub(super) fn check(file: &ConfigFile) -> Result<(), Conflict> {
    check_listen(file)?;
    check_upstream(file)?;
    routes::check(file)?;
    check_health(file)?;
    check_bytes(file)?;
    check_log(file)?;
    check_times(file)
}

fn check_log(file: &ConfigFile) -> Result<(), Conflict> {
    let log = &file.log;
    match &log.file {
        None if log.target == LogTarget::File => {
            conflict("log.target", "needs its file: set log.file, such as /var/log/holdfast/holdfast.log")
        }
        Some(path) if file.access.target == AccessTarget::File(path.clone()) => conflict(
            "access.target",
            "is log.file as well: two would write one file (\"log\" puts both into one log)",
        ),
        _ => Ok(()),
    }
}

fn check_listen(file: &ConfigFile) -> Result<(), Conflict> {
    let listen = &file.listen;
    if listen.address.is_empty() {
        return conflict("listen.address", "is empty, expected at least one IP:PORT to listen on");
    }
    for (index, one) in listen.address.iter().enumerate() {
        let earlier = listen.address.iter().take(index);
        if one.address.port() != 0 && earlier.clone().any(|other| other.address == one.address) {
            return conflict("listen.address", format!("{} appears twice", one.address));
        }
    }
    check_tls(listen)?;
    if listen.proxy_protocol && listen.trusted_proxies.is_empty() {
        return conflict(
            "listen.proxy_protocol",
            "needs listen.trusted_proxies: the addresses of the balancers that send its header",
        );
    }
    let lists = [("listen.pass_headers", listen.pass_headers.as_slice())];
    let single = [("listen.client_ip_header", listen.client_ip_header.as_slice())];
    for (key, fields) in lists.into_iter().chain(single) {
        if let Some(field) = fields.iter().find(|field| field.is_reserved()) {
            return conflict(key, format!("{field} is a header that the proxy writes itself"));
        }
    }
    let wss = listen.address.iter().find(|one| one.tls == Some(true));
    if let (Some(wss), false) = (wss, listen.has_certificate()) {
        return conflict(
            "listen.address",
            format!(
                "{wss} needs a certificate: set listen.tls_cert and listen.tls_key (`holdfast \
                 certificate` makes one for development)"
            ),
        );
    }
    Ok(())
}

fn check_tls(listen: &ListenSettings) -> Result<(), Conflict> {
    match (&listen.tls_cert, &listen.tls_key) {
        (Some(_), None) => {
            return conflict(
                "listen.tls_cert",
                "needs its private key: set listen.tls_key (--tls-key FILE) as well",
            );
        }
        (None, Some(_)) => {
            return conflict(
                "listen.tls_key",
                "needs its certificate: set listen.tls_cert (--tls-cert FILE) as well",
            );
        }
        (None, None) if listen.tls_ocsp.is_some() => {
            return conflict("listen.tls_ocsp", "is about listen.tls_cert, which is not set");
        }
        _ => {}
    }
    if listen.certificates.len() > CERTIFICATES_MAX {
        return conflict("listen.certificates", format!("there are more than {CERTIFICATES_MAX}"));
    }
    let mut files = BTreeSet::new();
    files.extend(listen.tls_cert.as_ref());
    for (nth, one) in listen.certificates.iter().enumerate() {
        if !files.insert(&one.cert) {
            let message = format!("{} appears twice", one.cert.display());
            return conflict_in(("listen.certificates", nth), message);
        }
    }
    if listen.tls_min == TlsMin::V13
        && !listen.tls_suites.is_empty()
        && !listen.tls_suites.iter().any(is_tls13)
    {
        return conflict(
            "listen.tls_suites",
            "has none of TLS 1.3, which is all that listen.tls_min = \"1.3\" leaves (their names begin \
             with TLS13_)",
        );
    }
    match (listen.client_auth, &listen.client_ca, &listen.client_crl) {
        (ClientAuth::Optional | ClientAuth::Required, None, _) => conflict(
            "listen.client_auth",
            "needs listen.client_ca: the file with the certificates that sign those of clients",
        ),
        (_, None, Some(_)) => {
            conflict("listen.client_crl", "is about certificates of clients: it needs listen.client_ca")
        }
        _ => Ok(()),
    }
}

fn is_tls13(suite: &TlsSuite) -> bool {
    suite.supported().is_some_and(|suite| suite.tls13().is_some())
}

fn check_health(file: &ConfigFile) -> Result<(), Conflict> {
    for (key, path) in file.health.paths() {
        let is_path =
            path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        if !path.is_empty() && !is_path {
            return conflict(
                key,
                format!("`{path}` is no path, expected one such as /healthz, or \"\" for none"),
            );
        }
    }
    if !file.health.live_path.is_empty() && file.health.live_path == file.health.ready_path {
        return conflict("health.ready_path", "is health.live_path as well: these are two questions");
    }
    Ok(())
}

fn check_upstream(file: &ConfigFile) -> Result<(), Conflict> {
    match (&file.upstream.client_cert, &file.upstream.client_key) {
        (Some(_), None) => {
            return conflict("upstream.client_cert", "needs its private key: set upstream.client_key");
        }
        (None, Some(_)) => {
            return conflict("upstream.client_key", "needs its certificate: set upstream.client_cert");
        }
        _ => {}
    }
    let nodes = node::all(&file.upstream, &file.pool);
    if !nodes.iter().any(|node| node.pool == DEFAULT_POOL) {
        return conflict(
            "upstream.url",
            "is empty, expected at least one ws://HOST:PORT or wss://HOST:PORT (--upstream URL), or a \
             [[upstream.node]]",
        );
    }
    for (pool, settings) in &file.pool {
        let key = format!("pool.{pool}");
        if pool.as_str() == DEFAULT_POOL {
            return conflict(&key, "this pool is [upstream]: its nodes are [[upstream.node]]");
        }
        if settings.node.is_empty() {
            return conflict(&key, format!("has no node, expected at least one [[pool.{pool}.node]]"));
        }
    }
    let upstream = &file.upstream;
    if upstream.eject > upstream.eject_max {
        let most = upstream.eject_max.as_millis();
        let message =
            format!("{} is more than upstream.eject_ms_max, which is {most}", upstream.eject.as_millis());
        return conflict("upstream.eject_ms", message);
    }
    if let Some(place) = nodes.iter().find_map(wrong_path) {
        return conflict_in(place, "health.path is no path, expected one such as /?action=stat");
    }
    if nodes.len() > NODES_MAX {
        return conflict("upstream.url", format!("there are more than {NODES_MAX} nodes"));
    }
    check_unique(&nodes)
}

/// Where a path that a check asks for is none.
fn wrong_path(node: &NamedNode) -> Option<(&str, usize)> {
    let is_path =
        |path: &String| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let is_wrong = node.checks.iter().filter_map(|check| check.path.as_ref()).any(|path| !is_path(path));
    is_wrong.then_some((node.place.0.as_str(), node.place.1))
}

/// No name and no URL twice.
fn check_unique(nodes: &[NamedNode]) -> Result<(), Conflict> {
    let (mut names, mut urls) = (BTreeMap::new(), BTreeSet::new());
    for node in nodes {
        let place = (node.place.0.as_str(), node.place.1);
        let url = node.settings.url.to_string();
        if let Some(earlier) = names.insert(&node.name, &node.pool) {
            let name = &node.name;
            return conflict_in(place, format!("the name {name} appears twice, first in pool {earlier}"));
        }
        if !urls.insert(url.clone()) {
            return conflict_in(place, format!("{url} appears twice"));
        }
    }
    Ok(())
}

fn check_bytes(file: &ConfigFile) -> Result<(), Conflict> {
    let (limits, session) = (&file.limits, &file.session);
    if limits.memory_short_percent > limits.memory_full_percent {
        return conflict(
            "limits.memory_short_percent",
            format!(
                "{} is more than limits.memory_full_percent, which is {}: sessions would be closed \
                 before new ones are refused",
                limits.memory_short_percent, limits.memory_full_percent
            ),
        );
    }
    if session.stream_bytes_max > session.bytes_max {
        return conflict(
            "session.stream_bytes_max",
            format!(
                "{} is more than session.bytes_max, which is {}",
                session.stream_bytes_max, session.bytes_max
            ),
        );
    }
    Ok(())
}

fn check_times(file: &ConfigFile) -> Result<(), Conflict> {
    let restore = &file.restore;
    if restore.backoff_initial > restore.backoff_max {
        return conflict(
            "restore.backoff_initial_ms",
            format!(
                "{} is more than restore.backoff_max_ms, which is {}",
                restore.backoff_initial.as_millis(),
                restore.backoff_max.as_millis()
            ),
        );
    }
    if restore.name_retry > restore.name_in_use_max && !restore.name_in_use_max.is_zero() {
        return conflict(
            "restore.name_retry_ms",
            format!(
                "{} is more than restore.name_in_use_ms_max, which is {}: there would be no retry",
                restore.name_retry.as_millis(),
                restore.name_in_use_max.as_millis()
            ),
        );
    }
    Ok(())
}

/// What is accepted but probably not meant.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    let listen = &config.net.listen;
    let speaks_tls = listen.listeners().any(|(_, tls)| tls);
    if listen.has_certificate() && !speaks_tls {
        warn("listen.tls_cert is set but every listen.address says ws://: nothing uses it");
    }
    match listen.client_auth {
        ClientAuth::Off if listen.client_ca.is_some() => {
            warn(
                "listen.client_ca is set but listen.client_auth is \"off\": nobody is asked for a certificate",
            );
        }
        ClientAuth::Optional | ClientAuth::Required if listen.listeners().any(|(_, tls)| !tls) => {
            warn("listen.client_auth counts for wss alone: a ws:// of listen.address takes anybody");
        }
        _ => {}
    }
    if listen.tls_suites.iter().all(is_tls13)
        && !listen.tls_suites.is_empty()
        && listen.tls_min == TlsMin::V12
    {
        warn("listen.tls_suites has none of TLS 1.2: only TLS 1.3 is spoken");
    }
    let nodes = config.net.nodes();
    let upstream = &config.net.upstream;
    if upstream.ca.is_some() && !upstream.pins.is_empty() {
        warn("upstream.pins is set: upstream.ca is not looked at");
    }
    if config.net.upstream.ca.is_some() && !nodes.iter().any(|node| node.settings.url.is_tls()) {
        warn("upstream.ca is set but every upstream.url says ws://: nothing uses it");
    }
    for pool in config.net.pools.keys() {
        if !config.net.routes.iter().any(|route| route.pool.as_ref() == Some(pool)) {
            warn(&format!("pool {pool} is looked after, but no session goes there: no [[route]] names it"));
        }
    }
    routes::warnings(&config.net.routes).iter().for_each(|text| warn(text));
    if config.log.file.is_some() && config.log.target != LogTarget::File {
        warn("log.file is set but log.target is not \"file\": nothing is written there");
    }
    let session = &config.session;
    let anchors = session.restore.mode == RestoreMode::Anchor
        || session.apps.values().any(|app| app.restore_mode == Some(RestoreMode::Anchor));
    if anchors && config.media.mode == MediaMode::Direct {
        warn(
            "restore mode \"anchor\" needs media.mode = \"anchor\": with \"direct\" it works like \
             \"auto\", which then takes \"resume\" or \"notify\"",
        );
    }
    let keepalive = &session.keepalive;
    let probe_after = keepalive.ping_period * keepalive.probe_missed_pings;
    if !keepalive.upstream_silence.is_zero() && probe_after >= keepalive.upstream_silence {
        warn(
            "keepalive.upstream_silence_ms is not longer than probe_missed_pings x ping_period_ms: \
             a silent upstream is given up before it is probed",
        );
    }
    if !session.restore.connection {
        warn(
            "restore.connection is false: when an upstream is lost its clients are disconnected, \
             nothing is restored",
        );
    }
    warnings.extend(config.server.consequences(&config.session));
    warnings
}
