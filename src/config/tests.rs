//! What a wrong configuration is told, and what goes before what.

use std::{path::Path, time::Duration};

use super::*;

const UPSTREAM: &str = "[upstream]\nurl = [\"ws://wcs:8080\"]\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("some.toml"), &Overrides::default()).map_err(|e| e.to_string())
}

fn error_of(text: &str) -> String {
    parse(text).expect_err(text)
}

#[test]
fn an_upstream_is_all_that_is_needed() {
    let config = parse(UPSTREAM).unwrap();
    assert_eq!(config.net.listen, ListenSettings::default());
    assert_eq!(config.session, SessionSettings::default());
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn an_unknown_key_is_told_with_line_and_what_was_meant() {
    let error = error_of("[listen]\ntls_cert = \"a\"\ntls_kye = \"b\"\n");
    assert!(error.starts_with("some.toml:3:1: listen.tls_kye: unknown field"), "{error}");
    assert!(error.contains("did you mean `tls_key`?"), "{error}");
    assert!(error.contains("`handshake_timeout_ms`"), "the accepted keys are missing: {error}");
}

#[test]
fn an_unknown_section_is_told() {
    let error = error_of("[restroe]\nmode = \"auto\"\n");
    assert!(error.contains("some.toml:1:"), "{error}");
    assert!(error.contains("did you mean `restore`?"), "{error}");
}

#[test]
fn a_key_of_another_section_is_pointed_there() {
    let error = error_of("[upstream]\nurl = [\"ws://a:1\"]\ntls_cert = \"x\"\n");
    assert!(error.contains("`tls_cert` exists as `listen.tls_cert`"), "{error}");
}

#[test]
fn a_value_out_of_range_is_told_with_its_range() {
    let error = error_of("[listen]\n\nhandshake_timeout_ms = 5\n");
    assert!(error.starts_with("some.toml:3:24: listen.handshake_timeout_ms:"), "{error}");
    assert!(error.contains("integer `5`"), "{error}");
    assert!(error.contains("a whole number of milliseconds from 100 to 600000"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_is_told() {
    for (line, key) in [
        ("handshake_timeout_ms = \"10s\"", "listen.handshake_timeout_ms"),
        ("handshake_timeout_ms = -1", "listen.handshake_timeout_ms"),
        ("header_bytes_max = 1.5", "listen.header_bytes_max"),
        ("address = \"0.0.0.0:8080\"", "listen.address"),
        ("trusted_proxies = [\"ten\"]", "listen.trusted_proxies"),
    ] {
        let error = error_of(&format!("[listen]\n{line}\n"));
        assert!(error.starts_with("some.toml:2:"), "{line}: {error}");
        assert!(error.contains(key), "{line}: {error}");
        assert!(error.contains("expected"), "{line}: {error}");
    }
}

#[test]
fn a_word_that_is_not_accepted_is_told_with_those_that_are() {
    let error = error_of("[app.\"two.way\"]\nrestore_mode = \"restrat\"\n");
    assert!(error.contains("some.toml:2:"), "{error}");
    assert!(error.contains("`resume`, `restart`, `notify`"), "{error}");
    assert!(error.contains("did you mean `restart`?"), "{error}");
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let error = error_of("[listen]\naddress = [\n");
    assert!(error.starts_with("some.toml:"), "{error}");
}

#[test]
fn flags_go_before_the_file() {
    let flags = Overrides {
        upstream: vec!["wss://other".parse().unwrap()],
        restore_rate: Some(0),
        restore_mode: Some(RestoreMode::Notify),
        ..Overrides::default()
    };
    let text = format!("{UPSTREAM}restore_rate = 7\n[app.x]\nrestore_mode = \"restart\"\n");
    let config = Config::parse(&text, Path::new("some.toml"), &flags).unwrap();
    assert_eq!(config.net.upstream.restore_rate, 0);
    assert_eq!(config.net.upstream.url.len(), 1);
    assert_eq!(config.net.upstream.url[0].url.host(), "other");
    assert_eq!(config.session.restore_mode(Some("y")), RestoreMode::Notify);
    assert_eq!(config.session.restore_mode(None), RestoreMode::Notify);
    assert_eq!(config.session.restore_mode(Some("x")), RestoreMode::Restart);
}

#[test]
fn contradictions_are_told_at_their_place() {
    let error = error_of("[listen]\ntls_cert = \"a\"\n[upstream]\nurl = [\"ws://a:1\"]\n");
    assert!(error.starts_with("some.toml:2: listen.tls_cert: needs its private key"), "{error}");

    let error = error_of("[restore]\n");
    assert!(error.starts_with("some.toml: upstream.url: is empty"), "{error}");

    let error = error_of(&format!("{UPSTREAM}[restore]\nbackoff_initial_ms = 9000\n"));
    assert!(error.starts_with("some.toml:4: restore.backoff_initial_ms: 9000 is more"), "{error}");

    let flags = Overrides { tls_key: Some("k".into()), ..Overrides::default() };
    let error = Config::load(None, &flags).unwrap_err().to_string();
    assert!(error.starts_with("--tls-key: listen.tls_key: needs its certificate"), "{error}");

    let error = Config::load(None, &Overrides::default()).unwrap_err().to_string();
    assert!(error.starts_with("command line: upstream.url"), "{error}");

    let error = Config::load(Some(Path::new("/no/such.toml")), &flags).unwrap_err().to_string();
    assert!(error.contains("/no/such.toml"), "{error}");
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let config = parse(&format!(
        "{UPSTREAM}ca = \"ca.pem\"\n[media]\nmode = \"direct\"\n[restore]\nconnection = false\n\
         [keepalive]\nupstream_silence_ms = 9000\n[app.a]\nrestore_mode = \"anchor\"\n"
    ))
    .unwrap();
    let warnings = config.warnings();
    for expected in ["upstream.ca", "restore mode", "connection", "probed"] {
        assert!(warnings.iter().any(|w| w.contains(expected)), "{expected}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

#[test]
fn listeners_speak_tls_as_asked_or_as_the_certificate_says() {
    let config = parse(&format!(
        "[listen]\naddress = [\"ws://0.0.0.0:8080\", \"0.0.0.0:8443\"]\ntls_cert = \"c\"\n\
         tls_key = \"k\"\n{UPSTREAM}"
    ))
    .unwrap();
    let tls: Vec<bool> = config.net.listen.listeners().map(|(_, tls)| tls).collect();
    assert_eq!(tls, [false, true]);
}

#[test]
fn milliseconds_become_durations() {
    let config = parse(&format!("{UPSTREAM}[restore]\nbackoff_max_ms = 1500\n")).unwrap();
    assert_eq!(config.session.restore.backoff_max, Duration::from_millis(1500));
    let shown = config.to_json();
    assert_eq!(shown["restore"]["backoff_max_ms"], 1500);
    assert_eq!(shown["upstream"]["url"][0], "ws://wcs:8080");
}

#[test]
fn reasons_are_compared_without_case() {
    let restore = RestoreSettings::default();
    assert!(restore.is_transient(" bad gateway"));
    assert!(!restore.is_transient("Forbidden"));
}

#[test]
fn the_number_of_nodes_is_bounded() {
    let urls =
        |count: usize| (0..count).map(|n| format!("\"ws://wcs-{n}:8080\"")).collect::<Vec<_>>().join(", ");
    assert_eq!(parse(&format!("[upstream]\nurl = [{}]\n", urls(256))).unwrap().net.nodes().len(), 256);
    let error = error_of(&format!("[upstream]\nurl = [{}]\n", urls(257)));
    assert!(error.contains("more than 256 nodes"), "{error}");
}

#[test]
fn a_flag_replaces_all_nodes_of_the_file() {
    let flags = Overrides { upstream: vec!["b=wss://b".parse().unwrap()], ..Overrides::default() };
    let text = format!("{UPSTREAM}[[upstream.node]]\nurl = \"ws://other:1\"\n");
    let config = Config::parse(&text, Path::new("some.toml"), &flags).unwrap();
    let nodes: Vec<String> = config.net.nodes().into_iter().map(|node| node.name).collect();
    assert_eq!(nodes, ["b"]);
}
