//! Which crate of the workspace may use which, and who in this one may use the lab.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The platform that this is built on: of others cargo may have fetched nothing.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// All that each package of the workspace needs, tests included, by name.
fn needed() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let direct: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), list(&node["dependencies"]).iter().map(text).collect()))
        .collect();
    let needed = |member: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), direct[member].clone());
        while let Some(id) = next.pop() {
            if seen.insert(id.clone()) {
                next.extend(direct[&id].clone());
            }
        }
        seen.iter().map(|id| names[id].clone()).collect()
    };
    let members = list(&metadata["workspace_members"]);
    members.iter().map(text).map(|member| (names[&member].clone(), needed(&member))).collect()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The lines of the code under `directory` (from the top of the repository) that hold one of `words`.
fn lines_with(directory: &str, words: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in sources(&Path::new(ROOT).join(directory)) {
        let name = path.strip_prefix(ROOT).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        found.extend(lines.map(|line| (name.clone(), line.trim().to_owned())));
    }
    found
}

#[test]
fn what_judges_holdfast_shares_no_code_with_it() {
    let needed = needed();
    let lab = &needed["holdfast-lab"];
    assert!(lab.contains("tokio") && lab.contains("str0m"), "the whole tree was walked: {lab:?}");
    let shared: Vec<&String> = needed.keys().filter(|member| lab.contains(*member)).collect();
    assert!(shared.is_empty(), "holdfast-lab depends on {shared:?}");
    // Nor does it take the text of a file from elsewhere.
    let taken = lines_with("lab/src", &["#[path", "include!("]);
    assert!(taken.is_empty(), "{taken:#?}");
    assert!(needed["holdfast"].contains("holdfast-lab"), "there is one binary");
}

#[test]
fn nothing_of_the_proxy_uses_the_lab() {
    let users = lines_with(
        "src",
        &["holdfast_lab", "crate::simulator", "crate::load", "    load::", "    simulator::"],
    );
    let may = ["src/lib.rs", "src/cli/", "src/demo/"];
    let (right, wrong): (Vec<_>, Vec<_>) =
        users.into_iter().partition(|(file, _)| may.iter().any(|place| file.starts_with(place)));
    assert!(!right.is_empty(), "the binary has `simulate` and `load`");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
