//! `holdfast config dump`: what would be in force, and where each value comes from. Starts nothing.

use std::io::Write;

use super::{
    Failure,
    args::{ConfigArgs, ConfigCommand, DumpArgs},
    told,
};

/// # Errors
/// The configuration is not accepted.
pub(super) fn run(args: &ConfigArgs, out: &mut impl Write) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Dump(args) => dump(args, out),
    }
}

fn dump(args: &DumpArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (file, overrides) = (args.settings.file(), args.settings.overrides());
    let config = args.settings.load()?;
    if args.json {
        told(writeln!(out, "{:#}", config.to_json_with_origins(file.as_deref(), &overrides)));
        return Ok(());
    }
    told(writeln!(out, "# What holdfast {} would run with.", env!("CARGO_PKG_VERSION")));
    for notice in &config.notices {
        told(writeln!(out, "# {}", notice.replace(char::is_control, "\u{fffd}")));
    }
    told(write!(out, "{}", config.to_toml(file.as_deref(), &overrides)));
    Ok(())
}
