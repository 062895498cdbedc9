//! What the command line is, for people (`man`) and shells: every command has its page, and shells take the scripts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

fn holdfast(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast")).args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The commands that the help names.
fn commands() -> Vec<String> {
    let (_, help, _) = holdfast(&["--help"]);
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_its_page() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("man");
    let _ = fs::remove_dir_all(&directory);
    let (code, out, err) = holdfast(&["man", directory.to_str().unwrap()]);
    assert!(code == 0 && out.contains("holdfast.1"), "{out}{err}");
    let all = commands();
    assert!(all.len() > 10, "{all:?}");
    for name in all {
        let page = fs::read_to_string(directory.join(format!("holdfast-{name}.1"))).unwrap();
        assert!(page.starts_with(".ie") && page.contains(".SH DESCRIPTION"), "{name}: {page}");
        assert_eq!(page.matches(".SH \"EXIT STATUS\"").count(), 1, "{name}: {page}");
    }
    let main = fs::read_to_string(directory.join("holdfast.1")).unwrap();
    assert!(main.contains("Exit codes"), "{main}");
    for code in ["0", "1", "64", "66", "69", "73", "130", "131", "143"] {
        assert!(main.contains(&format!("\n\\fB{code}\\fR\n")), "{code} is not in {main}");
    }
    let file = directory.join("holdfast.1");
    let (code, _, err) = holdfast(&["man", file.to_str().unwrap()]);
    assert!(code == 73 && err.contains("holdfast.1"), "{err}");
}

#[test]
fn bash_takes_the_script_and_completes_by_it() {
    let (code, script, _) = holdfast(&["completions", "bash"]);
    assert_eq!(code, 0);
    // As if `holdfast undr` was typed, and the key pressed.
    let ask = "COMP_WORDS=(holdfast undr); COMP_CWORD=1; _holdfast holdfast undr holdfast; echo \"=${COMPREPLY[*]}\"";
    let mut bash = Command::new("bash")
        .args(["--norc", "--noprofile"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(format!("{script}\n{ask}\n").as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "=undrain");
    for (shell, sign) in [("zsh", "#compdef holdfast"), ("fish", "complete -c holdfast")] {
        let (code, script, _) = holdfast(&["completions", shell]);
        assert!(code == 0 && script.contains(sign), "{shell}");
        assert!(commands().iter().all(|name| script.contains(name.as_str())), "{shell}");
    }
    let (code, _, err) = holdfast(&["completions", "tcsh"]);
    assert!(code == 64 && err.contains("bash"), "{err}");
}
