//! `holdfast man` and `holdfast completions`: what the command line is, for people and for shells. Made from its
//! definition, so that it is never behind it.

use std::{fs, io::Write};

use clap::CommandFactory as _;

use super::{
    Cli, Failure,
    args::{CompletionsArgs, ManArgs},
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
    told(writeln!(
        out,
        "{}: read them with man -l {}",
        directory.display(),
        directory.join("holdfast.1").display()
    ));
    Ok(())
}
