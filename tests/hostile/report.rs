//! The table of a run.

use std::{fmt::Write as _, time::Duration};

use super::control::Served;

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    pub lasts: Duration,
    pub seed: u64,
    pub idle_kb: u64,
    pub highest_kb: u64,
    pub after_kb: u64,
    pub served: Served,
    pub attacks: Vec<(&'static str, u64)>,
}

impl Summary {
    pub fn markdown(&self) -> String {
        let Self { lasts, seed, idle_kb, highest_kb, after_kb, served, attacks } = self;
        let ms = |quantile| served.answers.value_at_quantile(quantile) as f64 / 1_000.0;
        let mut text = format!(
            "# Result of the hostile run\n\nWritten by `tests/hostile`, whose head has the command; do not edit. \
             {} s, seed {seed}, all clients and attackers on the same machine.\n\n\
             | the control client | |\n|---|---|\n",
            lasts.as_secs()
        );
        let answers = served.answers.len();
        let rows = [
            ("messages, each answered".to_owned(), answers.to_string()),
            ("answer, p50".to_owned(), format!("{:.1} ms", ms(0.5))),
            ("answer, p99".to_owned(), format!("{:.1} ms", ms(0.99))),
            ("answer, longest".to_owned(), format!("{:.1} ms", served.answers.max() as f64 / 1_000.0)),
            ("packets of the control picture".to_owned(), served.frames_packets.to_string()),
            ("longest pause of its packets".to_owned(), format!("{} ms", served.longest_still.as_millis())),
            ("memory of the proxy before".to_owned(), format!("{idle_kb} KiB")),
            ("highest, of 256 MiB that it is given".to_owned(), format!("{highest_kb} KiB")),
            ("afterwards".to_owned(), format!("{after_kb} KiB")),
        ];
        for (what, value) in rows {
            let _ = writeln!(text, "| {what} | {value} |");
        }
        text.push_str("\n| attacks | number |\n|---|---|\n");
        for (what, count) in attacks {
            let _ = writeln!(text, "| {what} | {count} |");
        }
        text
    }
}
