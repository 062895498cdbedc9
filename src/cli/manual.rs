//! `holdfast man` and `holdfast completions`: what the command line is, for people and for shells. Made from its
//! definition, so that it is never behind it.

use std::{
    fs,
    io::{self, Write},
};

use clap::CommandFactory as _;
use clap_mangen::roff::{Roff, bold, roman};

use super::{
    Cli, Failure,
    args::{CompletionsArgs, ManArgs},
    failure::EXIT_CODES,
    told,
};

/// Writes completions to `out`.
///
/// # Errors
/// None; whoever reads may go away.
pub(super) fn completions(args: &CompletionsArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holdfast", &mut script);
    told(out.write_all(&script));
    Ok(())
}

/// Writes a page for each command.
///
/// # Errors
/// The directory cannot be made, or a page cannot be written.
pub(super) fn man(args: &ManArgs, out: &mut impl Write) -> Result<(), Failure> {
    let directory = &args.directory;
    let unwritable =
        |error| Failure::Unwritable(format!("cannot write manual pages to {}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(unwritable)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory).map_err(unwritable)?;
    let section = exit_status().map_err(unwritable)?;
    for entry in fs::read_dir(directory).map_err(unwritable)?.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("holdfast") && name.ends_with(".1"));
        if is_ours {
            let mut page = fs::read(entry.path()).map_err(unwritable)?;
            // One of an older version that is not made any more has it already.
            if !page.ends_with(&section) {
                page.extend_from_slice(&section);
                fs::write(entry.path(), page).map_err(unwritable)?;
            }
        }
    }
    told(writeln!(
        out,
        "{}: read them with man -l {}",
        directory.display(),
        directory.join("holdfast.1").display()
    ));
    Ok(())
}

/// The section on what commands exit with, the same in all pages.
fn exit_status() -> io::Result<Vec<u8>> {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        section.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    let mut text = Vec::new();
    section.to_writer(&mut text)?;
    Ok(text)
}
