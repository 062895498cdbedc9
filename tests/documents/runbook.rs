//! The runbook has an entry for each alert and each event of the log, and for nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{read, root};

/// The names that the headings below these sections have.
fn entries(markdown: &str, sections: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for section in markdown.split("\n## ").filter(|section| section.starts_with(sections)) {
        let headings = section.lines().filter_map(|line| line.strip_prefix("### "));
        found.extend(
            headings.flat_map(|heading| heading.split(", ")).map(|name| name.trim_matches('`').to_owned()),
        );
    }
    found
}

fn sources(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// The events that the program writes: names beside `event = ` in its source, tests apart, and those of session cores.
fn events() -> BTreeSet<String> {
    let mut texts = Vec::new();
    sources(&root().join("src"), &mut texts);
    let is_name = |name: &&str| {
        name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') && name.len() > 2
    };
    let mut found = BTreeSet::new();
    for text in &texts {
        let code = text.split("#[cfg(test)]\n#[allow").next().unwrap();
        let named = code.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(named.filter(is_name).map(str::to_owned));
    }
    let of_cores = read("src/telemetry/events/session.rs");
    let facts = of_cores.split("fn facts").nth(1).unwrap().split("\n}\n").next().unwrap();
    found.extend(facts.split("=> (\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    assert!(found.len() > 40, "{found:?}");
    found
}

/// The events of the table for developers.
fn table() -> BTreeSet<String> {
    let text = read("src/telemetry/events.rs");
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `")?.split(" |").next());
    rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned()).collect()
}

fn alerts() -> BTreeSet<String> {
    let text = read("packaging/monitoring/alerts.yml");
    text.split("- alert: ").skip(1).filter_map(|rest| rest.lines().next()).map(str::to_owned).collect()
}

fn assert_same(left: (&str, &BTreeSet<String>), right: (&str, &BTreeSet<String>)) {
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join(", ");
    let (left_only, right_only) = (only(left.1, right.1), only(right.1, left.1));
    assert!(left_only.is_empty(), "not in {}: {left_only}", right.0);
    assert!(right_only.is_empty(), "not in {}: {right_only}", left.0);
}

#[test]
fn each_event_of_the_log_has_its_entry_and_its_row() {
    let runbook = entries(&read("docs/runbook.md"), "Events of");
    assert_same(("the sources", &events()), ("docs/runbook.md", &runbook));
    assert_same(("the sources", &events()), ("the table of src/telemetry/events.rs", &table()));
}

#[test]
fn each_alert_has_its_entry_and_leads_to_it() {
    let runbook = entries(&read("docs/runbook.md"), "Alerts");
    assert_same(("packaging/monitoring/alerts.yml", &alerts()), ("docs/runbook.md", &runbook));
    let rules = read("packaging/monitoring/alerts.yml");
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let anchor = format!("runbook: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&anchor), "{name} has no annotation `{}`", anchor.trim());
    }
}

#[test]
fn each_entry_says_what_to_do() {
    let runbook = read("docs/runbook.md");
    let mut wrong = Vec::new();
    for entry in runbook.split("\n### ").skip(1) {
        let (heading, text) = entry.split_once('\n').unwrap();
        let text = text.split("\n## ").next().unwrap().trim();
        if text.len() < 40 || !text.contains("**Do") {
            wrong.push(heading);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn an_entry_is_found_by_its_heading() {
    let text = "# x\n\n## Events of a\n\n### One\n\ntext\n\n## Events of b\n\n### `two`, `three`\n\n## Other\n\n### Four\n";
    assert_eq!(entries(text, "Events of").into_iter().collect::<Vec<_>>(), ["One", "three", "two"]);
}
