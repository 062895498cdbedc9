//! Panics as lines of the log. The hook of the standard library writes to stderr itself, which may stall
//! whoever panics, and repeats the message, which may hold anything.

use std::{
    panic::{self, PanicHookInfo},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Beginnings of messages of the standard library that hold nothing but numbers.
const HARMLESS: [&str; 9] = [
    "index out of bounds: ",
    "attempt to ",
    "range start index ",
    "range end index ",
    "slice index starts ",
    "mid > len",
    "copy_from_slice: ",
    "capacity overflow",
    "internal error: entered unreachable code",
];
/// Longest message that is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 128;

/// Most panics that get a line within [`PANICS_WINDOW`]: a peer may be able to cause them again and again.
const PANICS_TOLD_MAX: u32 = 10;
const PANICS_WINDOW: Duration = Duration::from_secs(60);

/// When the present window began, and how many panics were in it.
static PANICS: Mutex<Option<(Instant, u32)>> = Mutex::new(None);

/// From now on a panic is a line of the log.
pub(super) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        if !is_told(&mut PANICS.lock(), Instant::now()) {
            return;
        }
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("?");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let cause = message(info);
        tracing::error!(
            event = "panic",
            thread,
            place,
            cause,
            "a defect of Holdfast: please report this line"
        );
    }));
}

fn is_told(window: &mut Option<(Instant, u32)>, now: Instant) -> bool {
    let (since, count) = window.get_or_insert((now, 0));
    if now.saturating_duration_since(*since) >= PANICS_WINDOW {
        (*since, *count) = (now, 0);
    }
    *count = count.saturating_add(1);
    *count <= PANICS_TOLD_MAX
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    // What was there when the program was built holds nothing from outside.
    let literal = payload.downcast_ref::<&'static str>().copied();
    let made = payload.downcast_ref::<String>().map(String::as_str);
    let shown = literal.or_else(|| made.filter(|text| is_harmless(text)));
    shown.unwrap_or("(withheld)").chars().take(MESSAGE_CHARS_MAX).collect()
}

fn is_harmless(message: &str) -> bool {
    HARMLESS.iter().any(|beginning| message.starts_with(beginning)) && !message.contains(['`', '"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_repeat_what_came_from_outside_are_withheld() {
        assert!(is_harmless("index out of bounds: the len is 3 but the index is 5"));
        assert!(!is_harmless("byte index 1 is not a char boundary; it is inside 'é' of `password`"));
        assert!(!is_harmless("called `Result::unwrap()` on an `Err` value: \"password\""));
        assert!(!is_harmless("attempt to read `password`"));
    }

    #[test]
    fn panics_that_somebody_causes_again_and_again_are_no_flood() {
        let (mut window, now) = (None, Instant::now());
        let told = (0..1_000).filter(|_| is_told(&mut window, now)).count();
        assert_eq!(told, PANICS_TOLD_MAX as usize);
        assert!(is_told(&mut window, now + PANICS_WINDOW));
    }
}
