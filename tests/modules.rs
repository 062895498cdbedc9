//! A module may use those below it and no other: what is low can be understood, tested and moved without
//! what is above. The source is searched for arrows that point up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A crate of the workspace.
struct Crate {
    /// Where its source is.
    source: &'static str,
    /// Its modules, the lowest first. Those of one line do not know each other.
    layers: &'static [&'static [&'static str]],
    /// It has at least so many files.
    files_min: usize,
}

const CRATES: [Crate; 3] = [
    Crate { source: "src", layers: PRODUCT, files_min: 100 },
    Crate { source: "core/src", layers: CORE, files_min: 50 },
    Crate { source: "lab/src", layers: LAB, files_min: 40 },
];

/// Of `holdfast`.
const PRODUCT: &[&[&str]] = &[
    // Those of the crate `holdfast-core`, which knows nothing of this one.
    &["ids", "recording", "registry", "session", "signaling"],
    &["address", "file_mark", "limits", "memory", "milliseconds"],
    &["config"],
    &["activation", "service_manager", "telemetry", "wire"],
    &["media"],
    &["upstream"],
    &["net"],
    &["http", "local_http", "metrics"],
    &["admin", "simulator"],
    &["load"],
    &["probe"],
    &["demo", "top"],
    &["cli"],
];

/// Of `holdfast-core`: a session is lent what it knows of others and does not know where that is kept.
const CORE: &[&[&str]] =
    &[&["ids", "settings", "signaling"], &["media"], &["session"], &["recording"], &["drain", "registry"]];

/// Of `holdfast-lab`: clients and the server stand-in share the lower half of WebRTC.
const LAB: &[&[&str]] = &[&["messages", "simulator"], &["load"], &["probe"]];

/// Whether one module may use the other.
fn may_use(layers: &[&[&str]], user: &str, used: &str) -> bool {
    let layer = |module| layers.iter().position(|layer| layer.contains(&module));
    let (user_layer, used_layer) = (layer(user), layer(used));
    used_layer.is_some() && used_layer < user_layer
}

/// Files of the product: tests may look anywhere.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_for_tests =
            ["tests", "tests.rs", "simulation", "bans.rs"].iter().any(|name| path.ends_with(name));
        if is_for_tests {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The text without comments and without the tests at its end.
fn product(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_test = |line: &&str| line.starts_with("#[cfg(test)]");
    let end = lines
        .iter()
        .enumerate()
        .position(|(number, line)| {
            is_test(line) && lines[number..].iter().take(4).any(|line| line.starts_with("mod tests {"))
        })
        .unwrap_or(lines.len());
    let code = lines[..end].iter().filter(|line| !line.trim_start().starts_with("//"));
    code.copied().collect::<Vec<_>>().join("\n")
}

/// The name at the start of a text.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The modules of the crate that a text uses, alone or in a group.
fn used(text: &str) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for (start, found) in text.match_indices("crate::") {
        let rest = &text[start + found.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                c if begins && !c.is_whitespace() => {
                    used.insert(name(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

/// The module of the library that a file belongs to.
fn module_of(file: &Path, root: &Path) -> String {
    let first = file.strip_prefix(root).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn no_module_uses_one_above_it() {
    let up: Vec<String> = CRATES.iter().flat_map(arrows_up).collect();
    assert!(up.is_empty(), "{}", up.join("\n"));
}

/// The arrows between modules of a crate that point up.
fn arrows_up(Crate { source, layers, files_min }: &Crate) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > *files_min, "the source in {source} was not found");
    let known: BTreeSet<&str> = layers.iter().flat_map(|layer| layer.iter().copied()).collect();
    let mut up = Vec::new();
    for file in &files {
        let user = module_of(file, &root);
        if matches!(&*user, "lib" | "main") {
            continue;
        }
        assert!(known.contains(&*user), "{user} has no place among the modules of {source}: name it there");
        let text = product(&fs::read_to_string(file).unwrap());
        for used in used(&text).into_iter().filter(|used| known.contains(used) && *used != user) {
            if !may_use(layers, &user, used) {
                up.push(format!("{}: {user} uses {used}", file.display()));
            }
        }
    }
    up
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let up = [("wire", "net"), ("upstream", "net"), ("wire", "telemetry")];
    assert!(up.iter().all(|(user, used)| !may_use(PRODUCT, user, used)));
    assert!(may_use(PRODUCT, "net", "wire") && may_use(PRODUCT, "media", "telemetry"));
    assert!(may_use(CORE, "registry", "session") && !may_use(CORE, "session", "registry"));
    assert!(!may_use(CORE, "media", "session") && !may_use(LAB, "simulator", "load"));
    let text = "//! [`crate::admin`]\nuse crate::{\n    cli,\n    net::{live, config::x},\n    wire,\n};\n\
        fn f() { crate::media::g() }\n#[cfg(test)]\nmod tests {\n    use crate::demo;\n}\n";
    assert_eq!(used(&product(text)), BTreeSet::from(["cli", "media", "net", "wire"]));
}
