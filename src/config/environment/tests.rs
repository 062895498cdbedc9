use std::path::Path;

use super::*;
use crate::config::{Config, MediaMode, Overrides, RestoreMode};

const UPSTREAM: &str = "[upstream]\nurl = [\"ws://a:1\"]\n";

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

fn config_of(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags = Overrides { environment: environment(variables), ..Overrides::default() };
    Config::parse(file, Path::new("some.toml"), &flags)
}

fn error_of(variables: &[(&str, &str)]) -> String {
    config_of(UPSTREAM, variables).expect_err("it was accepted").to_string()
}

#[test]
fn every_setting_has_a_variable_that_takes_its_default() {
    let known = Known::new();
    let names = known.variables();
    assert!(names.len() > 100, "{names:?}");
    for name in names {
        let Place::Setting { path, .. } = known.place(&name) else { panic!("{name} is no setting") };
        let default = known.default(&path).unwrap();
        if default.is_null() {
            continue;
        }
        // JSON of a number, a word, a list of words is TOML as well; that of an empty table, too.
        let value = default.to_string();
        if let Err(error) = config_of(UPSTREAM, &[(&name, &value)]) {
            // Alone some defaults make no whole.
            assert!(matches!(error, ConfigError::Conflict { .. }), "{name}={value}: {error}");
        }
    }
}

#[test]
fn values_are_plain_words_lists_and_inline_toml() {
    let file = format!("{UPSTREAM}[limits]\nsessions_max = 7\n[admin]\nsocket_mode = \"0600\"\n");
    let config = config_of(
        &file,
        &[
            ("HOLDFAST_LISTEN__ADDRESS", "127.0.0.1:1,wss://127.0.0.1:2"),
            ("HOLDFAST_LISTEN__TLS_CERT", "cert.pem"),
            ("HOLDFAST_LISTEN__TLS_KEY", "\"key.pem\""),
            ("HOLDFAST_LIMITS__SESSIONS_MAX", " 99 "),
            ("HOLDFAST_MEDIA__MODE", "direct"),
            ("HOLDFAST_MEDIA__TCP", "false"),
            ("HOLDFAST_ADMIN__SOCKET_MODE", "0660"),
            ("HOLDFAST_ADMIN__HOSTS", ""),
            ("HOLDFAST_HEALTH__LIVE_PATH", "\"\""),
            ("HOLDFAST_UPSTREAM__NODE", "[{url=\"ws://b:2\", name=\"b\"}, {url=\"ws://c:3\", weight=2}]"),
            ("HOLDFAST_UPSTREAM__HEALTH", "{kind=\"tcp\"}"),
            ("HOLDFAST_APP__defaultApp__RESTORE_MODE", "restart"),
            ("HOLDFAST_POOL__edge__NODE", "[{url=\"ws://d:4\"}]"),
            ("HOLDFAST_LOG", "holdfast::session=debug,info"),
            ("HOLDFAST_SEED", "17"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    let listeners: Vec<_> =
        config.net.listen.listeners().map(|(address, tls)| (address.port(), tls)).collect();
    assert_eq!(listeners, [(1, true), (2, true)]);
    assert_eq!(config.net.listen.tls_key.as_deref(), Some(Path::new("key.pem")));
    assert_eq!((config.net.limits.sessions_max, config.media.mode), (Some(99), MediaMode::Direct));
    assert_eq!((config.media.tcp, config.admin.socket_mode.0), (false, 0o660));
    assert_eq!(config.net.health.live_path, "");
    assert_eq!(config.session.restore_mode(Some("defaultApp")), RestoreMode::Restart);
    let names: Vec<String> = config.net.nodes().iter().map(|node| node.name.to_string()).collect();
    assert_eq!(names, ["a:1", "b", "c:3", "d:4"]);
    assert!(config.notices.is_empty(), "{:?}", config.notices);
}

#[test]
fn an_address_of_ipv6_is_no_list() {
    let variables = [("HOLDFAST_LISTEN__ADDRESS", "[::1]:1,[::1]:2"), ("HOLDFAST_MEDIA__LISTEN", "[::]:3")];
    let config = config_of(UPSTREAM, &variables).unwrap();
    let ports: Vec<u16> = config.net.listen.listeners().map(|(address, _)| address.port()).collect();
    assert_eq!((ports, config.media.listen.port()), (vec![1, 2], 3));
}

#[test]
fn flags_go_before_it_and_it_before_the_file() {
    let variables = [("HOLDFAST_UPSTREAM__RESTORE_RATE", "8"), ("HOLDFAST_RESTORE__MODE", "notify")];
    let file = format!("{UPSTREAM}restore_rate = 7\n");
    let config = config_of(&file, &variables).unwrap();
    assert_eq!((config.net.upstream.restore_rate, config.session.restore.mode), (8, RestoreMode::Notify));
    let flags =
        Overrides { environment: environment(&variables), restore_rate: Some(9), ..Overrides::default() };
    let config = Config::parse(&file, Path::new("some.toml"), &flags).unwrap();
    assert_eq!((config.net.upstream.restore_rate, config.session.restore.mode), (9, RestoreMode::Notify));
}

#[test]
fn what_is_wrong_is_told_with_its_variable() {
    for (variable, value, parts) in [
        ("HOLDFAST_LISTEN__ADRESS", "x", &["is no setting", "HOLDFAST_LISTEN__ADDRESS"][..]),
        ("HOLDFAST_LISTNE__ADDRESS", "x", &["is no setting", "HOLDFAST_LISTEN__ADDRESS"]),
        ("HOLDFAST_LIMITS__MESSAGE_BYTES_MAX", "many", &["limits.message_bytes_max", "expected"]),
        ("HOLDFAST_LIMITS__MESSAGE_BYTES_MAX", "-1", &["limits.message_bytes_max", "expected"]),
        ("HOLDFAST_MEDIA__MODE", "sideways", &["media.mode", "`direct`"]),
        ("HOLDFAST_MEDIA__LISTEN", "here", &["media.listen", "IP:PORT"]),
        ("HOLDFAST_UPSTREAM__NODE", "[{uri=\"ws://b:2\"}]", &["upstream.node", "`uri`", "`url`"]),
        ("HOLDFAST_APP__x__RESTORE", "restart", &["app.x.restore", "restore_mode"]),
        ("HOLDFAST_ADMIN__TOKEN_FILE__X", "1", &["is no setting"]),
        ("HOLDFAST_LISTEN__", "1", &["is no setting"]),
        ("HOLDFAST_LISTEN__ADDRESS", "[\"127.0.0.1:1\",", &["listen.address"]),
        // Conflicts are told where the value comes from, too.
        ("HOLDFAST_RESTORE__BACKOFF_INITIAL_MS", "9000", &["restore.backoff_initial_ms", "is more than"]),
    ] {
        let error = error_of(&[(variable, value)]);
        assert!(error.starts_with(&format!("{variable}: ")), "{variable}={value}: {error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{variable}={value}: {error}");
    }
    let error = error_of(&[("HOLDFAST_UPSTREAM__URL", "wss://me:hunter2@wcs:8443")]);
    assert!(error.contains("HOLDFAST_UPSTREAM__URL") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_value_is_read_from_a_file_each_time() {
    let path = std::env::temp_dir().join(format!("holdfast-environment-{}", std::process::id()));
    let file = path.to_str().unwrap();
    let variables = [("HOLDFAST_LIMITS__SESSIONS_MAX_FILE", file)];
    std::fs::write(&path, "12\n").unwrap();
    let flags = Overrides { environment: environment(&variables), ..Overrides::default() };
    let sessions_max = || {
        Config::parse(UPSTREAM, Path::new("some.toml"), &flags).map(|config| config.net.limits.sessions_max)
    };
    assert_eq!(sessions_max().unwrap(), Some(12));
    std::fs::write(&path, "13\n").unwrap();
    assert_eq!(sessions_max().unwrap(), Some(13), "a reload reads it anew");
    std::fs::write(&path, "thirteen\n").unwrap();
    assert!(
        sessions_max().unwrap_err().to_string().starts_with("HOLDFAST_LIMITS__SESSIONS_MAX_FILE: limits.")
    );
    let both =
        error_of(&[("HOLDFAST_LIMITS__SESSIONS_MAX", "1"), ("HOLDFAST_LIMITS__SESSIONS_MAX_FILE", file)]);
    std::fs::remove_file(&path).unwrap();
    assert!(both.contains("says the same setting") || both.contains("thirteen"), "{both}");
    let gone = error_of(&variables);
    assert!(gone.contains("SESSIONS_MAX_FILE: cannot read ") && gone.contains(file), "{gone}");
}

#[test]
fn what_is_no_setting_by_one_underscore_is_told() {
    let config = config_of(UPSTREAM, &[("HOLDFAST_LISTEN_ADDRESS", "1.2.3.4:5")]).unwrap();
    assert!(config.notices[0].contains("did you mean HOLDFAST_LISTEN__ADDRESS?"), "{:?}", config.notices);
    // Variables of others, and those of the token, are nothing to wonder about.
    let others = [
        ("HOLDFAST_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("HOLDFAST_SERVICE_HOST", "10.0.0.1"),
        ("HOLDFAST_ADMIN_TOKEN", "correct-horse-battery"),
        ("HOLDFAST_ADMIN__TOKEN", "correct-horse-battery"),
    ];
    assert!(config_of(UPSTREAM, &others).unwrap().notices.is_empty());
    let both = [("HOLDFAST_ADMIN_TOKEN_FILE", "/a"), ("HOLDFAST_CONFIG", "/b")];
    assert_eq!(config_of(UPSTREAM, &both).unwrap().admin.token_file.as_deref(), Some(Path::new("/a")));
}

#[test]
fn values_are_not_shown() {
    let text = format!("{:?}", environment(&[("HOLDFAST_ADMIN_TOKEN", "correct-horse-battery")]));
    assert!(text.contains("HOLDFAST_ADMIN_TOKEN") && !text.contains("horse"), "{text}");
}
