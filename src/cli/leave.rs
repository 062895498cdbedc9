//! `holdfast drain-self`: the running proxy is to end in good order.
//!
//! The proxy does the work and goes on with it whoever looks; it is over when nobody answers any more.

use std::io::Write;

use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Failure,
    admin::Admin,
    args::LeaveArgs,
    operate::{ASK_EVERY, say},
    signals::Signals,
};
use crate::{
    milliseconds::ms,
    net::{LeaveStage, LeaveStatus},
    telemetry::events::clean,
};

/// So many answers in a row that do not come are its end: it may be busy.
const MISSED_MAX: u32 = 3;
const PATH: &str = "/v1/drain-self";

pub(super) fn run(args: &LeaveArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(leave(args, out))
}

async fn leave(args: &LeaveArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let mut admin = Admin::new(&args.admin)?;
    if args.cancel {
        let status = admin.post(&format!("{PATH}/cancel"), &json!({})).await?;
        return say(out, args.json, &status, || "It serves on.".to_owned());
    }
    let mut order = Map::new();
    for (name, time) in [("grace_ms", args.grace), ("stay_ms", args.stay_for), ("over_ms", args.over)] {
        if let Some(time) = time {
            order.insert(name.to_owned(), ms(time).into());
        }
    }
    let begun = admin.post(PATH, &Value::Object(order)).await?;
    if !args.wait {
        return say(out, args.json, &begun, || words(&read(&begun).unwrap_or_default()));
    }
    let last = follow(&admin, read(&begun)?, args.json, &mut signals).await?;
    if last.stage == LeaveStage::Serving {
        return Err(Failure::Refused("the drain was called off: the proxy serves on".to_owned()));
    }
    let value = serde_json::to_value(&last).unwrap_or_default();
    say(out, args.json, &value, || end_words(&last))
}

/// Waits until nobody answers any more, and tells each stage; the last that was heard.
async fn follow(
    admin: &Admin,
    mut last: LeaveStatus,
    is_quiet: bool,
    signals: &mut Signals,
) -> Result<LeaveStatus, Failure> {
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut told, mut missed) = (None, 0);
    loop {
        if !is_quiet && told != Some(last.stage) {
            eprintln!("{}", words(&last));
            told = Some(last.stage);
        }
        if matches!(last.stage, LeaveStage::Serving | LeaveStage::Ended) {
            return Ok(last);
        }
        tokio::select! {
            signal = signals.next() => return Err(Failure::StillLeaving(signal)),
            _ = ticks.tick() => {}
        }
        match admin.get(PATH).await {
            Ok(answer) => (last, missed) = (read(&answer)?, 0),
            // Its port closes with the process.
            Err(Failure::Unavailable(_)) if missed + 1 >= MISSED_MAX => return Ok(last),
            Err(Failure::Unavailable(_)) => missed += 1,
            Err(error) => return Err(error),
        }
    }
}

fn read(answer: &Value) -> Result<LeaveStatus, Failure> {
    LeaveStatus::deserialize(answer)
        .map_err(|error| Failure::Unavailable(format!("the answer is not of this version: {error}")))
}

/// What happens now, for people.
pub(super) fn words(status: &LeaveStatus) -> String {
    let seconds = status.stage_ends_in_ms.div_ceil(1_000);
    let sessions = counted(status.sessions, "session");
    match status.stage {
        LeaveStage::Serving => "serves".to_owned(),
        LeaveStage::Grace => {
            format!("balancers are told; new sessions are still taken for {seconds} s; {sessions}")
        }
        LeaveStage::Staying => {
            format!("takes no new sessions; {sessions} may stay for {seconds} s at most")
        }
        LeaveStage::Closing => format!(
            "closes sessions: {sessions} left, {} closed, {seconds} s at most",
            status.sessions_closed
        ),
        LeaveStage::Ended => "has ended".to_owned(),
    }
}

/// So many of these.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn end_words(last: &LeaveStatus) -> String {
    format!(
        "The proxy has ended: {} when it began, at least {} of them closed (ordered by {}).",
        counted(last.sessions_at_first, "session"),
        last.sessions_closed,
        clean(&last.by)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_says_what_happens_and_for_how_long() {
        let of = |stage| {
            words(&LeaveStatus {
                stage,
                sessions: 7,
                sessions_closed: 3,
                stage_ends_in_ms: 1_500,
                ..LeaveStatus::default()
            })
        };
        assert_eq!(
            of(LeaveStage::Grace),
            "balancers are told; new sessions are still taken for 2 s; 7 sessions"
        );
        assert_eq!(of(LeaveStage::Staying), "takes no new sessions; 7 sessions may stay for 2 s at most");
        assert_eq!(of(LeaveStage::Closing), "closes sessions: 7 sessions left, 3 closed, 2 s at most");
    }
}
