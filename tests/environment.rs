//! Settings by environment and what `holdfast config dump` shows of them, as an operator meets both: by the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

const TOKEN: &str = "a-token-of-a-test-0123456789";

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

fn holdfast(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HOLDFAST_")) {
        command.env_remove(name);
    }
    let variables = variables.iter().copied();
    let Output { status, stdout, stderr } = command.args(arguments).envs(variables).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().expect("ended by a signal"), text(stdout), text(stderr))
}

#[test]
fn a_container_needs_no_file_at_all() {
    let variables = [
        ("HOLDFAST_LISTEN__ADDRESS", "127.0.0.1:0"),
        ("HOLDFAST_UPSTREAM__NODE", "[{url=\"ws://127.0.0.1:1\", name=\"a\"}]"),
        ("HOLDFAST_ADMIN__LISTEN", "off"),
        ("HOLDFAST_MEDIA__MODE", "direct"),
    ];
    let (code, out, err) = holdfast(&["check"], &variables);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("ws://127.0.0.1:0") && out.contains("node a"), "{out}");
}

#[test]
fn the_file_can_be_named_by_a_variable_and_flags_go_before_all() {
    let path = file("named.toml", "[upstream]\nurl = [\"ws://file:1\"]\nrestore_rate = 1\n");
    let path = path.to_str().unwrap();
    let variables = [("HOLDFAST_CONFIG", path), ("HOLDFAST_UPSTREAM__RESTORE_RATE", "2")];
    let (code, out, err) = holdfast(&["config", "dump"], &variables);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("url = [\"ws://file:1\"]  # {path}:2\n")), "{out}");
    assert!(out.contains("restore_rate = 2  # environment HOLDFAST_UPSTREAM__RESTORE_RATE\n"), "{out}");
    let (_, out, _) = holdfast(&["config", "dump", "--restore-rate=3", "--json"], &variables);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["upstream"]["restore_rate"]["value"], 3);
    assert_eq!(json["upstream"]["restore_rate"]["from"], "flag --restore-rate");
}

#[test]
fn a_dump_is_a_file_to_run_with() {
    let variables = [("HOLDFAST_LISTEN__ADDRESS", "127.0.0.1:0"), ("HOLDFAST_ADMIN__LISTEN", "off")];
    let flags = ["config", "dump", "-u", "a=ws://127.0.0.1:1", "--media=direct"];
    let (code, dump, err) = holdfast(&flags, &variables);
    assert_eq!(code, 0, "{err}");
    let path = file("dumped.toml", &dump);
    let path = path.to_str().unwrap();
    let (code, out, err) = holdfast(&["check", "--config", path], &[]);
    assert!(code == 0 && out.contains("node a"), "{out}{err}");
    let values = |text: &str| {
        let lines = text.lines().map(|line| line.split("  # ").next().unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    let (_, again, _) = holdfast(&["config", "dump", "--config", path], &[]);
    assert_eq!(values(&dump), values(&again));
}

#[test]
fn what_is_wrong_is_refused_with_its_variable_and_code() {
    let base = ["check", "-u", "ws://127.0.0.1:1", "--listen=127.0.0.1:0", "--admin=off", "--media=direct"];
    let (code, _, err) = holdfast(&base, &[("HOLDFAST_LIMITS__SESSION_MAX", "7")]);
    assert_eq!(code, 64);
    assert!(err.contains("HOLDFAST_LIMITS__SESSION_MAX: is no setting"), "{err}");
    assert!(err.contains("the nearest name is HOLDFAST_LIMITS__SESSIONS_MAX"), "{err}");
    let (code, _, err) = holdfast(&base, &[("HOLDFAST_LIMITS__SESSIONS_MAX", "seven")]);
    assert!(code == 64 && err.contains("HOLDFAST_LIMITS__SESSIONS_MAX: limits.sessions_max: "), "{err}");
    let (code, _, err) = holdfast(&base, &[("HOLDFAST_LIMITS__SESSIONS_MAX_FILE", "/no/such/file")]);
    assert!(code == 66 && err.contains("/no/such/file"), "{err}");
    let (code, out, err) = holdfast(&base, &[("HOLDFAST_LISTEN_ADDRESS", "1.2.3.4:5")]);
    assert!(code == 0 && out.contains("did you mean HOLDFAST_LISTEN__ADDRESS?"), "{out}{err}");
}

#[test]
fn a_secret_in_a_file_is_in_no_dump() {
    let path = file("environment.token", &format!("{TOKEN}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.to_str().unwrap();
    let dump = ["config", "dump", "-u", "ws://127.0.0.1:1"];
    for variable in ["HOLDFAST_ADMIN__TOKEN_FILE", "HOLDFAST_ADMIN_TOKEN_FILE"] {
        let (code, out, err) = holdfast(&dump, &[(variable, path)]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(&format!("token_file = \"{path}\"  # environment {variable}\n")), "{out}");
        assert!(!out.contains(TOKEN), "{out}");
    }
    for variable in ["HOLDFAST_ADMIN_TOKEN", "HOLDFAST_ADMIN__TOKEN"] {
        let (code, out, err) = holdfast(&dump, &[(variable, TOKEN)]);
        assert!(code == 0 && !out.contains(TOKEN) && !err.contains(TOKEN), "{out}{err}");
    }
}
