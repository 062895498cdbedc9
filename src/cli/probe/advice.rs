//! From what a probe saw to settings: which of them should be other than their defaults, and the section that says
//! what the server is like.

use std::{collections::BTreeMap, fmt::Write as _, time::SystemTime};

use serde_json::Value;
use toml::{Table, Value as Toml};

use crate::{
    config::{POSITION_BYTES_MAX, ServerSettings, SessionSettings},
    milliseconds::ms,
    probe::{Report, Verdict},
};

/// What is waited beyond what was seen, in percent.
const MARGIN_PERCENT: u64 = 50;

/// What follows from a report.
pub(super) struct Advice {
    /// Settings by section and key, with why.
    settings: Vec<(&'static str, &'static str, u64, String)>,
    /// Section `[server]`.
    server: ServerSettings,
}

impl Advice {
    pub(super) fn of(report: &Report, now: SystemTime) -> Self {
        let seen = report.questions.iter().filter(|row| row.verdict != Verdict::Unknown);
        let positions: BTreeMap<String, String> = seen
            .filter(|row| row.seen.len() <= POSITION_BYTES_MAX)
            .map(|row| (row.key.to_owned(), row.seen.clone()))
            .collect();
        let server = ServerSettings {
            probed_at: humantime::format_rfc3339_seconds(now).to_string(),
            version: positions.get("server_version").cloned().unwrap_or_default(),
            positions,
        };
        Self { settings: settings(report), server }
    }

    /// What the server makes weaker with these settings in force, one sentence each.
    pub(super) fn consequences(&self) -> Vec<String> {
        self.server.consequences(&SessionSettings::default())
    }

    /// All of it as a configuration file, to be put beside what is there.
    pub(super) fn toml(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (section, key, value, why) in &self.settings {
            if *section != last {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "[{section}]");
            }
            last = section;
            let _ = writeln!(text, "# {why}\n{key} = {value}\n");
        }
        let server = &self.server;
        let quoted = |text: &str| Toml::String(text.to_owned());
        let _ = writeln!(
            text,
            "[server]\nprobed_at = {}\nversion = {}\n\n[server.positions]",
            quoted(&server.probed_at),
            quoted(&server.version)
        );
        let positions: Table =
            server.positions.iter().map(|(key, position)| (key.clone(), quoted(position))).collect();
        let _ = write!(text, "{positions}");
        text
    }

    /// The settings alone, for people; nothing where the defaults are right.
    pub(super) fn settings_text(&self) -> String {
        let mut text = String::new();
        for (section, key, value, why) in &self.settings {
            let _ = writeln!(text, "  {section}.{key} = {value}  # {why}");
        }
        text
    }
}

fn settings(report: &Report) -> Vec<(&'static str, &'static str, u64, String)> {
    let defaults = SessionSettings::default();
    let number = |key: &str| report.row(key)?.value.as_ref().and_then(Value::as_u64);
    let with_margin = |value: u64| value.saturating_mul(100 + MARGIN_PERCENT) / 100;
    let mut all = Vec::new();
    let differs = report.row("ping_interval_ms").is_some_and(|row| row.verdict == Verdict::Differs);
    if let Some(interval) = number("ping_interval_ms").filter(|_| differs) {
        let why = format!("the server pings every {interval} ms");
        all.push(("keepalive", "ping_period_ms", interval.clamp(1, 600_000), why));
    }
    for (asked, key, default) in [
        ("user_data_ms", "resume_wait_ms", ms(defaults.restore.resume_wait)),
        ("user_data_ms", "answer_timeout_ms", ms(defaults.restore.answer_timeout)),
        ("answer_ms", "proof_timeout_ms", ms(defaults.restore.proof_timeout)),
        ("name_after_loss_ms", "name_in_use_ms_max", ms(defaults.restore.name_in_use_max)),
    ] {
        // Past their ranges there is nothing to set.
        let range_max = if key == "resume_wait_ms" { 60_000 } else { 600_000 };
        if let Some(value) =
            number(asked).map(with_margin).filter(|value| *value > default && *value <= range_max)
        {
            let about = report.row(asked).map_or("", |row| row.about);
            all.push(("restore", key, value, format!("{about}: {} ms", number(asked).unwrap_or_default())));
        }
    }
    all
}
