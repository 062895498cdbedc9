//! What `packaging/monitoring/` gives to operators works: alerts fire and stay quiet as they should, and speak of
//! metrics and settings that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn monitoring(file: &str) -> PathBuf {
    root().join("packaging/monitoring").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(monitoring(file)).unwrap()
}

fn promtool(arguments: &[&str], file: &str) {
    let output = Command::new("promtool")
        .args(arguments)
        .arg(monitoring(file))
        .output()
        .expect("promtool is missing; `scripts/install test` installs it");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success() && !said.contains("FAILED"), "{said}");
}

/// The words of a text that begin like this.
fn words<'a>(text: &'a str, begin: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
    words.filter(|word| word.starts_with(begin)).map(|word| word.trim_end_matches('.')).collect()
}

/// The families of `docs/metrics.md`.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `holdfast_")?.split('`').next());
    let families: BTreeSet<String> = rows.map(|name| format!("holdfast_{name}")).collect();
    assert!(families.len() > 50, "the table was not found");
    families
}

/// Metrics that are spoken of and do not exist.
fn unknown(text: &str) -> Vec<String> {
    let documented = documented();
    let is_known = |name: &str| {
        let ends = ["", "_bucket", "_sum", "_count"];
        ends.iter().filter_map(|end| name.strip_suffix(end)).any(|name| documented.contains(name))
    };
    words(text, "holdfast_").into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect()
}

/// The alerts, each with its text.
fn alerts(text: &str) -> Vec<(&str, &str)> {
    let alerts = text.split("- alert: ").skip(1);
    alerts.map(|alert| (alert.lines().next().unwrap(), alert)).collect()
}

#[test]
fn each_alert_fires_where_it_should_and_is_quiet_where_it_should_be() {
    promtool(&["check", "rules"], "alerts.yml");
    promtool(&["test", "rules"], "alerts_test.yml");
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    for (name, _) in alerts(&rules) {
        let begin = format!("alertname: {name}\n");
        let tried: Vec<&str> = tests.split(&begin).skip(1).collect();
        let is_quiet = |test: &&str| test.trim_start().starts_with("exp_alerts: []");
        assert!(tried.iter().any(is_quiet), "no test shows that {name} stays quiet");
        assert!(tried.iter().any(|test| !is_quiet(test)), "no test shows that {name} fires");
    }
}

#[test]
fn alerts_say_how_bad_it_is_and_what_to_do_about_it() {
    let rules = read("alerts.yml");
    let alerts = alerts(&rules);
    assert!(alerts.len() > 20, "{} alerts", alerts.len());
    for (name, alert) in alerts {
        let severity = alert.split("severity: ").nth(1).and_then(|rest| rest.lines().next());
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{name}: {severity:?}");
        assert!(alert.contains("\n        for: "), "{name} has no `for`");
        assert!(alert.contains("\n          summary: "), "{name} has no summary");
        let description = alert.split("description: >-").nth(1).unwrap_or_default();
        assert!(description.trim().len() > 80, "{name} does not say what to do");
    }
}

#[test]
fn alerts_speak_of_metrics_and_settings_that_exist() {
    let rules = read("alerts.yml");
    let own = |name: &String| !rules.contains(&format!("- name: {name}"));
    let unknown: Vec<String> = unknown(&rules).into_iter().filter(own).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let settings = fs::read_to_string(root().join("config/holdfast.toml")).unwrap();
    let mut found = 0;
    for section in ["admin", "hold", "limits", "listen", "log", "media", "restore", "upstream"] {
        for word in words(&rules, &format!("{section}.")) {
            // The end of a sentence is none.
            let Some((_, key)) = word.split_once('.') else { continue };
            let is_set = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
            assert!(settings.lines().any(is_set), "there is no setting {word}");
            found += 1;
        }
    }
    assert!(found > 5, "the settings were not found");
}
