//! A configuration that is read again: by SIGHUP, `POST /v1/reload`, or because a file of it is another one. All of
//! it is checked before any of it is put in force; what is refused changes nothing. And the command that asks for it.

mod watch;

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use openssl::sha::sha256;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use super::{
    Failure,
    admin::Admin,
    args::{ReloadArgs, SettingsArgs},
    media_reach, told,
};
use crate::{
    activation,
    admin::{Access, Asked, Board, Token},
    config::{Config, NamedNode},
    milliseconds::ms,
    net::{Change, PoolError, Prepared, Proxy, ReloadOutcome, ReloadReport, ReloadTrigger, StartError},
    service_manager, telemetry,
};

pub(super) use watch::Watch;

/// Longest time for reading and checking all of it: a file system may hang.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Tells one configuration from another.
pub(super) fn hash(config: &Config) -> String {
    let digest = sha256(config.to_json().to_string().as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the configuration of a running proxy again, one time after the other.
pub(super) struct Reloader {
    pub(super) args: SettingsArgs,
    /// What is in force.
    pub(super) running: Config,
    pub(super) proxy: Arc<Proxy>,
    pub(super) board: Board,
    /// Its files, as they were before they were read.
    pub(super) watch: Watch,
    /// What was said of it when it was read last.
    pub(super) warnings: Vec<String>,
}

/// A configuration that nothing speaks against.
struct Checked {
    config: Config,
    kept: Vec<String>,
    settings: Vec<String>,
    prepared: Prepared,
    token: Option<Token>,
    warnings: Vec<String>,
}

impl Reloader {
    /// Reloads whenever somebody asks for it.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        self.watch.look_at(&self.files());
        loop {
            let settings = &self.running.reload;
            let interval = settings.watch.then_some(settings.watch_interval);
            let asked = tokio::select! {
                asked = asked.recv() => match asked {
                    Some(asked) => asked,
                    None => return,
                },
                () = self.watch.changed(interval) => Asked { trigger: ReloadTrigger::File, answer: None },
            };
            // What changes from here on is read the next time.
            self.watch.take();
            let report = self.reload(asked.trigger).await;
            self.watch.look_at(&self.files());
            if let Some(answer) = asked.answer {
                // Whoever asked may be gone.
                let _ = answer.send(report);
            }
        }
    }

    /// The files that are looked at, if they are.
    fn files(&self) -> Vec<PathBuf> {
        let (listen, upstream) = (&self.running.net.listen, &self.running.net.upstream);
        let file = self.args.file();
        let named = [
            &file,
            &listen.tls_cert,
            &listen.tls_key,
            &upstream.ca,
            &upstream.client_cert,
            &upstream.client_key,
            &self.running.admin.token_file,
        ];
        named.into_iter().flatten().cloned().collect()
    }

    async fn reload(&mut self, trigger: ReloadTrigger) -> ReloadReport {
        let begun = Instant::now();
        service_manager::reloading();
        let (args, running) = (self.args.clone(), self.running.clone());
        let proxy = Arc::clone(&self.proxy);
        let checked = spawn_blocking(move || check(&args, &running, &proxy));
        let report = match timeout(TIME_MAX, checked).await {
            Ok(Ok(Ok(checked))) => self.put_in_force(trigger, checked),
            Ok(Ok(Err(why))) => ReloadReport::refused(trigger, why),
            Ok(Err(error)) => ReloadReport::refused(trigger, format!("it could not be checked: {error}")),
            Err(_) => {
                let why = format!("it could not be read and checked within {} s", TIME_MAX.as_secs());
                ReloadReport::refused(trigger, why)
            }
        };
        service_manager::ready();
        self.proxy.note_reload(ReloadReport { took_ms: ms(begun.elapsed()), ..report })
    }

    /// Nothing of it can fail.
    fn put_in_force(&mut self, trigger: ReloadTrigger, checked: Checked) -> ReloadReport {
        let Checked { config, mut kept, settings, prepared, token, warnings } = checked;
        let mut changes = self.proxy.put_in_force(prepared);
        if config.log.level != self.running.log.level {
            if telemetry::set_level(config.log.level) {
                let level = format!("{:?}", config.log.level).to_lowercase();
                changes.push(Change::of("log level", &level, "changed"));
            } else {
                kept.push(format!("log.level ({} goes before it)", telemetry::FILTER_VARIABLE));
            }
        }
        telemetry::set_anonymise_addresses(config.log.anonymise_addresses);
        let access = Access::new(token.clone());
        self.board.change(|setup| {
            if !setup.access.takes(token.as_ref()) {
                changes.push(Change::of("token", "admin.token_file", "changed"));
            }
            setup.access = access;
            setup.settings = config.admin.clone();
            setup.health = config.net.health.clone();
            setup.config = config.to_json();
            setup.weaker = config.server.consequences(&config.session);
        });
        changes.extend(settings.iter().map(|key| Change::of("setting", key, "changed")));
        // What was said when it was read last need not be said again.
        let news = warnings.iter().filter(|warning| !self.warnings.contains(warning));
        news.for_each(|warning| tracing::warn!("{warning}"));
        let config_hash = hash(&config);
        self.running = config;
        self.warnings.clone_from(&warnings);
        ReloadReport { config_hash, warnings, ..ReloadReport::accepted(trigger, changes, kept) }
    }
}

/// Reads it and does all that can fail.
fn check(args: &SettingsArgs, running: &Config, proxy: &Proxy) -> Result<Checked, String> {
    let mut wanted = args.load().map_err(|error| error.to_string())?;
    activation::adapt(&mut wanted);
    let difference = running.difference(&wanted);
    let config = wanted.where_this_runs(running);
    let place = |key: &str, nth| Config::place_of(args.file().as_deref(), &args.overrides(), (key, nth));
    let token = Token::find(config.admin.token_file.as_deref(), Token::variable())
        .map_err(|error| format!("{}: admin.token_file: {error}", place("admin.token_file", 0)))?;
    if config.admin.listen.0.is_some_and(|address| !address.ip().is_loopback()) && token.is_none() {
        return Err(format!(
            "{}: admin.token_file: there is no token, and admin.listen can be reached from elsewhere",
            place("admin.token_file", 0)
        ));
    }
    let prepared =
        proxy.prepare(config.net.clone(), config.session.clone()).map_err(|error| {
            match key_of(&error, &config) {
                Some((key, nth)) => format!("{}: {key}: {error}", place(&key, nth)),
                None => error.to_string(),
            }
        })?;
    // What stands for objects is told of these.
    let of_objects =
        ["listen.address", "upstream.url", "upstream.node", "pool.", "log.level", "admin.token_file"];
    let is_setting = |key: &&String| !of_objects.iter().any(|object| key.starts_with(object));
    let settings = difference.live.iter().filter(is_setting).cloned().collect();
    let warnings = wanted.warnings().into_iter().chain(media_reach::warning(&wanted)).collect();
    Ok(Checked { config, kept: difference.kept, settings, prepared, token, warnings })
}

/// The setting that an error is about.
fn key_of(error: &StartError, config: &Config) -> Option<(String, usize)> {
    let (listen, upstream) = (&config.net.listen, &config.net.upstream);
    let of_file = |path: &Path| {
        let files = [
            ("listen.tls_cert", &listen.tls_cert),
            ("listen.tls_key", &listen.tls_key),
            ("upstream.ca", &upstream.ca),
            ("upstream.client_cert", &upstream.client_cert),
            ("upstream.client_key", &upstream.client_key),
        ];
        files.iter().find(|(_, file)| file.as_deref() == Some(path)).map(|(key, _)| ((*key).to_owned(), 0))
    };
    match error {
        StartError::Listen { address, .. } => {
            let nth = listen.address.iter().position(|one| one.address == *address)?;
            Some(("listen.address".to_owned(), nth))
        }
        StartError::Tls { path, .. } | StartError::Unreadable { path, .. } => of_file(path),
        StartError::NoCertificate => Some(("listen.address".to_owned(), 0)),
        StartError::Upstream(PoolError::Name { host, .. }) => {
            let is_it = |node: &NamedNode| node.settings.url.host() == host;
            let nodes = config.net.nodes();
            let (key, nth) = nodes.iter().find(|node| is_it(node))?.place();
            Some((key.to_owned(), nth))
        }
        _ => None,
    }
}

/// `holdfast reload`.
pub(super) fn command(args: &ReloadArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(async {
        let mut admin = Admin::new(&args.admin)?;
        let answer = admin.post("/v1/reload", &json!({})).await?;
        if args.json {
            told(writeln!(out, "{answer}"));
        }
        let Ok(report) = serde_json::from_value::<ReloadReport>(answer.clone()) else {
            return Err(Failure::Unavailable("the answer is no report of this version".to_owned()));
        };
        if let Some(pending) = answer.get("pending").and_then(Value::as_str) {
            return Err(Failure::Unavailable(format!("the proxy still reads it: {pending}")));
        }
        if report.result == ReloadOutcome::Refused {
            return Err(Failure::NotReloaded(clean(&report.to_string())));
        }
        if !args.json {
            told(writeln!(out, "{}", words(&report)));
        }
        Ok(())
    })
}

fn words(report: &ReloadReport) -> String {
    let mut text = clean(&report.summary);
    let objects = report.changes.iter().filter(|change| !matches!(&*change.object, "certificate" | "token"));
    for change in objects {
        text.push_str(&format!(
            "\n  {} {} {}",
            clean(&change.object),
            clean(&change.name),
            clean(&change.change)
        ));
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nwarning: {}", clean(warning)));
    }
    text
}

/// Without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
