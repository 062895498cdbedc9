//! What a service manager (systemd, `Type=notify`) is told: that the process is ready, reloads or ends, how it is in
//! words, and that it lives. Without one (`NOTIFY_SOCKET`) nothing is done. When to say what is decided elsewhere.

use std::{process, time::Duration};

use sd_notify::NotifyState;

/// It serves: after the start, and after each [`reloading`].
pub(crate) fn ready() {
    say(&[NotifyState::Ready]);
}

/// It reads its settings anew, until [`ready`] is said again.
pub(crate) fn reloading() {
    // With the time of the monotonic clock, so that an answer to an older order is told from one to this.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(_) => say(&[NotifyState::Reloading]),
    }
}

/// It has begun to end, and does not come back from that.
pub(crate) fn stopping(status: &str) {
    say(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// How it is, in words.
pub(crate) fn status(text: &str) {
    say(&[NotifyState::Status(text)]);
}

/// As [`status`]; the end takes at least so long from now on, and whoever waits for it is to wait.
pub(crate) fn ending(text: &str, at_least: Duration) {
    let micros = u32::try_from(at_least.as_micros()).unwrap_or(u32::MAX);
    say(&[NotifyState::Status(text), NotifyState::ExtendTimeoutUsec(micros)]);
}

/// It lives. To be said more often than [`watchdog`] says.
pub(crate) fn lives() {
    say(&[NotifyState::Watchdog]);
}

/// Within which time a sign of life is expected, if one is.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether anybody listens.
pub(crate) fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|place| !place.is_empty())
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, process = process::id(), "the service manager cannot be told");
    }
}
