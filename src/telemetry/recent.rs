//! The newest lines, kept in memory for whoever asks after the fact. Bounded in bytes: the oldest give way.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// The lines, without their newlines, and what they take.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Box<str>>,
    bytes: usize,
}

/// The newest lines.
#[derive(Debug)]
pub(super) struct Recent {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

impl Recent {
    /// At most so many bytes of them.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// One more; one that is larger than all may be is not kept.
    pub(super) fn push(&self, line: &[u8]) {
        let size = line.len() + size_of::<Box<str>>();
        if size > self.bytes_max {
            return;
        }
        let line = String::from_utf8_lossy(line.trim_ascii_end()).into();
        let mut kept = self.kept.lock();
        kept.bytes += size;
        kept.lines.push_back(line);
        while kept.bytes > self.bytes_max
            && let Some(oldest) = kept.lines.pop_front()
        {
            // The newline that is not kept was counted.
            kept.bytes = kept.bytes.saturating_sub(oldest.len() + 1 + size_of::<Box<str>>());
        }
    }

    /// All of them, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.kept.lock().lines.iter().map(|line| line.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way() {
        let one = 5 + size_of::<Box<str>>();
        let recent = Recent::new(3 * one);
        for n in 0..1_000 {
            recent.push(format!("l{:03}\n", n % 1_000).as_bytes());
        }
        assert_eq!(recent.lines(), ["l997", "l998", "l999"]);
        recent.push(&vec![b'x'; 3 * one]);
        assert_eq!(recent.lines().len(), 3, "what is too large is not kept");
        let none = Recent::new(0);
        none.push(b"line\n");
        assert!(none.lines().is_empty());
    }
}
