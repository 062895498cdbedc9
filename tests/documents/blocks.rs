//! What a document shows of commands and configurations.

use std::path::{Path, PathBuf};

/// What a fenced block or a comment of a document asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Commands for a shell.
    Commands(String),
    /// A configuration: the language of its fence, the file that it is, if it says so, whether it goes at its end,
    /// and its text.
    Configuration { language: String, file: Option<String>, at_end: bool, text: String },
    /// A transcript: `$ command`, then what it says.
    Transcript(String),
    /// What the stage does unseen: `<!-- stage: COMMANDS -->`.
    Unseen(String),
    /// What cannot be tried here, and why: `<!-- not run: WHY -->` before the block.
    NotRun { why: String, text: String },
    /// Anything else.
    Other { language: String, text: String },
}

/// A part, and the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) line: usize,
    pub(crate) part: Part,
}

/// The parts of a document, in their order.
pub(crate) fn parts(markdown: &str) -> Vec<Placed> {
    let mut found = Vec::new();
    let mut lines = markdown.lines().enumerate();
    let mut not_run = None;
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("<!-- ") {
            let mut text = comment.to_owned();
            while !text.contains("-->") {
                let Some((_, more)) = lines.next() else { break };
                text.push('\n');
                text.push_str(more);
            }
            let text = text.split("-->").next().unwrap_or_default().trim().to_owned();
            if let Some(commands) = text.strip_prefix("stage:") {
                found.push(Placed { line: number + 1, part: Part::Unseen(commands.trim().to_owned()) });
            } else if let Some(why) = text.strip_prefix("not run:") {
                not_run = Some(why.trim().to_owned());
            }
        } else if let Some(language) = line.strip_prefix("```") {
            let mut text = String::new();
            for (_, inner) in lines.by_ref() {
                if inner.trim_start().starts_with("```") {
                    break;
                }
                // A block in a list is indented as its fence is.
                text.push_str(inner.get(indent.min(inner.len() - inner.trim_start().len())..).unwrap_or(""));
                text.push('\n');
            }
            let part = match not_run.take() {
                Some(why) => Part::NotRun { why, text },
                None => block(language, text),
            };
            found.push(Placed { line: number + 1, part });
        } else if !line.is_empty() {
            assert!(not_run.is_none(), "{}: no block behind `not run`", number + 1);
        }
    }
    found
}

fn block(language: &str, text: String) -> Part {
    match language {
        "sh" => Part::Commands(text),
        "console" => Part::Transcript(text),
        "toml" | "haproxy" | "nginx" | "ini" => {
            let first = text.lines().next().unwrap_or_default();
            let named = first.strip_prefix("# ").unwrap_or_default();
            let (at_end, named) = match named.strip_prefix("at the end of ") {
                Some(named) => (true, named),
                None => (false, named),
            };
            let name = named.split(':').next().unwrap_or_default();
            let file = (name.starts_with('/') && !name.contains(' ')).then(|| name.to_owned());
            Part::Configuration { language: language.to_owned(), file, at_end, text }
        }
        _ => Part::Other { language: language.to_owned(), text },
    }
}

/// The commands of a block: lines that end with a backslash are one with the next, and a text that is given to a
/// command (`<<'END'`) belongs to it. Comments are not among them.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut begun = String::new();
    let mut given_until: Option<String> = None;
    for line in text.lines() {
        let is_idle = begun.is_empty() && (line.trim().is_empty() || line.trim_start().starts_with('#'));
        if is_idle {
            continue;
        }
        begun.push_str(line);
        given_until = match given_until {
            Some(end) => (line != end).then_some(end),
            None => line.split("<<").nth(1).map(|end| end.trim_matches(['\'', '"', ' ']).to_owned()),
        };
        if given_until.is_some() || line.ends_with('\\') {
            begun.push('\n');
        } else {
            commands.push(std::mem::take(&mut begun));
        }
    }
    assert!(begun.is_empty(), "a command without its end: {begun}");
    commands
}

/// The program that a command starts.
pub(crate) fn program(command: &str) -> &str {
    let is_setting = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    command
        .split_whitespace()
        .find(|word| !is_setting(word) && !["sudo", "\\"].contains(word))
        .unwrap_or_default()
}

/// The code spans in the text of a document, outside of its blocks, that begin with this word, with their line.
pub(crate) fn spans(markdown: &str, program: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let spans = line.split('`').skip(1).step_by(2);
            let of_program =
                spans.filter(|span| span.split(' ').next() == Some(program) && span.contains(' '));
            found.extend(of_program.map(|span| (number + 1, span.to_owned())));
        }
    }
    found
}

/// The documents whose commands are tried: the README, and those in `docs/` and beside what they are about.
pub(crate) fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![
        root.join("README.md"),
        root.join("certs/README.md"),
        root.join("packaging/monitoring/README.md"),
    ];
    let mut in_docs: Vec<PathBuf> = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    in_docs.sort();
    found.extend(in_docs);
    found
}
