//! Which lines are written: the filter of the operator, and what no filter lets through.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{ParseError, Targets};

use crate::config::LogLevel;

/// Libraries of the media path, which warn of each packet that they cannot use: anybody may send such.
/// What they meet is counted by the media workers.
const SILENT: [&str; 5] = ["str0m", "is::", "dimpl", "sctp_proto", "openssl"];

/// Reads a filter: parts between commas, each a module with its level (`holdfast::session=debug`), a level
/// for all others, or a module that is to say everything.
///
/// # Errors
/// A part has two `=`, or what follows one is no level.
pub(super) fn parse(text: &str) -> Result<Targets, ParseError> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    parts.join(",").parse()
}

/// Lines of this level and above.
pub(super) fn from_level(level: LogLevel) -> Targets {
    Targets::new().with_default(match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    })
}

/// Lets through everything of this package, and warnings of the others.
pub(super) fn own_lines_only() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("holdfast", LevelFilter::TRACE)
        .with_targets(SILENT.map(|library| (library, LevelFilter::OFF)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tracing::Level;

    use super::*;

    /// The least important level that a module is written at.
    fn written(filter: &Targets, module: &str) -> Option<Level> {
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        levels.into_iter().find(|level| filter.would_enable(module, level))
    }

    #[test]
    fn a_filter_names_modules_and_a_level_for_all_others() {
        let filter = parse("holdfast::session=debug,info").unwrap();
        assert_eq!(written(&filter, "holdfast::session"), Some(Level::DEBUG));
        assert_eq!(written(&filter, "holdfast::session::streams"), Some(Level::DEBUG));
        assert_eq!(written(&filter, "holdfast::net"), Some(Level::INFO));
        let filter = parse(" holdfast::net=off , holdfast::media,, WARN,").unwrap();
        assert_eq!(written(&filter, "holdfast::net::proxy"), None);
        assert_eq!(written(&filter, "holdfast::media"), Some(Level::TRACE));
        assert_eq!(written(&filter, "holdfast::upstream"), Some(Level::WARN));
        assert_eq!(written(&parse("holdfast::net=info").unwrap(), "holdfast::media"), None);
    }

    #[test]
    fn what_is_no_filter_is_an_error() {
        for wrong in ["holdfast=loud", "holdfast=info=debug", "info,holdfast=6"] {
            assert_eq!(parse(wrong).err().map(|_| wrong), Some(wrong));
        }
    }

    #[test]
    fn a_level_is_one_for_all() {
        assert_eq!(written(&from_level(LogLevel::Off), "holdfast"), None);
        assert_eq!(written(&from_level(LogLevel::Debug), "hyper"), Some(Level::DEBUG));
    }

    #[test]
    fn other_libraries_warn_and_those_of_the_media_path_say_nothing() {
        let filter = own_lines_only();
        assert_eq!(written(&filter, "holdfast::session"), Some(Level::TRACE));
        assert_eq!(written(&filter, "hyper::proto"), Some(Level::WARN));
        assert_eq!(written(&filter, "str0m::packet"), None);
    }
}
