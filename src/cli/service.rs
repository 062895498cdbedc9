//! How a running proxy stands with the service manager: a thread of its own tells it that all is well, so that what
//! hangs elsewhere shows by its silence.

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    net::{LeaveStage, Proxy},
    service_manager,
};

use super::leave;

/// How often it is looked how things stand, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the service manager is told in words, at most, while nothing but numbers changes.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How much longer an end may take than it was when last told: several times [`TOLD_EVERY`].
const END_TAKES: Duration = Duration::from_secs(30);

/// The proxy serves: tells it, and from now on how it is.
pub(super) fn attend(proxy: &Arc<Proxy>) {
    if !service_manager::is_there() {
        return;
    }
    service_manager::ready();
    service_manager::status(&words(proxy));
    let proxy = Arc::downgrade(proxy);
    let begun =
        thread::Builder::new().name("service".to_owned()).spawn(move || Attendant::default().run(&proxy));
    if let Err(error) = begun {
        tracing::error!(%error, "no thread to tell the service manager by: it hears no signs of life");
    }
}

/// A signal has ordered the end.
pub(super) fn stops() {
    service_manager::stopping("is ending");
}

#[derive(Debug, Default)]
struct Attendant {
    told: String,
    told_at: Option<Instant>,
    stage: LeaveStage,
    has_stopped: bool,
    faults: Vec<&'static str>,
}

impl Attendant {
    /// Until the proxy is gone.
    fn run(mut self, proxy: &Weak<Proxy>) {
        let patience = service_manager::watchdog();
        let look_every = patience.map_or(LOOK_EVERY, |patience| (patience / 3).min(LOOK_EVERY));
        while let Some(proxy) = proxy.upgrade() {
            if let Some(patience) = patience
                && self.is_well(&proxy, patience)
            {
                service_manager::lives();
            }
            self.tell(&proxy);
            drop(proxy);
            thread::park_timeout(look_every);
        }
    }

    /// Whether the service manager is to hear that it lives; told once when it is not to.
    fn is_well(&mut self, proxy: &Proxy, patience: Duration) -> bool {
        let faults = proxy.faults(patience);
        if faults != self.faults {
            if faults.is_empty() {
                tracing::warn!(event = "watchdog_resumed", "the service manager hears again that it lives");
            } else {
                let cause = faults.join(", ");
                tracing::error!(
                    event = "watchdog_withheld",
                    cause,
                    "the service manager hears no sign of life"
                );
            }
            self.faults = faults;
        }
        self.faults.is_empty()
    }

    fn tell(&mut self, proxy: &Proxy) {
        let stage = proxy.leaving().stage;
        let is_due = self.told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY);
        if stage == self.stage && !is_due {
            return;
        }
        let words = words(proxy);
        // From here on it does not come back.
        if stage >= LeaveStage::Staying && !std::mem::replace(&mut self.has_stopped, true) {
            service_manager::stopping(&words);
        }
        if stage != LeaveStage::Serving {
            service_manager::ending(&words, END_TAKES);
        } else if words != self.told {
            service_manager::status(&words);
        }
        (self.told, self.told_at, self.stage) = (words, Some(Instant::now()), stage);
    }
}

/// How the proxy is: "212 sessions, 3 in an outage, 2 of 3 nodes up".
fn words(proxy: &Proxy) -> String {
    let leaving = proxy.leaving();
    if leaving.stage != LeaveStage::Serving {
        return leave::words(&leaving);
    }
    let facts = proxy.facts();
    let nodes = proxy.nodes();
    let up = nodes.iter().filter(|node| node.state == "up").count();
    in_words(facts.sessions, facts.outages, (up, nodes.len()))
}

fn in_words(sessions: usize, outages: usize, (up, nodes): (usize, usize)) -> String {
    let outages = if outages > 0 { format!(", {outages} in an outage") } else { String::new() };
    format!("{}{outages}, {up} of {} up", leave::counted(sessions, "session"), leave::counted(nodes, "node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_few_words() {
        assert_eq!(in_words(212, 0, (2, 3)), "212 sessions, 2 of 3 nodes up");
        assert_eq!(in_words(1, 1, (0, 1)), "1 session, 1 in an outage, 0 of 1 node up");
    }
}
