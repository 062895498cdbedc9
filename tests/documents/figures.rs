//! Figures in documents are values of settings, or were measured: then a document says by what, and they are there. The rule
//! is told in `docs/README.md`.

use std::path::Path;

use crate::{read, root};

/// Units of what is measured. KiB and MiB are those of bounds.
const UNITS: [&str; 9] = ["ms", "µs", "s", "%", "KB", "MB", "bytes", "Mbit/s", "times"];
/// Figures that no command of this repository printed may not become a habit.
const ELSEWHERE_MAX: usize = 1;

/// The figures of the rows with a source that are not in it. A row is `| what | figure | [name](source) |`.
fn figures_not_in_their_source(markdown: &str, source: impl Fn(&str) -> String) -> (usize, Vec<String>) {
    let mut found = 0;
    let mut wrong = Vec::new();
    for line in markdown.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, figure, from] = cells[..] else { continue };
        let Some(path) = from.strip_prefix('[').and_then(|rest| rest.split(['(', ')']).nth(1)) else {
            continue;
        };
        found += 1;
        let number = figure.split(' ').next().unwrap();
        let is_there = source(path)
            .split(|c: char| c.is_whitespace() || "()–|;:".contains(c))
            .any(|word| word.trim_end_matches([',', '.']) == number);
        if !number.contains(|c: char| c.is_ascii_digit()) || !is_there {
            wrong.push(format!("{line}: {number} is not in {path}"));
        }
    }
    (found, wrong)
}

/// A paragraph, an item of a list, a table, or what a block shows.
#[derive(Debug, Default)]
struct Passage {
    line: usize,
    text: String,
    kind: Kind,
    /// A comment before it says who measured its figures.
    is_from_elsewhere: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Text,
    Table,
    /// Fenced, and no commands or configuration.
    Shown,
    Fenced,
}

fn passages(markdown: &str) -> Vec<Passage> {
    let mut found: Vec<Passage> = Vec::new();
    let (mut fence, mut comment, mut is_apart, mut is_from_elsewhere) = (false, false, true, false);
    for (line, text) in markdown.lines().enumerate() {
        let trimmed = text.trim_start();
        if !fence && (comment || trimmed.starts_with("<!--")) {
            is_from_elsewhere |= trimmed.starts_with("<!-- measured elsewhere: ");
            comment = !trimmed.contains("-->");
            is_apart = true;
            continue;
        }
        let kind = if fence {
            found.last().map_or(Kind::Fenced, |passage| passage.kind)
        } else if let Some(language) = trimmed.strip_prefix("```") {
            if ["", "text"].contains(&language) { Kind::Shown } else { Kind::Fenced }
        } else if trimmed.starts_with('|') {
            Kind::Table
        } else {
            Kind::Text
        };
        let is_fence = trimmed.starts_with("```");
        if !fence && trimmed.is_empty() {
            is_apart = true;
            continue;
        }
        let begins = is_apart
            || (is_fence && !fence)
            || (!fence && (trimmed.starts_with("- ") || found.last().is_some_and(|last| last.kind != kind)));
        if begins {
            let is_from_elsewhere = std::mem::take(&mut is_from_elsewhere);
            found.push(Passage { line: line + 1, kind, is_from_elsewhere, ..Passage::default() });
        }
        is_apart = is_fence && fence;
        fence ^= is_fence;
        if let Some(passage) = found.last_mut().filter(|_| !is_fence) {
            passage.text.push_str(text);
            passage.text.push('\n');
        }
    }
    found
}

/// Every other piece between these, beginning with the first or the second.
fn between(text: &str, mark: char, first: usize) -> Vec<&str> {
    text.split(mark).skip(first).step_by(2).collect()
}

/// The text without code, and without where links lead.
fn plain(text: &str) -> String {
    let text = between(text, '`', 0).join(" ");
    text.split("](")
        .enumerate()
        .map(|(nth, part)| if nth == 0 { part } else { part.split_once(')').map_or("", |cut| cut.1) })
        .collect()
}

/// Each word that is a number, without what stands around it, and what comes behind it.
fn numbers(text: &str) -> Vec<(String, String)> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c == '|').filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (nth, word) in words.iter().enumerate() {
        let word = word.trim_matches(|c: char| "(),.;:*–".contains(c));
        let (number, unit) = match word.strip_suffix('%') {
            Some(number) => (number, "%"),
            None => (word, words.get(nth + 1).copied().unwrap_or_default()),
        };
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '.');
        if is_number {
            let unit = unit.trim_matches(|c: char| "(),.;:*".contains(c));
            found.push((number.to_owned(), unit.to_owned()));
        }
    }
    found
}

impl Passage {
    fn has_figures(&self) -> bool {
        let is_ratio =
            self.kind == Kind::Table && self.text.lines().next().is_some_and(|head| head.contains('×'));
        let text = if self.kind == Kind::Shown { self.text.clone() } else { plain(&self.text) };
        is_ratio || numbers(&text).iter().any(|(_, unit)| UNITS.contains(&&**unit))
    }

    /// Whether it names a setting, or a flag.
    fn names_a_setting(&self, settings: &str) -> bool {
        between(&self.text, '`', 1).iter().any(|span| {
            let word = span.split([' ', '=']).next().unwrap_or_default();
            let key = word.rsplit('.').next().unwrap_or_default();
            let is_key = key.contains('_')
                && settings.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == key);
            word.starts_with("--") || is_key
        })
    }

    /// Files of results to which it leads.
    fn results(&self) -> Vec<&str> {
        let links = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let is_results = |path: &&str| {
            (path.starts_with("benches/") || path.starts_with("tests/"))
                && Path::new(path).extension().is_some_and(|end| end == "md")
        };
        links.filter(is_results).collect()
    }

    /// Whether it names a command that prints what stands behind it.
    fn names_a_command(&self) -> bool {
        let programs = ["holdfast ", "scripts/", "python3 ", "node ", "cargo "];
        between(&self.text, '`', 1)
            .iter()
            .any(|span| programs.iter().any(|program| span.starts_with(program)))
    }
}

fn value(number: &str) -> f64 {
    number.replace(',', "").parse().unwrap_or(f64::NAN)
}

/// Half of the last digit that is told: 98,000 is told to a thousand, 0.8 to a tenth.
fn rounded_by(number: &str) -> f64 {
    let digits = number.replace(',', "");
    match digits.split_once('.') {
        Some((_, behind)) => 0.5 / 10_f64.powi(i32::try_from(behind.len()).unwrap()),
        None => 0.5 * 10_f64.powi(i32::try_from(digits.len() - digits.trim_end_matches('0').len()).unwrap()),
    }
}

/// Whether a file has this number, rounded, in its unit or in the one above or below (ms, s).
fn is_in(number: &str, source: &[f64]) -> bool {
    let (told, by) = (value(number), rounded_by(number));
    source
        .iter()
        .any(|exact| [1.0, 1_000.0, 0.001].iter().any(|scale| (exact * scale - told).abs() <= by * 1.000_001))
}

/// What is wrong with the figures of a document, and how many were looked up.
fn look(markdown: &str, settings: &str, source: impl Fn(&str) -> String) -> (usize, Vec<String>) {
    let all = passages(markdown);
    let (mut found, mut wrong, mut elsewhere) = (0, Vec::new(), 0);
    for (nth, passage) in all.iter().enumerate().filter(|(_, passage)| passage.has_figures()) {
        let line = passage.line;
        let before = nth.checked_sub(1).map(|nth| &all[nth]);
        match passage.kind {
            Kind::Fenced => continue,
            Kind::Shown => {
                if !before.is_some_and(Passage::names_a_command) {
                    wrong.push(format!("{line}: no command before what one printed"));
                }
                continue;
            }
            Kind::Text | Kind::Table => {}
        }
        if passage.is_from_elsewhere {
            elsewhere += 1;
            continue;
        }
        let mut results = passage.results();
        let mut is_named = passage.names_a_setting(settings);
        if let Some(before) =
            before.filter(|_| passage.kind == Kind::Table && results.is_empty() && !is_named)
        {
            results = before.results();
            is_named = before.names_a_setting(settings);
        }
        if results.is_empty() {
            if !is_named {
                wrong.push(format!(
                    "{line}: figures of neither a setting nor a file of results: {}",
                    passage.text
                ));
            }
            continue;
        }
        let texts: Vec<String> = results.iter().map(|path| source(path)).collect();
        let known: Vec<f64> =
            texts.iter().flat_map(|text| numbers(text)).map(|(number, _)| value(&number)).collect();
        for (number, _) in numbers(&plain(&passage.text)) {
            found += 1;
            if !is_in(&number, &known) {
                wrong.push(format!("{line}: {number} is not in {}", results.join(", ")));
            }
        }
    }
    if elsewhere > ELSEWHERE_MAX {
        wrong.push(format!("{elsewhere} passages have figures from elsewhere"));
    }
    (found, wrong)
}

#[test]
fn each_figure_of_the_readme_is_a_settings_or_says_what_measured_it() {
    let (found, wrong) =
        look(&read("README.md"), &read("config/holdfast.toml"), |path| read(Path::new(path)));
    assert!(wrong.is_empty(), "docs/README.md#figures has the rule:\n{}", wrong.join("\n"));
    assert!(found > 50, "{found}");
    for script in ["benches/compare/compare.py", "benches/media/media.py", "benches/pool/pool.py"] {
        let (results, name) =
            (Path::new(script).with_file_name("RESULTS.md"), script.rsplit('/').next().unwrap());
        assert!(
            root().join(script).exists() && read(&results).contains(name),
            "{results:?} is not by {script}"
        );
    }
}

#[test]
fn figures_are_those_of_the_tables_they_come_from() {
    let (found, wrong) =
        figures_not_in_their_source(&read("docs/sizing.md"), |path| read(Path::new("docs").join(path)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 10, "{found}");
}

// That the checks bite.

#[test]
fn a_figure_of_nobody_is_found() {
    let text = "| x | 1,234 µs | [a](b.md) |\n| y | 0.8 s | [a](b.md) |\n| y | 23 | [a](b.md) |\n| z | 9 |\n";
    let (found, wrong) =
        figures_not_in_their_source(text, |_| "| 1,234 (1,2–3) | 230 |, at most 0.8 s.".to_owned());
    assert_eq!((found, wrong.len()), (3, 1), "{wrong:?}");
}

#[test]
fn a_passage_with_figures_of_nobody_is_found() {
    let wrong = |markdown: &str| {
        let source = |_: &str| "| a | 98,049 | 774 |\n| b | 0.25 |".to_owned();
        look(markdown, "[limits]\nshutdown_ms_max = 5\n", source).1.len()
    };
    for well in [
        "Closed within `limits.shutdown_ms_max` (5 s), or `--over 9s`.",
        "About 98,000 of them, all back after 0.8 s ([results](benches/x/RESULTS.md)).",
        "From [results](benches/x/RESULTS.md):\n\n| | × nginx |\n|---|---|\n| memory | 0.25 |",
        "`scripts/quickstart` prints:\n\n```text\n 2 s up\n```",
        "No figure: 2 cores, version 1.22, 64 KiB, the 99th, `5 s`.",
        "```sh\nsleep 5 # 5 s\n```",
        "<!-- measured elsewhere: by somebody -->\n\nIt took 3 s.",
    ] {
        assert_eq!(wrong(well), 0, "{well}");
    }
    for bad in [
        "It took 3 s.",
        "- one\n- It took 3 %.\n",
        "It took 40% of `time`.",
        "After 0.9 s ([results](benches/x/RESULTS.md)).",
        "About 97,000 ms ([results](benches/x/RESULTS.md)).",
        "From somewhere:\n\n| | × nginx |\n|---|---|\n| memory | 0.25 |",
        "From [results](benches/x/RESULTS.md):\n\n| | × nginx |\n|---|---|\n| memory | 0.26 |",
        "It prints:\n\n```text\n 2 s up\n```",
        "<!-- measured elsewhere: a -->\nIt took 3 s.\n\n<!-- measured elsewhere: b -->\nIt took 4 s.",
    ] {
        assert_eq!(wrong(bad), 1, "{bad}");
    }
}
