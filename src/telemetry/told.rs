//! Lines that somebody outside can cause are written once in a while; the others are counted.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How long a line is not written again, unless another pause is asked for.
const PAUSE: Duration = Duration::from_secs(60);

/// What was written of late. Takes no memory before the first line.
#[derive(Debug)]
pub(crate) struct Told<K> {
    lines: HashMap<K, Line>,
    lines_max: usize,
    pause: Duration,
    withheld: u64,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    written: Instant,
    withheld: u64,
}

impl<K: Eq + Hash> Told<K> {
    /// Keeps at most so many lines in mind; while there are so many younger than a minute, others are
    /// not written at all.
    pub(crate) fn new(lines_max: usize) -> Self {
        Self::with_pause(lines_max, PAUSE)
    }

    /// As [`Told::new`], with other than a minute between two lines that are alike.
    pub(crate) fn with_pause(lines_max: usize, pause: Duration) -> Self {
        Self { lines: HashMap::new(), lines_max, pause, withheld: 0 }
    }

    /// May this line be written now? Some: how many like it, or that found no room, were withheld
    /// since the last time.
    pub(crate) fn may_tell(&mut self, line: K, now: Instant) -> Option<u64> {
        let pause = self.pause;
        let is_old = |line: &Line| now.saturating_duration_since(line.written) >= pause;
        if let Some(known) = self.lines.get_mut(&line) {
            if !is_old(known) {
                known.withheld += 1;
                return None;
            }
            let withheld = std::mem::take(&mut known.withheld) + std::mem::take(&mut self.withheld);
            known.written = now;
            return Some(withheld);
        }
        if self.lines.len() >= self.lines_max {
            let withheld = &mut self.withheld;
            self.lines.retain(|_, line| {
                *withheld += if is_old(line) { line.withheld } else { 0 };
                !is_old(line)
            });
        }
        if self.lines.len() >= self.lines_max {
            self.withheld += 1;
            return None;
        }
        self.lines.insert(line, Line { written: now, withheld: 0 });
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_per_minute_and_none_is_forgotten() {
        let start = Instant::now();
        let mut told = Told::new(2);
        assert_eq!(told.may_tell("a", start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(told.may_tell("a", start + PAUSE / 2), None);
        }
        assert_eq!(told.may_tell("b", start + PAUSE / 2), Some(0), "another line");
        assert_eq!(told.may_tell("c", start + PAUSE / 2), None, "one too many");
        assert_eq!(told.may_tell("a", start + PAUSE), Some(1_001));
        assert_eq!(told.may_tell("a", start + PAUSE * 2), Some(0));
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let start = Instant::now();
        let mut told = Told::new(8);
        let lines = (0..60_000).filter(|n| told.may_tell(*n, start).is_some()).count();
        assert_eq!((lines, told.lines.len()), (8, 8));
        assert_eq!(told.may_tell(60_000, start + PAUSE), Some(59_992));
        assert_eq!(told.lines.len(), 1);
    }
}
