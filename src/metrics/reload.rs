//! New configurations: what became of them.

use std::fmt;

use crate::net::View;

use super::page::Page;

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let reloads = view.reloads();
    let (generation, succeeded_unix_ms, is_well) = reloads.figures();
    page.counts("reloads", "Readings of the configuration, by what became of them.", &reloads.counts)?;
    let help = "1 if the last reading of the configuration was accepted, or there was none.";
    page.gauge("reload_last_successful", help, u64::from(is_well))?;
    let help = "When the configuration in force was read last, in Unix time.";
    page.gauge("reload_last_success_timestamp_seconds", help, succeeded_unix_ms as f64 / 1_000.0)?;
    let help = "Configurations that have been in force in this process, with this one.";
    page.gauge("config_generation", help, generation)
}
