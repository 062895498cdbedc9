//! What code and documents cite has to be there: rules (`rule R7`), facts of the anchor (`fact A5`), the
//! protocol (`protocol S2.9`), links and paths between the files of the repository, and the tests that the
//! tables of lifecycles name. Of an RFC only its number can be checked here: `RFC 6455`, then perhaps a section.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where rules, facts and the protocol are defined.
const DEFINED_IN: [&str; 2] = ["docs/rules.md", "docs/protocol.md"];
/// What is no source of ours.
const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", "artifacts", "corpus", "corpus-found"];
/// What a path from the root begins with.
const TOP: [&str; 12] = [
    "src", "tests", "docs", "scripts", "benches", "fuzz", "config", "core", "lab", "certs", "examples", ".ci",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under a directory with one of these extensions, in a fixed order.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            found.extend(files(&path, extensions));
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a word is `letter` and one or more numbers with dots between them.
fn is_name(word: &str, letter: char) -> bool {
    let Some(numbers) = word.strip_prefix(letter) else { return false };
    numbers.split('.').all(|n| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The names that a document defines: in headings (`### R7. Ghosts`) and at the start of items
/// (`- **S0.2** The SDK ...`).
fn definitions(markdown: &str) -> BTreeSet<String> {
    markdown
        .lines()
        .filter_map(|line| {
            let after = match line.strip_prefix("- **") {
                Some(item) => item.split("**").next()?,
                None if line.starts_with("##") => line.trim_start_matches('#').split_whitespace().next()?,
                None => return None,
            };
            let name = after.trim_end_matches('.');
            ['R', 'S', 'A'].iter().any(|letter| is_name(name, *letter)).then(|| name.to_owned())
        })
        .collect()
}

/// The words of a text with their line. An empty line is an empty word; where `comments_only`, so is code.
fn words(text: &str, comments_only: bool) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let said = if comments_only {
            // The two strokes of an address begin no comment.
            line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map(|(at, _)| &line[at..])
        } else {
            Some(line)
        };
        let Some(said) = said.filter(|said| !said.trim().is_empty()) else {
            words.push((number + 1, ""));
            continue;
        };
        let parts = said.split(|c: char| !c.is_alphanumeric() && c != '.');
        words.extend(parts.map(|w| (number + 1, w.trim_matches('.'))).filter(|(_, w)| !w.is_empty()));
    }
    words
}

/// What a text cites that is not defined, or cites wrongly. Where not `bare`, a name counts only behind
/// `rule`, `protocol` or `fact`.
fn wrong_citations(text: &str, comments_only: bool, bare: bool, defined: &BTreeSet<String>) -> Vec<String> {
    let words = words(text, comments_only);
    let mut wrong = Vec::new();
    for (index, (line, word)) in words.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", |i| words[i].1).to_lowercase();
        let after = words.get(index + 1).map_or("", |w| w.1);
        let announced = matches!(&*before, "rule" | "rules" | "protocol");
        let cites = (is_name(word, 'R') || is_name(word, 'S')) && (bare || announced)
            || is_name(word, 'A') && matches!(&*before, "fact" | "facts");
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        if cites && !defined.contains(*word) {
            wrong.push(format!("{line}: {word} is not defined in {}", DEFINED_IN.join(" or ")));
        } else if announced && is_number || before == "design" && *word == "section" {
            wrong.push(format!("{line}: {before} {word}: cite it by its name, as R7 or S2.9"));
        } else if *word == "RFC" && !after.parse().is_ok_and(|n| (1..10_000_u32).contains(&n)) {
            wrong.push(format!("{line}: RFC {after}: no number of an RFC"));
        } else if comments_only
            && word.strip_prefix("RFC").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        {
            wrong.push(format!("{line}: {word}: write RFC, a blank, and the number"));
        }
    }
    wrong
}

/// The text without fenced blocks, each line kept.
fn prose(markdown: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        lines.push(if fenced || fence { "" } else { line });
    }
    lines.join("\n")
}

/// The anchors of a document's headings, as the sites that show it make them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for heading in prose(markdown).lines().filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(again).find(|s| !made.contains(s));
        made.extend(free);
    }
    made
}

/// The targets of the links of a document, with their line.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let prose = prose(markdown);
    let mut found = Vec::new();
    for (number, line) in prose.lines().enumerate() {
        for part in line.split("](").skip(1) {
            found.extend(part.split(')').next().map(|target| (number + 1, target.to_owned())));
        }
    }
    found
}

/// Links of a document, at this place, that lead nowhere.
fn broken_links(place: &Path, markdown: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, target) in links(markdown) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let file = if path.is_empty() { place.to_owned() } else { place.parent().unwrap().join(path) };
        if !path.is_empty() && !file.exists() {
            broken.push(format!("{line}: {target}: no such file"));
            continue;
        }
        let is_document = file.extension().is_some_and(|e| e == "md");
        let text =
            if path.is_empty() { markdown.to_owned() } else { fs::read_to_string(&file).unwrap_or_default() };
        if is_document && !anchor.is_empty() && !anchors(&text).contains(anchor) {
            broken.push(format!("{line}: {target}: no such heading"));
        }
    }
    broken
}

/// Paths from the root between backquotes that are not there. What has a `*` or other placeholder is no path.
fn missing_paths(text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            let is_path = quoted.split_once('/').is_some_and(|(top, _)| TOP.contains(&top))
                && quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && !root().join(quoted).exists() {
                missing.push(format!("{}: {quoted}: no such file", number + 1));
            }
        }
    }
    missing
}

/// The names of all tests in the sources: functions under an attribute that ends with `test`, or has it with
/// arguments.
fn tests_in<'a>(sources: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let mut is_test = false;
        for line in source.lines().map(str::trim_start) {
            if let Some(attribute) = line.strip_prefix("#[") {
                let path = attribute.split(['(', ']']).next().unwrap_or_default();
                is_test |= path.rsplit("::").next() == Some("test");
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                names.extend(rest.split('(').next().map(str::to_owned));
                is_test = false;
            }
        }
    }
    names
}

/// The rows of tables with a last column `shown by`: number of the line, and what is in that column.
fn transitions(markdown: &str) -> Vec<(usize, &str)> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for (number, line) in markdown.lines().enumerate() {
        if line.starts_with("|-") {
            continue;
        }
        let last = line.trim_end().trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        if in_table && line.starts_with('|') {
            rows.push((number + 1, last));
        }
        in_table = line.starts_with('|') && (in_table || last == "shown by");
    }
    rows
}

/// Transitions that name no test, or one that is not there.
fn transitions_not_shown(markdown: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, shown_by) in transitions(markdown) {
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("{line}: no test shows this"));
        }
        let missing = named.iter().filter(|name| !tests.contains(**name));
        wrong.extend(missing.map(|name| format!("{line}: there is no test {name}")));
    }
    wrong
}

/// Runs a check over files, and tells all that it finds.
fn check(paths: &[PathBuf], found_in: impl Fn(&Path, &str) -> Vec<String>) {
    assert!(!paths.is_empty(), "nothing to look at");
    let told = |path: &PathBuf| {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        found_in(path, &read(path)).into_iter().map(move |what| format!("{shown}:{what}")).collect::<Vec<_>>()
    };
    let found: Vec<String> = paths.iter().flat_map(told).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn all_definitions() -> BTreeSet<String> {
    DEFINED_IN.iter().flat_map(|path| definitions(&read(&root().join(path)))).collect()
}

#[test]
fn every_rule_and_every_section_has_its_place() {
    let defined = all_definitions();
    let names = |letter: char, last: u32| (1..=last).map(move |n| format!("{letter}{n}"));
    let expected =
        names('R', 14).chain(names('S', 13)).chain(["S0.6", "S2.10", "S10.20", "S13.10"].map(String::from));
    let missing: Vec<String> = expected.filter(|name| !defined.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn comments_cite_what_is_defined() {
    let defined = all_definitions();
    let sources: Vec<PathBuf> =
        files(root(), &["rs"]).into_iter().filter(|path| !path.ends_with("tests/citations.rs")).collect();
    check(&sources, |_, text| wrong_citations(text, true, true, &defined));
}

#[test]
fn documents_and_scripts_cite_what_is_defined() {
    let defined = all_definitions();
    check(&files(&root().join("docs"), &["md"]), |_, text| wrong_citations(text, false, true, &defined));
    let others = files(root(), &["md", "toml", "mjs", "js", "py", "html"]);
    check(&others, |_, text| wrong_citations(text, false, false, &defined));
}

#[test]
fn links_lead_somewhere() {
    check(&files(root(), &["md"]), broken_links);
}

#[test]
fn paths_in_documents_exist() {
    check(&files(root(), &["md"]), |_, text| missing_paths(text));
}

#[test]
fn each_transition_of_a_lifecycle_is_shown_by_a_test() {
    let sources: Vec<String> = files(root(), &["rs"]).iter().map(|path| read(path)).collect();
    let tests = tests_in(sources.iter().map(String::as_str));
    let mut lifecycles = files(root(), &["md"]);
    lifecycles.retain(|path| path.ends_with("LIFECYCLE.md"));
    check(&lifecycles, |path, text| {
        assert!(transitions(text).len() > 20, "{}: where are its tables?", path.display());
        let heads = text.lines().filter(|line| line.starts_with("| state |"));
        assert!(heads.clone().count() > 0 && heads.clone().all(|head| head.ends_with("| shown by |")));
        transitions_not_shown(text, &tests)
    });
}

// That the checks bite.

#[test]
fn a_transition_without_its_test_is_found() {
    let tests = tests_in([
        "#[test]\nfn one() {}\n#[tokio::test(flavor = \"x\")]\nasync fn two() {}\nfn three() {}\n",
    ]);
    assert_eq!(tests.len(), 2, "{tests:?}");
    let table = "| state | shown by |\n|---|---|\n| A | `one`, `two` |\n| B | `three` |\n| C | – |\n| D | |\n\n| x | y |\n|---|---|\n| E | – |\n";
    let found = transitions_not_shown(table, &tests);
    assert_eq!(found, ["4: there is no test three", "5: no test shows this", "6: no test shows this"]);
}

#[test]
fn a_wrong_citation_is_found() {
    let defined = definitions("### R7. Ghosts\n## S2. Messages\n- **S0.2** The SDK\n- **A5** DTLS\n");
    assert_eq!(defined.len(), 4);
    let code = "/// As rule R7, protocol S0.2 and fact A5 have it (RFC 7983).\nlet url = \"ws://R9\"; // R15\n\
                fn f<R8>() {} // protocol 2.9, RFC6455\n/// (protocol S2.4; fact A6; RFC\n/// 8445 5.1.2)\n\
                /// As design section 4 says: RFC what\n";
    let found = wrong_citations(code, true, true, &defined);
    let lines: Vec<&str> = found.iter().map(|f| f.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "3", "3", "4", "4", "6", "6"], "{found:#?}");
    assert_eq!(wrong_citations("Amazon S3, rule R8", false, false, &defined).len(), 1);
}

#[test]
fn a_broken_link_is_found() {
    let text = "# One & `two`\n[a](#one--two) [b](#three) [c](rules.md) [d](rules.md#r7-ghosts)\n\
                ```\n[e](nowhere.md)\n```\n[f](nowhere.md) [g](rules.md#no-such-thing) [h](https://example.org/)\n";
    let found = broken_links(&root().join("docs/here.md"), text);
    let lines: Vec<&str> = found.iter().map(|f| f.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "6", "6"], "{found:#?}");
}

#[test]
fn a_missing_path_is_found() {
    assert_eq!(missing_paths("`src/lib.rs` `src/none.rs` `tests/media_*.rs` `wss/none`").len(), 1);
}
