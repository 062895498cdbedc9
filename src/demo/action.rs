//! The buttons of the page, and what each does to a server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::milliseconds::ms;

/// How long `freeze` lasts.
pub(super) const FREEZE: Duration = Duration::from_secs(5);

/// What a button does; where nothing else is said, to the server that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill {
        back_after: Duration,
    },
    /// Then there is nowhere to go until they are back.
    KillBoth {
        back_after: Duration,
    },
    /// As `holdfast drain` does, and back into use when it is empty.
    Drain,
    Freeze,
    Cut,
    /// Both of them.
    RefuseH264,
}

impl Action {
    pub(super) fn named(name: &str) -> Option<Self> {
        let back_after = Duration::from_secs;
        Some(match name {
            "kill" => Self::Kill { back_after: back_after(5) },
            "kill-both" => Self::KillBoth { back_after: back_after(2) },
            "kill-both-20" => Self::KillBoth { back_after: back_after(20) },
            "drain" => Self::Drain,
            "freeze" => Self::Freeze,
            "cut" => Self::Cut,
            "refuse-h264" => Self::RefuseH264,
            _ => return None,
        })
    }

    /// What the control port of a server is told, and by which path; none for what is done without it.
    pub(super) fn order(self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Kill { .. } | Self::KillBoth { .. } | Self::Drain => return None,
            Self::Freeze => {
                let for_ms = ms(FREEZE);
                ("/fault", json!({"fault": "freeze", "for_ms": for_ms}))
            }
            Self::Cut => ("/fault", json!({"fault": "drop", "how": "reset"})),
            Self::RefuseH264 => ("/switch", json!({"streams": {"refuse_publish_codecs": ["H264"]}})),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::simulator::{Fault, SimulatorSettings};

    #[test]
    fn the_server_understands_every_button() {
        let page = include_str!("page.html");
        let mut buttons = 0;
        for (_, rest) in
            page.match_indices("data-action=\"").map(|(at, found)| page.split_at(at + found.len()))
        {
            let name = rest.split('"').next().unwrap();
            buttons += 1;
            match Action::named(name).unwrap().order() {
                None => assert!(name.starts_with("kill") || name == "drain", "{name}"),
                Some(("/fault", order)) => drop(serde_json::from_value::<Fault>(order).unwrap()),
                Some(("/switch", order)) => drop(SimulatorSettings::default().with(&order).unwrap()),
                Some((path, _)) => unreachable!("{path}"),
            }
        }
        assert_eq!(buttons, 7);
    }
}
