//! `holdfast check`: whether a configuration would work, without starting anything.

mod certificate;
mod connect;
mod files;
mod kernel;
mod ports;
mod report;
mod wss;

use std::{
    io::Write,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::{Failure, args::CheckArgs, install_crypto_provider, media_reach, told};
use crate::{
    admin::Token,
    config::{AccessTarget, Config, DEFAULT_POOL, LogTarget, NamedNode},
    limits,
    net::tls,
    telemetry,
};

use files::User;
use kernel::Kernel;
use report::Report;

/// The user that the package makes and the unit names.
const SERVICE_USER: &str = "holdfast";
/// How long a proxy that runs may take to say where it listens.
const ADMIN_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> Result<(), Failure> {
    install_crypto_provider();
    let kernel = Kernel::of_this_machine();
    let config = match args.settings.load().map_err(Failure::from) {
        Ok(config) => config,
        Err(failure) => {
            if args.json {
                report::refuse(&failure, out);
            }
            return Err(failure);
        }
    };
    if args.print_settings && !args.json {
        print_settings(&config, out);
    }
    let mut report = Report::new(out, args.json);
    let listeners = report.listeners(&config);
    report.collect(listeners);
    report.ports(&config);
    let trust = report.trust(&config);
    report.collect(trust);
    report.limits(&config);
    for (nth, route) in config.net.routes.iter().enumerate() {
        report.say("route", format!("{}: {route}", route.label(nth)));
    }
    report.kernel(&kernel, &config);
    let files = report.files(&config, args);
    report.collect(files);
    let log = report.log(&config);
    report.collect(log);
    report.say("restore", config.session.restore.mode);
    for (app, settings) in &config.session.apps {
        if let Some(mode) = settings.restore_mode {
            report.say("restore", format!("{mode} for appKey {app:?}"));
        }
    }
    report.say("media", config.media.mode);
    for node in config.net.nodes() {
        let addresses = report.resolve(&node);
        if args.connect && !addresses.is_empty() {
            let connected = report.connect(&node, &config);
            report.collect(connected);
        }
    }
    for warning in config.warnings().into_iter().chain(media_reach::warning(&config)) {
        report.say("warning", warning);
    }
    report.end()
}

impl<W: Write> Report<'_, W> {
    fn ports(&mut self, config: &Config) {
        for finding in ports::look_at(config) {
            if finding.is_fatal {
                self.say("taken", &finding.text);
                self.unavailable.push(finding.text);
            } else {
                self.say("note", finding.text);
            }
        }
    }

    /// True if clients would refuse what is in the file.
    fn certificate(&mut self, path: &Path) -> bool {
        let findings = certificate::look_at(path);
        for odd in findings.odd {
            self.say("warning", odd);
        }
        let is_wrong = !findings.wrong.is_empty();
        if let Some(until) = findings.until.filter(|_| !is_wrong) {
            self.say("tls", format!("{} is valid until {until}", path.display()));
        }
        for wrong in findings.wrong {
            self.say("wrong", &wrong);
            self.wrong.push(wrong);
        }
        is_wrong
    }

    fn trust(&mut self, config: &Config) -> Result<(), Failure> {
        if let Some(certificate) = &config.net.upstream.client_cert {
            tls::client(&config.net.upstream)?;
            self.say(
                "trust",
                format!("{} for wss upstreams that ask for one, key matches", certificate.display()),
            );
        }
        if let Some(ca) = &config.net.upstream.ca {
            let count = certificates(tls::roots(ca)?.len());
            self.say("trust", format!("{} ({count}) for wss upstreams", ca.display()));
            // A root is trusted whatever its dates and version say; a leaf in its place is not.
            let findings = certificate::look_at(ca);
            for odd in findings.wrong.into_iter().chain(findings.odd) {
                self.say("warning", odd);
            }
        }
        Ok(())
    }

    fn limits(&mut self, config: &Config) {
        let open_files = limits::raise_open_files();
        let fitting = crate::net::sessions_that_fit(config);
        match config.net.limits.sessions_max {
            None => self.say("sessions", format!("at most {fitting} ({open_files} open files)")),
            Some(max) if max <= fitting => self.say("sessions", format!("at most {max}")),
            Some(max) => {
                self.say("sessions", format!("at most {max}"));
                self.say(
                    "warning",
                    format!(
                        "limits.sessions_max is {max}, but {open_files} open files are enough for \
                         {fitting} only: raise the limit (ulimit -n, LimitNOFILE=) or lower the setting"
                    ),
                );
            }
        }
    }

    fn resolve(&mut self, node: &NamedNode) -> Vec<SocketAddr> {
        let url = &node.settings.url;
        match (url.host(), url.port()).to_socket_addrs() {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.collect();
                let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                self.say("upstream", format!("{url} at {list}{}", about(node)));
                addresses
            }
            Err(error) => {
                self.say("upstream", format!("{url}: unknown host{}", about(node)));
                self.unavailable.push(format!("{url}: the host cannot be resolved: {error}"));
                Vec::new()
            }
        }
    }

    fn connect(&mut self, node: &NamedNode, config: &Config) -> Result<(), Failure> {
        let url = &node.settings.url;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Internal(format!("cannot start the runtime: {error}")))?;
        let upstream = &config.net.upstream;
        let client = tls::client(upstream)?;
        let name = upstream.server_name.as_deref().unwrap_or(url.host());
        match runtime.block_on(connect::handshake(
            url,
            (client, name),
            node.send_proxy,
            upstream.dial_timeout,
        )) {
            Ok(took) => {
                self.say("upstream", format!("{url} answers, {} ms", took.as_millis()));
            }
            Err(why) => {
                self.say("upstream", format!("{url}: {why}"));
                self.unavailable.push(format!("{url}: {why}"));
            }
        }
        Ok(())
    }

    fn kernel(&mut self, kernel: &Kernel, config: &Config) {
        for limit in kernel.limits(config) {
            match limit.set {
                Some(set) => self.advise("kernel", limit.text, set),
                None => self.say("kernel", limit.text),
            }
        }
    }

    /// Where lines would go.
    fn log(&mut self, config: &Config) -> Result<(), Failure> {
        let log = &config.log;
        let target = match (log.target, &log.file) {
            (LogTarget::File, Some(path)) => path.display().to_string(),
            (LogTarget::Journald, _) => format!("the journal at {}", log.journald_socket.display()),
            _ => "stderr".to_owned(),
        };
        self.say("log", target);
        if config.access.target != AccessTarget::Off {
            self.say("log", format!("of sessions that ended: {}", config.access.target));
        }
        Ok(telemetry::try_targets(log, &config.access)?)
    }

    /// Files that nothing above has read; and all of them for the user of the service.
    fn files(&mut self, config: &Config, args: &CheckArgs) -> Result<(), Failure> {
        let token_file = config.admin.token_file.as_deref();
        let token = Token::find(token_file, Token::variable());
        if let Some(warning) = token_file.and_then(Token::open_to_all) {
            self.say("warning", warning);
        }
        let mut files = files::named(&config.to_json());
        files.extend(args.settings.file().map(|path| ("--config".to_owned(), path)));
        let user = match &args.user {
            Some(name) => Some(User::find(name).ok_or_else(|| {
                Failure::Usage(format!("--user: there is no user {name} in /etc/passwd on this machine"))
            })?),
            // Root reads everything, and is seldom who runs it.
            None if rustix::process::geteuid().is_root() => User::find(SERVICE_USER),
            None => None,
        };
        if let Some(user) = user {
            let closed = files::closed_to(&user, &files);
            if closed.is_empty() {
                self.say(
                    "files",
                    format!("the user {} can read the {} that are named", user.name, files.len()),
                );
            } else if args.user.is_some() {
                closed.iter().for_each(|text| self.say("wrong", text));
                return Err(Failure::Unreadable(closed.join("\n")));
            }
            closed.into_iter().for_each(|text| self.say("warning", text));
        }
        token.map(drop).map_err(|error| Failure::Unreadable(error.to_string()))
    }
}

/// What is said of a node beside its address.
fn about(node: &NamedNode) -> String {
    let settings = &node.settings;
    let mut text = settings.name.as_ref().map_or_else(String::new, |name| format!(", node {name}"));
    if node.pool != DEFAULT_POOL {
        text.push_str(&format!(", pool {}", node.pool));
    }
    if settings.weight != 1 {
        text.push_str(&format!(", weight {}", settings.weight));
    }
    if settings.backup {
        text.push_str(", backup");
    }
    text
}

fn certificates(count: usize) -> String {
    if count == 1 { "1 certificate".to_owned() } else { format!("{count} certificates") }
}

fn print_settings(config: &Config, out: &mut impl Write) {
    let Value::Object(sections) = config.to_json() else { return };
    for (section, content) in &sections {
        let tables = match content {
            Value::Array(tables) => tables.as_slice(),
            table => std::slice::from_ref(table),
        };
        for (name, value) in tables.iter().filter_map(Value::as_object).flatten() {
            if !value.is_null() {
                told(writeln!(out, "{section}.{name} = {value}"));
            }
        }
    }
    told(writeln!(out));
}
