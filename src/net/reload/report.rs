//! What became of new configurations: the last report, and how many there were.

use std::{borrow::Cow, fmt};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    milliseconds::unix_ms,
    telemetry::counts::{By, Reload},
};

/// Most changes that are told one by one; all are counted.
const CHANGES_TOLD_MAX: usize = 200;

/// Something that is other than it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// What it is: `node`, `listener`, `certificate`, `token`, `log level` or `setting`.
    pub object: Cow<'static, str>,
    /// Which.
    pub name: String,
    /// What became of it.
    pub change: Cow<'static, str>,
}

impl Change {
    /// This became of that.
    #[must_use]
    pub fn of(object: &'static str, name: &str, change: &'static str) -> Self {
        Self { object: object.into(), name: name.to_owned(), change: change.into() }
    }
}

/// Who asked for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadTrigger {
    /// SIGHUP.
    #[default]
    Signal,
    /// `POST /v1/reload`.
    Api,
    /// A file is another one than it was (`reload.watch`).
    File,
}

impl ReloadTrigger {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Api => "api",
            Self::File => "file",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// It is in force.
    #[default]
    Accepted,
    /// There was nothing to put in force.
    Unchanged,
    /// What was in force before still is, all of it.
    Refused,
}

impl From<ReloadOutcome> for Reload {
    fn from(outcome: ReloadOutcome) -> Self {
        match outcome {
            ReloadOutcome::Accepted => Self::Accepted,
            ReloadOutcome::Unchanged => Self::Unchanged,
            ReloadOutcome::Refused => Self::Refused,
        }
    }
}

/// What became of one reading of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReport {
    /// Numbers them, from 1, as long as the process lives.
    pub id: u64,
    /// Who asked for it.
    pub trigger: ReloadTrigger,
    /// What became of it.
    pub result: ReloadOutcome,
    /// The same in words.
    pub summary: String,
    /// Why it was refused, with file and line.
    pub error: Option<String>,
    /// What is other than it was; where there is very much of it, the first of all.
    pub changes: Vec<Change>,
    /// Settings that take a restart, and are as they were.
    pub kept: Vec<String>,
    /// What is accepted but probably not meant.
    pub warnings: Vec<String>,
    /// When it was done, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How many configurations have been in force in this process, this one included.
    pub generation: u64,
    /// Tells one configuration from another.
    pub config_hash: String,
}

impl ReloadReport {
    /// A report of what was put in force, or was there already.
    #[must_use]
    pub fn accepted(trigger: ReloadTrigger, mut changes: Vec<Change>, kept: Vec<String>) -> Self {
        let result = if changes.is_empty() { ReloadOutcome::Unchanged } else { ReloadOutcome::Accepted };
        let summary = summary(&changes, &kept);
        changes.truncate(CHANGES_TOLD_MAX);
        Self { trigger, result, summary, changes, kept, ..Self::default() }
    }

    /// A report of what was refused for this.
    #[must_use]
    pub fn refused(trigger: ReloadTrigger, error: String) -> Self {
        let result = ReloadOutcome::Refused;
        let summary = "refused: everything stays as it was".to_owned();
        Self { trigger, result, summary, error: Some(error), ..Self::default() }
    }
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            None => f.write_str(&self.summary),
            Some(error) => write!(f, "{}: {error}", self.summary),
        }
    }
}

/// Such as "2 nodes added, 1 drained, certificate renewed".
fn summary(changes: &[Change], kept: &[String]) -> String {
    let mut counts: Vec<((&str, &str), usize)> = Vec::new();
    for change in changes {
        let kind = (&*change.object, &*change.change);
        match counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    let mut told_of = "";
    let mut parts = Vec::new();
    for ((object, change), count) in counts {
        let is_told = std::mem::replace(&mut told_of, object) == object;
        let is_one_of_a_kind = matches!(object, "certificate" | "token" | "log level") && count == 1;
        parts.push(match (is_told, is_one_of_a_kind) {
            (true, _) => format!("{count} {change}"),
            (false, true) => format!("{object} {change}"),
            (false, false) if count == 1 => format!("1 {object} {change}"),
            (false, false) => format!("{count} {object}s {change}"),
        });
    }
    let mut text = if parts.is_empty() { "nothing changed".to_owned() } else { parts.join(", ") };
    if !kept.is_empty() {
        text.push_str(&format!("; takes a restart and is kept: {}", kept.join(", ")));
    }
    text
}

/// All that is known of them. One for the process.
#[derive(Debug)]
pub(crate) struct Reloads {
    state: Mutex<State>,
    pub(crate) counts: By<Reload>,
}

#[derive(Debug)]
struct State {
    last: Option<ReloadReport>,
    reports: u64,
    generation: u64,
    /// When a configuration was put in force, or found to be, in milliseconds since 1970.
    succeeded_unix_ms: u64,
    config_hash: String,
}

impl Default for Reloads {
    fn default() -> Self {
        let state = State {
            last: None,
            reports: 0,
            generation: 1,
            succeeded_unix_ms: unix_ms(std::time::Duration::ZERO),
            config_hash: String::new(),
        };
        Self { state: Mutex::new(state), counts: By::default() }
    }
}

impl Reloads {
    /// One more is over. Its report, with its number.
    pub(crate) fn note(&self, report: ReloadReport) -> ReloadReport {
        self.counts.inc(report.result.into());
        let mut state = self.state.lock();
        state.reports = state.reports.saturating_add(1);
        let at_unix_ms = unix_ms(std::time::Duration::ZERO);
        if report.result != ReloadOutcome::Refused {
            state.succeeded_unix_ms = at_unix_ms;
            state.config_hash.clone_from(&report.config_hash);
        }
        if report.result == ReloadOutcome::Accepted {
            state.generation = state.generation.saturating_add(1);
        }
        let report = ReloadReport {
            id: state.reports,
            at_unix_ms,
            generation: state.generation,
            config_hash: state.config_hash.clone(),
            ..report
        };
        state.last = Some(report.clone());
        report
    }

    /// The configuration that the process began with.
    pub(crate) fn begin(&self, config_hash: String) {
        self.state.lock().config_hash = config_hash;
    }

    /// The last report, if there is one.
    pub(crate) fn last(&self) -> Option<ReloadReport> {
        self.state.lock().last.clone()
    }

    /// The number of that.
    pub(crate) fn last_id(&self) -> u64 {
        self.state.lock().reports
    }

    /// For metrics: the generation, when the last one succeeded, whether the last one did.
    pub(crate) fn figures(&self) -> (u64, u64, bool) {
        let state = self.state.lock();
        let is_well = state.last.as_ref().is_none_or(|last| last.result != ReloadOutcome::Refused);
        (state.generation, state.succeeded_unix_ms, is_well)
    }

    /// Tells the configuration in force from others.
    pub(crate) fn configuration(&self) -> (u64, String) {
        let state = self.state.lock();
        (state.generation, state.config_hash.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_in_few_words() {
        let of = Change::of;
        let changes = vec![
            of("node", "a", "added"),
            of("node", "b", "added"),
            of("node", "c", "drained"),
            of("certificate", "listen.tls_cert", "renewed"),
            of("setting", "limits.sessions_max", "changed"),
        ];
        let report = ReloadReport::accepted(ReloadTrigger::Signal, changes, vec!["media.workers".to_owned()]);
        assert_eq!(
            report.summary,
            "2 nodes added, 1 drained, certificate renewed, 1 setting changed; takes a restart and is kept: \
             media.workers"
        );
        let nothing = ReloadReport::accepted(ReloadTrigger::Api, vec![], vec![]);
        assert_eq!((nothing.result, &*nothing.summary), (ReloadOutcome::Unchanged, "nothing changed"));
        let many: Vec<_> = (0..1_000).map(|n| of("node", &n.to_string(), "added")).collect();
        let report = ReloadReport::accepted(ReloadTrigger::Api, many, vec![]);
        assert_eq!((report.changes.len(), &*report.summary), (CHANGES_TOLD_MAX, "1000 nodes added"));
    }

    #[test]
    fn a_generation_is_a_configuration_that_was_put_in_force() {
        let reloads = Reloads::default();
        reloads.begin("one".to_owned());
        let refused = reloads.note(ReloadReport::refused(ReloadTrigger::File, "c.toml:3: no".to_owned()));
        assert_eq!((refused.id, refused.generation, &*refused.config_hash), (1, 1, "one"));
        assert!(!reloads.figures().2, "the last one failed");
        let changes = vec![Change::of("node", "a", "added")];
        let accepted = ReloadReport {
            config_hash: "two".to_owned(),
            ..ReloadReport::accepted(ReloadTrigger::Api, changes, vec![])
        };
        assert_eq!(reloads.note(accepted).generation, 2);
        assert!(reloads.figures().2);
        assert_eq!(reloads.configuration(), (2, "two".to_owned()));
    }
}
