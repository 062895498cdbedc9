//! Keeps a panic of a library where it happened.
//!
//! Everything that a peer can send is bounded before a library sees it; this is for what nobody
//! thought of. Only the place is kept: a message may repeat what the peer sent.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    panic::{self, AssertUnwindSafe, Location},
    sync::Once,
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Where something panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    place: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a panic at {}", self.place)
    }
}

/// Carries out a step and catches its panic. What the step worked on may be in any state
/// afterwards and must not be used again.
///
/// # Errors
///
/// If it panicked.
pub(crate) fn caught<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    install();
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(before);
    result.map_err(|payload| {
        forget(payload);
        let place = PLACE.take().unwrap_or_else(|| "an unknown place".to_owned());
        Panicked { place }
    })
}

/// Drops something that may be broken.
pub(crate) fn discard<T>(broken: T) {
    let _ = caught(|| drop(broken));
}

/// The payload of a panic may itself panic when it is dropped; then it is leaked.
fn forget(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

/// A caught panic is told in one line of the log by whoever caught it, not on stderr.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                let place = info.location().map(short);
                let _ = PLACE.try_with(|kept| kept.replace(place));
            } else {
                before(info);
            }
        }));
    });
}

/// The end of the path: crate, file and line.
fn short(location: &Location<'_>) -> String {
    /// Parts of a path that are told.
    const PARTS_MAX: usize = 4;
    let parts: Vec<&str> = location.file().rsplit('/').take(PARTS_MAX).collect();
    let file = parts.into_iter().rev().collect::<Vec<_>>().join("/");
    format!("{file}:{}", location.line())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_place_and_without_its_message() {
        let secret = "secret".to_owned();
        let error = caught(|| assert!(secret.is_empty(), "{secret}")).unwrap_err().to_string();
        assert!(error.contains("src/media/guard.rs:"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(caught(|| 7), Ok(7));
        assert!(!GUARDED.get(), "panics of others are told as before");
    }

    #[test]
    fn what_panics_when_it_is_dropped_is_harmless() {
        struct Broken;
        impl Drop for Broken {
            fn drop(&mut self) {
                panic::panic_any(7);
            }
        }
        discard(Broken);
        assert!(caught(|| panic::panic_any(Broken)).is_err());
    }
}
