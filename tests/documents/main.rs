//! What documents show works: the commands of each document run in their order, as they are typed, on a stage of its
//! own (`stage.sh`); configurations are read by the program they are for. How a document says what the stage needs,
//! and what is not run, is told in `docs/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod blocks;
mod figures;
mod runbook;

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use blocks::{Part, Placed, commands, documents, parts, program, spans};
use clap::CommandFactory;
use holdfast::{
    cli::Cli,
    config::{Config, Overrides},
};

/// Programs that develop this repository: they have their own tests, or are them.
const OF_DEVELOPERS: [&str; 10] = [
    "cargo",
    "cd",
    "git",
    "node",
    "npm",
    "promtool",
    "python3",
    "scripts/quickstart",
    "scripts/release",
    "scripts/test",
];
/// Blocks that are not run may not become a habit.
const NOT_RUN_MAX: usize = 6;
/// A document that takes longer than this hangs.
const SECONDS_MAX: &str = "100";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The same text with what stays in the foreground as if it were not told to leave it: the stage does.
fn in_foreground(command: &str) -> &str {
    let starts = ["run", "simulate", "demo"].map(|name| format!("holdfast {name}"));
    let is_start = starts.iter().any(|start| command.trim_start_matches("sudo ").starts_with(start));
    if is_start { command.trim_end().trim_end_matches('&').trim_end() } else { command }
}

/// A line that a transcript shows, as an expression for `grep -E`: figures may be others, and `...` is anything.
fn expression(line: &str) -> String {
    let mut expression = String::new();
    for part in line.trim_end().split_inclusive(|c: char| !c.is_ascii_digit()) {
        let figures = part.chars().take_while(char::is_ascii_digit).count();
        if figures > 0 {
            expression.push_str("[0-9]+");
        }
        for c in part.chars().skip(figures) {
            if ".[]()*+?{}|^$\\".contains(c) {
                expression.push('\\');
            }
            expression.push(c);
        }
    }
    expression.replace("\\.\\.\\.", ".*")
}

/// The commands of a transcript, each with what it is to say.
fn transcript(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command.to_owned(), Vec::new())),
            (None, Some((command, _))) if command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, said))) => said.push(line.to_owned()),
            (None, None) => panic!("a transcript begins with `$ `: {line}"),
        }
    }
    found
}

/// What the stage plays of a document.
fn script(parts: &[Placed]) -> String {
    let mut script = String::new();
    for Placed { line, part } in parts {
        writeln!(script, "echo '-- line {line}' >&2").unwrap();
        match part {
            Part::Commands(text) => {
                for command in commands(text) {
                    if !OF_DEVELOPERS.contains(&program(&command)) {
                        let command = in_foreground(&command);
                        writeln!(script, "echo {} >&2\n{command}", quoted(&format!("$ {command}"))).unwrap();
                    }
                }
            }
            Part::Unseen(text) => writeln!(script, "{text}").unwrap(),
            Part::Transcript(text) => {
                for (command, said) in transcript(text) {
                    writeln!(script, "echo {} >&2", quoted(&format!("$ {command}"))).unwrap();
                    writeln!(script, "{command} >\"$STAGE/said\" 2>&1 || true").unwrap();
                    for line in said.iter().filter(|line| !line.trim().is_empty() && line.trim() != "...") {
                        let expression = quoted(&expression(line));
                        writeln!(
                            script,
                            "grep -Eq -e {expression} \"$STAGE/said\" || {{ echo 'it does not say:' {expression} >&2; cat \"$STAGE/said\" >&2; exit 1; }}"
                        )
                        .unwrap();
                    }
                }
            }
            Part::Configuration { language, file: Some(file), at_end, text } => {
                let how = if *at_end { "file" } else { "fresh_file" };
                writeln!(script, "{how} {file} <<'END_OF_FILE'\n{text}END_OF_FILE").unwrap();
                match &**language {
                    "haproxy" => writeln!(script, "haproxy -c -f /etc/haproxy/haproxy.cfg").unwrap(),
                    "nginx" => writeln!(script, "nginx -t").unwrap(),
                    _ => {}
                }
            }
            Part::Configuration { .. } | Part::NotRun { .. } | Part::Other { .. } => {}
        }
    }
    script
}

/// Plays the commands of a document.
fn play(document: &str) {
    let parts = parts(&read(document));
    let name = document.replace('/', "-");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.sh"));
    fs::write(&file, script(&parts)).unwrap();
    let stage = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-stage"));
    fs::create_dir_all(&stage).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().unwrap();
    let output = Command::new("timeout")
        .args(["-s", "KILL", SECONDS_MAX, "unshare", "--user", "--map-root-user", "--net", "--mount"])
        .args(["--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
        .arg(root().join("tests/documents/stage.sh"))
        .args([root(), binaries, &file, &stage])
        .stdin(Stdio::null())
        .output()
        .expect("util-linux is missing");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let begin = said.lines().count().saturating_sub(100);
    let end: Vec<&str> = said.lines().skip(begin).collect();
    assert!(
        output.status.success(),
        "{document}: {}\n{}\n(Where `unshare` says that it may not: this test needs user namespaces.)",
        output.status,
        end.join("\n")
    );
}

macro_rules! played {
    ($($name:ident $document:literal,)*) => {
        const PLAYED: &[&str] = &[$($document),*];
        $(#[test] fn $name() { play($document); })*
    };
}

played! {
    the_commands_of_the_readme "README.md",
    the_commands_about_certificates "certs/README.md",
    the_commands_of_the_runbook "docs/runbook.md",
    the_commands_about_installing "docs/install.md",
    the_commands_about_migrating "docs/migrate.md",
    the_commands_about_sizing "docs/sizing.md",
    the_commands_about_upgrades "docs/upgrade.md",
    the_commands_about_recording "docs/recording.md",
    the_commands_about_security "docs/security.md",
    the_commands_of_the_answers "docs/faq.md",
}

/// All documents with their parts.
fn all() -> Vec<(String, Vec<Placed>)> {
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    documents(root()).iter().map(|path| (name(path), parts(&read(path)))).collect()
}

#[test]
fn every_document_with_commands_is_played() {
    for (document, parts) in all() {
        let has_any = parts.iter().any(|placed| match &placed.part {
            Part::Commands(text) => {
                commands(text).iter().any(|command| !OF_DEVELOPERS.contains(&program(command)))
            }
            Part::Transcript(_) => true,
            _ => false,
        });
        assert!(!has_any || PLAYED.contains(&&*document), "{document} shows commands that no test runs");
    }
    for document in PLAYED {
        assert!(root().join(document).exists(), "{document}");
    }
}

/// What a block without a language may not be: it would be run by nobody.
#[test]
fn no_command_hides_in_another_block() {
    let mut not_run = Vec::new();
    for (document, parts) in all() {
        for Placed { line, part } in parts {
            let place = format!("{document}:{line}");
            match part {
                Part::Other { text, language } => {
                    let is_command = |line: &str| {
                        let line = line.trim_start().trim_start_matches("$ ");
                        ["holdfast ", "haproxy ", "nginx "].iter().any(|program| line.starts_with(program))
                    };
                    // What `holdfast top` shows begins with its name.
                    let is_screen = text.starts_with(" holdfast ");
                    assert!(
                        is_screen || !text.lines().any(is_command),
                        "{place}: a command in a block {language:?}"
                    );
                }
                Part::NotRun { why, .. } => not_run.push(format!("{place}: {why}")),
                Part::Configuration { language, file: None, .. }
                    if language == "haproxy" || language == "nginx" =>
                {
                    panic!("{place}: a configuration says by its first line which file it is");
                }
                _ => {}
            }
        }
    }
    assert!(not_run.len() <= NOT_RUN_MAX, "too much is not run:\n{}", not_run.join("\n"));
    println!("not run:\n{}", not_run.join("\n"));
}

/// Settings are read as a configuration, parts of one with a server that they lack.
#[test]
fn settings_in_documents_are_accepted() {
    let mut found = 0;
    for (document, parts) in all() {
        for Placed { line, part } in parts {
            let Part::Configuration { language, text, .. } = part else { continue };
            if language != "toml" {
                continue;
            }
            let settings = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
            let begin = if settings.is_some_and(|line| line.starts_with('[')) { "" } else { "[upstream]\n" };
            let text = format!("{begin}{text}");
            let with = |upstream| {
                let flags = Overrides { upstream, ..Overrides::default() };
                Config::parse(&text, Path::new(&document), &flags)
            };
            let read = with(Vec::new()).or_else(|_| with(vec!["ws://wcs:8080".parse().unwrap()]));
            assert!(read.is_ok(), "the block at {document}:{line}: {}", read.unwrap_err());
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}

/// Commands in the text are commands of this version; those of others stand in a block as well, where they are run.
#[test]
fn commands_in_the_text_exist() {
    let mut wrong = Vec::new();
    let mut found = 0;
    for path in documents(root()) {
        let markdown = read(&path);
        let document = path.strip_prefix(root()).unwrap().display().to_string();
        for (line, span) in spans(&markdown, "holdfast") {
            found += 1;
            let words = span
                .split_whitespace()
                .filter(|word| *word != "…")
                .map(|word| if word == "N" { "1" } else { word });
            if let Err(error) = Cli::command().try_get_matches_from(words) {
                use clap::error::ErrorKind::{DisplayHelp, DisplayVersion, MissingRequiredArgument};
                if !matches!(error.kind(), DisplayHelp | DisplayVersion | MissingRequiredArgument) {
                    wrong.push(format!("{document}:{line}: `{span}`: {error}"));
                }
            }
        }
        let run: String = parts(&markdown)
            .into_iter()
            .filter_map(|placed| match placed.part {
                Part::Commands(text) | Part::Transcript(text) => Some(text),
                _ => None,
            })
            .collect();
        for (line, span) in ["haproxy", "nginx"].iter().flat_map(|program| spans(&markdown, program)) {
            if !run.contains(&span) {
                wrong.push(format!("{document}:{line}: `{span}` stands in no block that is run"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 20, "{found}");
}

#[test]
fn kernel_settings_are_those_of_the_package() {
    let document = read("docs/sizing.md");
    let file = read("packaging/debian/60-holdfast.conf");
    let settings = file.lines().filter_map(|line| line.split_once(" = ").filter(|_| !line.starts_with('#')));
    let mut found = 0;
    for (name, value) in settings {
        assert!(document.contains(&format!("| `{name}` | {value} |")), "{name} = {value}");
        found += 1;
    }
    assert!(found > 5, "{found}");
}

// That the checks bite.

#[test]
fn what_a_document_shows_is_found() {
    let text = "`holdfast top` and\n<!-- stage: one\ntwo -->\n```sh\n# first\na \\\n  b\n  c &\n```\n\n1. x\n   ```toml\n   # /etc/x.toml: with a word\n   [a]\n   ```\n\
                <!-- not run: no time -->\n\n```sh\nd\n```\n```haproxy\n# at the end of /etc/y\nz\n```\n";
    let found: Vec<Part> = parts(text).into_iter().map(|placed| placed.part).collect();
    let configuration = |language: &str, file: &str, at_end, text: &str| Part::Configuration {
        language: language.to_owned(),
        file: Some(file.to_owned()),
        at_end,
        text: text.to_owned(),
    };
    let expected = [
        Part::Unseen("one\ntwo".to_owned()),
        Part::Commands("# first\na \\\n  b\n  c &\n".to_owned()),
        configuration("toml", "/etc/x.toml", false, "# /etc/x.toml: with a word\n[a]\n"),
        Part::NotRun { why: "no time".to_owned(), text: "d\n".to_owned() },
        configuration("haproxy", "/etc/y", true, "# at the end of /etc/y\nz\n"),
    ];
    assert_eq!(found, expected);
    assert_eq!(commands("# first\na \\\n  b\n  c &\n"), ["a \\\n  b", "  c &"]);
    assert_eq!(commands("a <<'END'\n# b\nEND\nc\n"), ["a <<'END'\n# b\nEND", "c"]);
    assert_eq!(program("A_B=1 \\\n sudo x y"), "x");
    assert_eq!(spans(text, "holdfast"), [(1, "holdfast top".to_owned())]);
    assert_eq!(in_foreground("holdfast run -c x &"), "holdfast run -c x");
    assert_eq!(expression("up 12.5 s [a] ... (x)"), "up [0-9]+\\.[0-9]+ s \\[a\\] .* \\(x\\)");
}

#[test]
#[should_panic(expected = "it does not say")]
fn a_command_that_says_something_else_is_found() {
    let parts = parts("```console\n$ echo one 2\none 3\n$ echo two\nthree\n```\n");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wrong.sh");
    fs::write(&file, script(&parts)).unwrap();
    let output = Command::new("bash").arg(file).env("STAGE", env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
