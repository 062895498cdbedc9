//! `holdfast check`: whether a configuration would work, without starting anything.

mod certificate;
mod connect;
mod ports;

use std::{
    fmt::Display,
    io::Write,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::{Failure, args::CheckArgs, install_crypto_provider, media_reach, told};
use crate::{
    config::{ClientAuth, Config, DEFAULT_POOL, ListenSettings, NamedNode, ServerPattern, UpstreamUrl},
    limits,
    net::{certificates::Certificates, tls},
};

/// How long a proxy that runs may take to say where it listens.
const ADMIN_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> Result<(), Failure> {
    install_crypto_provider();
    let config = args.settings.load()?;
    if args.print_settings {
        print_settings(&config, out);
    }
    let mut report = Report { out, wrong: Vec::new(), unavailable: Vec::new() };
    report.listeners(&config)?;
    report.ports(&config);
    report.trust(&config)?;
    report.limits(&config);
    for (nth, route) in config.net.routes.iter().enumerate() {
        report.say("route", format!("{}: {route}", route.label(nth)));
    }
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
            report.connect(&node.settings.url, &config)?;
        }
    }
    for warning in config.warnings().into_iter().chain(media_reach::warning(&config)) {
        report.say("warning", warning);
    }
    report.end()
}

struct Report<'a, W> {
    out: &'a mut W,
    /// What clients or servers would refuse, one sentence each.
    wrong: Vec<String>,
    /// What does not answer or is taken, one sentence each.
    unavailable: Vec<String>,
}

impl<W: Write> Report<'_, W> {
    fn say(&mut self, what: &str, text: impl Display) {
        told(writeln!(self.out, "{what:<9} {text}"));
    }

    fn listeners(&mut self, config: &Config) -> Result<(), Failure> {
        let listen = &config.net.listen;
        let mut is_wrong = false;
        for one in listen.all_certificates() {
            is_wrong |= self.certificate(&one.cert);
        }
        if is_wrong {
            // Whether their keys fit is another question, and TLS has no answer for such ones.
            return Err(self.refused());
        }
        self.shown(listen)?;
        for (address, tls) in listen.listeners() {
            let scheme = if tls { "wss" } else { "ws" };
            self.say("listen", format!("{scheme}://{address}"));
        }
        Ok(())
    }

    /// What clients of wss are shown, and have to show.
    fn shown(&mut self, listen: &ListenSettings) -> Result<(), Failure> {
        let certificates = Certificates::new(listen)?;
        for (one, _) in certificates.identities() {
            let (file, count) = (one.file().display(), self::certificates(one.chain_length()));
            self.say("tls", format!("{file} ({count}), key matches{}", named(one.names())));
            match one.staple().zip(one.staple_file()) {
                Some((Ok(_), ocsp)) => self.say("tls", format!("{} goes with it", ocsp.display())),
                Some((Err(why), ocsp)) => {
                    self.say(
                        "warning",
                        format!("{}: this OCSP answer {why}: it is not shown", ocsp.display()),
                    );
                }
                None => {}
            }
            for strange in one.names().iter().filter(|name| !one.has_name(name)) {
                self.say(
                    "warning",
                    format!("{file} is shown for {strange}, which is not in it: clients refuse it"),
                );
            }
        }
        if let Some((count, ca)) = certificates.client_roots().zip(listen.client_ca.as_ref()) {
            let count = self::certificates(count);
            let have = if listen.client_auth == ClientAuth::Required { "have to" } else { "may" };
            self.say("clients", format!("{have} show a certificate signed by {} ({count})", ca.display()));
        }
        Ok(())
    }

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
        for wrong in findings.wrong {
            self.say("wrong", &wrong);
            self.wrong.push(wrong);
        }
        is_wrong
    }

    fn refused(&mut self) -> Failure {
        Failure::Usage(std::mem::take(&mut self.wrong).join("\n"))
    }

    fn trust(&mut self, config: &Config) -> Result<(), Failure> {
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

    fn connect(&mut self, url: &UpstreamUrl, config: &Config) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Internal(format!("cannot start the runtime: {error}")))?;
        let upstream = &config.net.upstream;
        let client = tls::client(upstream)?;
        let name = upstream.server_name.as_deref().unwrap_or(url.host());
        match runtime.block_on(connect::handshake(url, (client, name), upstream.dial_timeout)) {
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

    fn end(mut self) -> Result<(), Failure> {
        if self.unavailable.is_empty() {
            self.say("ok", "the configuration is right");
            return Ok(());
        }
        Err(Failure::Unavailable(format!(
            "{}\nThe configuration itself is right. Does the server run, is its address right, are the ports free?",
            self.unavailable.join("\n")
        )))
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

/// The first names of a certificate.
fn named(names: &[ServerPattern]) -> String {
    const TOLD_MAX: usize = 4;
    let told = names.iter().take(TOLD_MAX).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD_MAX) {
        _ if names.is_empty() => String::new(),
        0 => format!(", for {told}"),
        more => format!(", for {told} and {more} more"),
    }
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
