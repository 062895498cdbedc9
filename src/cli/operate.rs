//! `holdfast drain`, `undrain`, `maintenance` and `rebalance`: an operator takes nodes out of use and back.
//!
//! The proxy does the work and goes on with it whoever looks: what is here asks, shows how far it is, and exits
//! with 0 only when the wish is fulfilled.

use std::{
    io::{IsTerminal as _, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Failure,
    admin::Admin,
    args::{EmptyArgs, RebalanceArgs, UndrainArgs},
    signals::Signals,
    told,
};
use crate::{
    drain::{Left, Progress, Stage},
    milliseconds::ms,
    net::DrainStatus,
    telemetry::events::clean,
};

/// How often progress is asked for.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);
/// Answers in a row that may fail to come while it is waited: the proxy may be busy, or restart.
const MISSED_MAX: u32 = 20;

pub(super) fn drain(args: &EmptyArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(empty(args, "drain", out))
}

pub(super) fn maintenance(args: &EmptyArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(empty(args, "maintenance", out))
}

async fn empty(args: &EmptyArgs, verb: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let mut admin = Admin::new(&args.admin)?;
    let mut order = Map::new();
    order.insert("force".to_owned(), args.force.into());
    if let Some(rate) = args.rate {
        order.insert("rate".to_owned(), rate.into());
    }
    if let Some(after) = args.force_after {
        order.insert("force_after_ms".to_owned(), ms(after).into());
    }
    let path = format!("/v1/nodes/{}/{verb}", segment(&args.node));
    let begun = admin.post(&path, &Value::Object(order)).await?;
    if !args.wait {
        return say(out, args.json, &begun, || begun_words(&args.node));
    }
    let status = follow(&admin, &args.node, args.json, &mut signals).await?;
    let value = serde_json::to_value(&status).unwrap_or_default();
    say(out, args.json, &value, || end_words(&status))?;
    match status.progress.stage {
        Stage::Done => Ok(()),
        _ => Err(Failure::Refused(format!("{}: the drain was called off", clean(&args.node)))),
    }
}

/// Waits until the drain is over, with a bar on the terminal.
async fn follow(
    admin: &Admin,
    node: &str,
    is_quiet: bool,
    signals: &mut Signals,
) -> Result<DrainStatus, Failure> {
    let path = format!("/v1/nodes/{}/drain", segment(node));
    let bar = bar(node, is_quiet);
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut missed = 0;
    loop {
        tokio::select! {
            signal = signals.next() => {
                bar.abandon();
                return Err(Failure::StillDraining { node: clean(node), signal });
            }
            _ = ticks.tick() => {}
        }
        let status = match admin.get(&path).await.and_then(read) {
            Ok(status) => status,
            Err(error @ Failure::Unavailable(_)) if missed < MISSED_MAX => {
                missed += 1;
                bar.set_message(error.to_string().lines().next().unwrap_or_default().to_owned());
                continue;
            }
            Err(error) => return Err(error),
        };
        missed = 0;
        show(&bar, &status.progress);
        if status.progress.stage.is_over() {
            bar.finish_and_clear();
            return Ok(status);
        }
    }
}

fn read(answer: Value) -> Result<DrainStatus, Failure> {
    serde_json::from_value(answer)
        .map_err(|error| Failure::Unavailable(format!("the answer is no drain of this version: {error}")))
}

fn bar(node: &str, is_quiet: bool) -> ProgressBar {
    let target = if is_quiet || !std::io::stderr().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(clean(node));
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(u64::try_from(progress.sessions).unwrap_or(u64::MAX));
    let gone = progress.sessions.saturating_sub(progress.remaining);
    bar.set_position(u64::try_from(gone).unwrap_or(u64::MAX));
    let mut words = format!("{:.0}/s, {} left", progress.rate, progress.remaining);
    if let Some(seconds) = progress.remaining_s {
        words.push_str(&format!(", about {seconds} s"));
    }
    if !progress.left.is_empty() {
        words.push_str(&format!("; waits for {}", left_words(&progress.left)));
    }
    bar.set_message(words);
}

fn left_words(left: &[Left]) -> String {
    let each = left.iter().map(|left| format!("{} ({})", left.sessions, clean(&left.reason)));
    each.collect::<Vec<_>>().join(", ")
}

fn begun_words(node: &str) -> String {
    let node = clean(node);
    format!(
        "{node} is being drained. It goes on by itself; `holdfast drain {node} --wait` shows how far it is, \
         `holdfast undrain {node}` calls it off."
    )
}

fn end_words(status: &DrainStatus) -> String {
    let progress = &status.progress;
    let seconds = status.lasted_ms as f64 / 1_000.0;
    let mut text = format!(
        "{}: {} moved unseen, {} restored by force, {} ended by themselves, in {seconds:.1} s",
        clean(&status.node),
        progress.moved,
        progress.forced,
        progress.ended
    );
    if !progress.left.is_empty() {
        text.push_str(&format!("; left: {}", left_words(&progress.left)));
    }
    text
}

pub(super) fn undrain(args: &UndrainArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(async {
        let mut admin = Admin::new(&args.admin)?;
        let path = format!("/v1/nodes/{}/undrain", segment(&args.node));
        let node = admin.post(&path, &json!({})).await?;
        say(out, args.json, &node, || format!("{} is in use again.", clean(&args.node)))
    })
}

pub(super) fn rebalance(args: &RebalanceArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(async {
        let mut signals = Signals::catch()?;
        let mut admin = Admin::new(&args.admin)?;
        let order = args.rate.map_or_else(|| json!({}), |rate| json!({ "rate": rate }));
        let answer = admin.post("/v1/rebalance", &order).await?;
        let relieved = answer.get("relieved").and_then(Value::as_array).cloned().unwrap_or_default();
        let nodes: Vec<String> =
            relieved.iter().filter_map(|one| Some(one.get("node")?.as_str()?.to_owned())).collect();
        if !args.wait {
            return say(out, args.json, &answer, || relieved_words(&nodes));
        }
        let mut all = Vec::new();
        for node in &nodes {
            all.push(follow(&admin, node, args.json, &mut signals).await?);
        }
        let value = json!({ "relieved": all });
        say(out, args.json, &value, || match &*all {
            [] => relieved_words(&nodes),
            all => all.iter().map(end_words).collect::<Vec<_>>().join("\n"),
        })
    })
}

fn relieved_words(nodes: &[String]) -> String {
    match nodes {
        [] => "No node has more than its share.".to_owned(),
        nodes => format!("Sessions leave {}.", clean(&nodes.join(", "))),
    }
}

/// Says it in one line of JSON, or in words.
pub(super) fn say(
    out: &mut impl Write,
    json: bool,
    value: &Value,
    words: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json {
        told(writeln!(out, "{value}"));
    } else {
        told(writeln!(out, "{}", words()));
    }
    Ok(())
}

/// A name in a path. Those of nodes have letters, digits, `.`, `_` and `-`; of anything else there is no node.
fn segment(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_is_named_with_the_reason() {
        let progress = Progress {
            moved: 7,
            left: vec![Left { reason: "a call".to_owned(), sessions: 2 }],
            ..Progress::default()
        };
        let status =
            DrainStatus { node: "a".to_owned(), lasted_ms: 1_500, progress, ..DrainStatus::default() };
        let words = end_words(&status);
        assert_eq!(
            words,
            "a: 7 moved unseen, 0 restored by force, 0 ended by themselves, in 1.5 s; left: 2 (a call)"
        );
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        assert_eq!(segment("wcs-a.example_1"), "wcs-a.example_1");
        assert_eq!(segment("../rebalance?x"), ".._rebalance_x");
    }
}
