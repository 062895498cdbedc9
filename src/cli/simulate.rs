//! `holdfast simulate`: the stand-in for a Web Call Server, as a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::{Failure, args::SimulateArgs, signals::Signals, told};
use crate::{
    config::LogSettings,
    probe::{HEAD_BYTES_MAX, switches},
    simulator::{Simulator, SimulatorSettings},
    telemetry,
};

pub(super) fn run(args: &SimulateArgs, out: &mut impl Write) -> Result<(), Failure> {
    let settings = settings(args)?;
    telemetry::init(&LogSettings {
        format: args.log_format.unwrap_or_default(),
        level: args.log_level.unwrap_or_default(),
        ..LogSettings::default()
    })?;
    super::install_crypto_provider();
    super::on_runtime(serve(settings, out))
}

async fn serve(settings: SimulatorSettings, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let simulator = Simulator::start(settings).await.map_err(|error| {
        Failure::Unavailable(format!(
            "the simulated server does not start: {error}\nIs another one running? Choose other ports with \
             --listen and --control."
        ))
    })?;
    for address in simulator.addresses() {
        told(writeln!(out, "ws://{address}"));
    }
    for address in simulator.tls_addresses() {
        told(writeln!(out, "wss://{address}"));
    }
    if let Some(address) = simulator.control_address() {
        told(writeln!(out, "control http://{address}"));
    }
    if let Some(address) = simulator.stat_address() {
        told(writeln!(out, "stat http://{address}/?action=stat"));
    }
    if let Some(address) = simulator.agent_address() {
        told(writeln!(out, "agent {address}"));
    }
    told(out.flush());
    signals.next().await;
    // Like a server that is killed: clients see the end of their connections, no close frame.
    simulator.shutdown().await;
    Ok(())
}

/// Defaults, then what a probe saw, then the file, then flags, then `--set` in their order.
fn settings(args: &SimulateArgs) -> Result<SimulatorSettings, Failure> {
    let defaults = json!({
        "listen": ["127.0.0.1:18080"],
        "control": "127.0.0.1:18081",
        "media": "real",
    });
    let mut settings = with(SimulatorSettings::default(), &defaults, "default")?;
    if let Some(path) = &args.like {
        settings = with(settings, &like(path)?, &path.display().to_string())?;
    }
    if let Some(path) = &args.config {
        settings = with(settings, &file(path)?, &path.display().to_string())?;
    }
    if !args.listen.is_empty() {
        settings.listen.clone_from(&args.listen);
    }
    if let Some(address) = args.control {
        settings.control = Some(address);
    }
    if let Some(address) = args.stat {
        settings.stat = Some(address);
    }
    if let Some(address) = args.agent {
        settings.agent = Some(address);
    }
    for change in &args.set {
        let (key, value) = change.split_once('=').ok_or_else(|| {
            Failure::Usage(format!("--set {change}: expected KEY=VALUE, such as sessions.linger_ms=20000"))
        })?;
        settings = with(settings, &nested(key, value), &format!("--set {change}"))?;
    }
    Ok(settings)
}

fn with(settings: SimulatorSettings, changes: &Value, place: &str) -> Result<SimulatorSettings, Failure> {
    settings.with(changes).map_err(|error| Failure::Usage(format!("{place}: {error}")))
}

fn file(path: &Path) -> Result<Value, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Unreadable(format!("cannot read {}: {error}", path.display())))?;
    let refused = |error: toml::de::Error| Failure::Usage(format!("{}: {error}", path.display()));
    // Once for its errors, which name the line, and once for the keys that are really there.
    toml::from_str::<SimulatorSettings>(&text).map_err(refused)?;
    toml::from_str(&text).map_err(refused)
}

/// The switches that a transcript of `holdfast probe --save` stands for.
fn like(path: &Path) -> Result<Value, Failure> {
    let unreadable = |error| Failure::Unreadable(format!("cannot read {}: {error}", path.display()));
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut head = String::new();
    let bytes_max = u64::try_from(HEAD_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new(file.take(bytes_max)).read_line(&mut head).map_err(unreadable)?;
    switches(&head).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// `a.b` and `1` as `{"a":{"b":1}}`; what is no JSON is text.
fn nested(key: &str, value: &str) -> Value {
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    key.rsplit('.').fold(value, |inner, name| Value::Object(Map::from_iter([(name.to_owned(), inner)])))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn settings_of(set: &[&str]) -> Result<SimulatorSettings, Failure> {
        let set = set.iter().map(|&change| change.to_owned()).collect();
        settings(&SimulateArgs { set, ..SimulateArgs::default() })
    }

    #[test]
    fn keys_are_set_by_their_path() {
        let settings = settings_of(&["sessions.linger_ms=20000", "server_version=5.2.1"]).unwrap();
        assert_eq!(settings.sessions.linger, std::time::Duration::from_secs(20));
        assert_eq!(settings.server_version, "5.2.1");
        assert_eq!(settings.listen[0].port(), 18080);
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        for wrong in ["sessions.linger", "no.such=1", "sessions.linger_ms=long"] {
            let error = settings_of(&[wrong]).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    /// What WCS listens on by default, by its documentation.
    #[test]
    fn default_ports_do_not_meet_those_of_a_real_server() {
        let wcs = |port: u16| (8080..=8084).contains(&port) || (8443..=8445).contains(&port);
        let settings = settings_of(&[]).unwrap();
        let ports = settings.listen.iter().chain(&settings.control).map(std::net::SocketAddr::port);
        let ports: Vec<u16> =
            ports.chain([crate::config::AdminSettings::default().listen.0.unwrap().port()]).collect();
        assert!(ports.len() >= 3 && !ports.iter().copied().any(wcs), "{ports:?}");
        let media = crate::config::MediaSettings::default().listen.port();
        assert!(!(30_000..=33_000).contains(&media) && media < 32_768 - 64, "{media}");
    }
}
