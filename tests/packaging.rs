//! What packages are made of fits the program: files that they name are there, settings that they carry are accepted,
//! and who ends a process gives it the time that it may take.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use holdfast::config::{Config, Overrides};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parse(text: &str, name: &str) -> Result<Config, String> {
    Config::parse(text, Path::new(name), &Overrides::default()).map_err(|error| error.to_string())
}

#[test]
fn the_package_takes_files_that_are_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut named: Vec<&str> =
        deb["assets"].as_array().unwrap().iter().map(|asset| asset[0].as_str().unwrap()).collect();
    named.push(deb["license-file"][0].as_str().unwrap());
    named.push(deb["changelog"].as_str().unwrap());
    named.push(deb["maintainer-scripts"].as_str().unwrap());
    // What the script makes before, it is asked for: cargo deb fails without it.
    for name in named.iter().filter(|name| !name.starts_with("target/")) {
        let (directory, pattern) = name.rsplit_once('/').unwrap_or((".", name));
        let Some(end) = pattern.strip_prefix('*') else {
            assert!(path(name).exists(), "{name} is not there");
            continue;
        };
        let mut files = fs::read_dir(path(directory)).unwrap().map(|file| file.unwrap().file_name());
        assert!(files.any(|file| file.to_str().unwrap().ends_with(end)), "nothing matches {name}");
    }
    let version = manifest["workspace"]["package"]["version"].as_str().unwrap();
    let newest = read(deb["changelog"].as_str().unwrap());
    assert!(newest.starts_with(&format!("holdfast ({version}-")), "the changelog of the package is behind");
    for script in ["postinst", "prerm", "postrm"] {
        assert!(read(&format!("packaging/debian/{script}")).contains("\n#DEBHELPER#\n"), "{script}");
    }
}

#[test]
fn scripts_can_be_run() {
    for script in [
        "release",
        "package",
        "licences",
        "try-package",
        "try-newcomer",
        "try-reproducible",
        "container",
        "try-container",
        "arm64",
    ] {
        let mode = fs::metadata(path(&format!("scripts/{script}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "scripts/{script}");
    }
}

#[test]
fn the_settings_of_the_package_want_a_server_and_nothing_else() {
    let text = read("packaging/debian/holdfast.toml");
    let error = parse(&text, "holdfast.toml").unwrap_err();
    assert!(error.contains("upstream.url"), "{error}");
    // Each line that is commented out is right as well.
    let mut all = String::new();
    for line in text.lines() {
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
        all.push_str(setting.unwrap_or(line));
        all.push('\n');
    }
    assert_ne!(all, text);
    let config = parse(&all, "holdfast.toml").unwrap();
    assert!(config.net.listen.tls_cert.is_some() && config.warnings().is_empty(), "{:?}", config.warnings());
}

/// The text that a block of this name has in a YAML file, and the numbers in whole seconds that stand behind a key.
fn block(yaml: &str, key: &str) -> String {
    let (_, rest) = yaml.split_once(&format!("  {key}: |\n")).unwrap();
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or_default())).collect()
}

fn seconds(yaml: &str, key: &str) -> u64 {
    let (_, rest) = yaml.split_once(&format!("{key}: ")).unwrap();
    rest.lines().next().unwrap().trim_end_matches('s').parse().unwrap()
}

#[test]
fn clusters_and_compose_wait_until_sessions_are_ended() {
    let kubernetes = read("packaging/kubernetes/holdfast.yaml");
    let config = parse(&block(&kubernetes, "holdfast.toml"), "holdfast.yaml").unwrap();
    let limits = config.net.limits;
    let takes = limits.ready_grace + limits.shutdown_max;
    assert!(takes.as_secs() < seconds(&kubernetes, "terminationGracePeriodSeconds"), "{takes:?}");
    assert!(kubernetes.contains(r#""drain-self", "--wait""#));
    let compose = read("packaging/container/compose.yaml");
    let limits = parse("[upstream]\nurl = [\"ws://wcs:8080\"]\n", "defaults").unwrap().net.limits;
    let takes = limits.ready_grace + limits.shutdown_max;
    assert!(takes.as_secs() < seconds(&compose, "stop_grace_period"), "{takes:?}");
}
