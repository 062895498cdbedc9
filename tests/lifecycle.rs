//! The tables of states name a test for each row: it has to be there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The documents with such tables.
const DOCUMENTS: [&str; 1] = ["src/media/LIFECYCLE.md"];

/// The names of all tests in the sources under a directory.
fn tests_in(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_of(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The names of the functions that bear an attribute of a test.
fn tests_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
            && std::mem::take(&mut is_test)
        {
            names.extend(name.split(['(', '<']).next().map(str::to_owned));
        }
    }
    names
}

/// The rows of all tables but their heads: number of the line, and the last cell.
fn rows(markdown: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = markdown.lines().collect();
    let is_ruler = |line: &&str| line.starts_with("|--");
    let mut rows = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let is_head = lines.get(index + 1).is_some_and(is_ruler);
        if line.starts_with('|') && !is_head && !is_ruler(line) {
            let last = line.trim().trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            rows.push((index + 1, last.trim()));
        }
    }
    rows
}

/// The rows whose last cell is no test that is there.
fn wrong(markdown: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let named = |cell: &str| cell.strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    let is_wrong = |cell: &str| named(cell).is_none_or(|name| !tests.contains(&name));
    rows(markdown)
        .into_iter()
        .filter(|(_, cell)| is_wrong(cell))
        .map(|(line, cell)| format!("{line}: no test {cell}"))
        .collect()
}

#[test]
fn each_transition_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    tests_in(&root.join("src"), &mut tests);
    tests_in(&root.join("tests"), &mut tests);
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        assert!(rows(&text).len() > 20, "{document}: where are its tables?");
        let wrong = wrong(&text, &tests);
        assert!(wrong.is_empty(), "{document}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_row_without_a_test_is_found() {
    let table = "| a | test |\n|---|---|\n| b | `one` |\n| c | `two` |\n| d | |\n";
    let tests =
        tests_of("#[test]\nfn one() {}\nfn two() {}\n#[tokio::test(flavor = \"x\")]\nasync fn three() {}\n");
    assert_eq!(tests, ["one", "three"]);
    assert_eq!(wrong(table, &tests.into_iter().collect()), ["4: no test `two`", "5: no test "]);
}
