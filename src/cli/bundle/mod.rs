//! `holdfast support-bundle`: what somebody needs to know who is to help, in one file. Works without a proxy that
//! answers as well, and says so then.
//!
//! Everything in it comes from where secrets have been taken out already (the dump of the configuration, the admin side,
//! the log), and no file is put into it as it is.

mod archive;
mod machine;
mod proxy;

use std::{fs, io::Write, path::PathBuf, time::SystemTime};

use serde_json::Value;

use super::{
    Failure,
    admin::Admin,
    args::{CheckArgs, SupportBundleArgs},
    check, told,
};
use crate::{
    config::{Config, ConfigError, LogTarget},
    signaling::redact::line_without_credentials,
};

use archive::Archive;
use proxy::Asked;

/// What is read of the end of a log file.
const LOG_BYTES_MAX: u64 = 1_048_576;

/// # Errors
/// The file is there already, or cannot be written. That nothing else works is part of what it tells.
pub(super) fn run(args: &SupportBundleArgs, out: &mut impl Write) -> Result<(), Failure> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp: String = now.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let output =
        args.output.clone().unwrap_or_else(|| PathBuf::from(format!("holdfast-support-{stamp}.tar.gz")));
    let mut archive = Archive::create(&output, &format!("holdfast-support-{stamp}"), args.force)?;
    let mut untold = Vec::new();
    let config = configuration(args, &mut archive, &mut untold)?;
    let running = ask(args, config.as_ref(), &mut archive, &mut untold)?;
    machine::tell(running.as_ref().and_then(|status| status.get("pid")?.as_u64()), &mut archive)?;
    if let Some(config) = &config {
        log_file(config, &mut archive, &mut untold)?;
    }
    archive.add("ABOUT.txt", &about(&now, running.is_some(), &untold))?;
    let entries = archive.finish()?;
    told(writeln!(out, "wrote {} ({entries} files, no secrets)", output.display()));
    for what in &untold {
        told(writeln!(out, "not in it: {what}"));
    }
    told(writeln!(
        out,
        "It names streams, nodes and addresses: look through it (tar xzf) before you give it to others."
    ));
    Ok(())
}

fn about(now: &str, is_running: bool, untold: &[String]) -> String {
    let mut text = format!("holdfast {} support bundle, made at {now}\n\n", env!("CARGO_PKG_VERSION"));
    text.push_str(if is_running {
        "The proxy answered.\n"
    } else {
        "The proxy did not answer: what is here was found without it.\n"
    });
    if !untold.is_empty() {
        text.push_str("\nNot in it:\n");
        for what in untold {
            text.push_str(&format!("- {what}\n"));
        }
    }
    text
}

/// The configuration as it would be loaded now, and what `holdfast check` says of it.
fn configuration(
    args: &SupportBundleArgs,
    archive: &mut Archive,
    untold: &mut Vec<String>,
) -> Result<Option<Config>, Failure> {
    let settings = args.settings();
    let (file, overrides) = (settings.file(), settings.overrides());
    match settings.load() {
        Ok(config) => {
            archive.add("configuration.toml", &config.to_toml(file.as_deref(), &overrides))?;
            let check = CheckArgs { settings, connect: false, print_settings: false, user: None, json: true };
            let mut found = Vec::new();
            // What it found is in there; that it found something is no failure of ours.
            let _ = check::run(&check, &mut found);
            archive.add("check.json", &String::from_utf8_lossy(&found))?;
            Ok(Some(config))
        }
        Err(error) => {
            // Without a file of its own it is that of the running proxy that tells.
            let is_none = file.is_none()
                && matches!(&error, ConfigError::Conflict { key, .. } if key == "upstream.url");
            untold.push(if is_none {
                "the configuration file: name it with --config".to_owned()
            } else {
                format!("the configuration file, which is not accepted: {error}")
            });
            Ok(None)
        }
    }
}

/// What a running proxy says of itself; its status, if it answered.
fn ask(
    args: &SupportBundleArgs,
    config: Option<&Config>,
    archive: &mut Archive,
    untold: &mut Vec<String>,
) -> Result<Option<Value>, Failure> {
    let mut admin = args.admin.clone();
    if let Some(config) = config {
        admin.prefer(&config.admin);
    }
    let admin = match Admin::new(&admin) {
        Ok(admin) => admin,
        Err(failure) => {
            untold.push(format!("what the running proxy knows: {failure}"));
            return Ok(None);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Internal(format!("cannot start the runtime: {error}")))?;
    let Asked { found, failed, status } = runtime.block_on(proxy::ask(admin));
    for (name, text) in found {
        archive.add(name, &text)?;
    }
    untold.extend(failed);
    Ok(status)
}

/// The end of the file that the log goes to.
fn log_file(config: &Config, archive: &mut Archive, untold: &mut Vec<String>) -> Result<(), Failure> {
    let Some(path) = config.log.file.as_deref().filter(|_| config.log.target == LogTarget::File) else {
        return Ok(());
    };
    match machine::end_of(path, LOG_BYTES_MAX) {
        Ok(text) => archive.add("log-file.txt", &line_without_credentials(&text)),
        Err(error) => {
            untold.push(format!("{}: {error}", path.display()));
            Ok(())
        }
    }
}

/// Whether a file is there, links that lead nowhere included.
fn exists(path: &std::path::Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
