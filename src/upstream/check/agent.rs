//! What the agent of a node says: one line of HAProxy's text protocol (protocol S14.2). Reading only.

use crate::upstream::node::Wish;

/// Longest line that is read, in bytes; the rest of a longer one is not looked at.
pub(super) const LINE_BYTES_MAX: usize = 512;
/// Largest part of its weight that a node may ask for, in percent.
const PERCENT_MAX: u16 = 1_000;

/// What one line says; what it does not speak of stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AgentReport {
    /// Whether it is up; if not, why.
    pub(crate) health: Option<Result<(), Box<str>>>,
    /// What it wants of those who use it.
    pub(crate) wish: Option<Wish>,
    /// The part of its weight that it can bear.
    pub(crate) percent: Option<u16>,
}

impl AgentReport {
    /// Reads a line. Words that mean nothing here, such as `maxconn:30`, are passed over.
    pub(crate) fn read(line: &str) -> Self {
        let line = line.lines().next().unwrap_or_default();
        let (words, comment) = line.split_once('#').unwrap_or((line, ""));
        let mut report = Self::default();
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "up" => report.health = Some(Ok(())),
                word @ ("down" | "fail" | "failed" | "stopped") => {
                    let reason = comment.trim();
                    let reason = if reason.is_empty() { "" } else { &format!(": {reason}") };
                    report.health = Some(Err(format!("its agent says {word}{reason}").into()));
                }
                "ready" => report.wish = Some(Wish::InUse),
                "drain" => report.wish = Some(Wish::Drain),
                "maint" => report.wish = Some(Wish::Maintenance),
                word => {
                    let percent = word.strip_suffix('%').and_then(|number| number.parse::<u16>().ok());
                    report.percent = percent.map(|percent| percent.min(PERCENT_MAX)).or(report.percent);
                }
            }
        }
        // Such an agent says `up 100%` where others say `ready`.
        if report.wish.is_none()
            && report.health == Some(Ok(()))
            && report.percent.is_some_and(|part| part > 0)
        {
            report.wish = Some(Wish::InUse);
        }
        report
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_as_haproxy_documents_them() {
        let up = Some(Ok(()));
        let down = |why: &str| Some(Err(why.into()));
        for (line, health, wish, percent) in [
            ("up\n", up.clone(), None, None),
            ("75%\r\n", None, None, Some(75)),
            ("drain\n", None, Some(Wish::Drain), None),
            ("maint", None, Some(Wish::Maintenance), None),
            ("ready", None, Some(Wish::InUse), None),
            ("up 100%", up.clone(), Some(Wish::InUse), Some(100)),
            ("ready,up\t50%", up, Some(Wish::InUse), Some(50)),
            ("DOWN#disk full\n", down("its agent says down: disk full"), None, None),
            ("stopped", down("its agent says stopped"), None, None),
            ("fail #x\nup", down("its agent says fail: x"), None, None),
            ("up 0%", Some(Ok(())), None, Some(0)),
            ("maxconn:30 99999%", None, None, None),
            ("60000%", None, None, Some(1_000)),
            ("", None, None, None),
            ("-5% %", None, None, None),
        ] {
            assert_eq!(AgentReport::read(line), AgentReport { health, wish, percent }, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            let report = AgentReport::read(&text);
            prop_assert!(report.percent.is_none_or(|percent| percent <= PERCENT_MAX));
        }
    }
}
