//! Log lines on their way to stderr: a bounded queue and the one thread that writes.
//!
//! Whoever reads stderr may stall (a full pipe, a stopped terminal, a slow disk). Then lines are dropped
//! and counted, and nobody who logs waits: sessions and media are worth more than their log.

use std::{
    cell::Cell,
    io::{self, Write},
    mem, thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::signaling::redact::line_without_credentials;

use super::counts::{By, Level};

/// How long the thread lets lines gather before it writes them: one write for many lines.
const GATHER: Duration = Duration::from_millis(2);
/// The pause before the next try where stderr does not block and takes nothing.
const RETRY: Duration = Duration::from_millis(10);

thread_local! {
    /// This is the thread that writes: what it has to tell of itself is never dropped.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// The queue. One per process, in a static.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    /// Told to the writing thread: there are lines.
    filled: Condvar,
    /// Told to those who flush: there are none, and none is being written.
    emptied: Condvar,
    /// Lines that were to be written, those among them that were dropped.
    logged: By<Level>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Bytes that the thread is writing now; they count like those that wait.
    in_hand: usize,
    /// The thread waits to be told of lines.
    idle: bool,
    /// Lines dropped since the process began, and how many of them the log has told of.
    dropped: u64,
    told: u64,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            logged: By::default(),
        }
    }

    /// Takes a line, or drops and counts it if there is no room. Never waits for the reader.
    pub(super) fn push(&self, line: &[u8]) {
        let text = std::str::from_utf8(line).map(line_without_credentials);
        let line = text.as_ref().map_or(line, |text| text.as_bytes());
        let mut state = self.state.lock();
        let bytes = state.lines.len().saturating_add(state.in_hand).saturating_add(line.len());
        if bytes > self.bytes_max && !WRITES.get() {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.lines.extend_from_slice(line);
        if mem::take(&mut state.idle) {
            self.filled.notify_one();
        }
    }

    /// Lines since the process began, by level.
    pub(super) const fn logged(&self) -> &By<Level> {
        &self.logged
    }

    /// Lines dropped since the process began.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    /// Waits until everything is written, for a bounded time. True if it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while !state.lines.is_empty() || state.in_hand > 0 {
            if self.emptied.wait_until(&mut state, deadline).timed_out() {
                return state.lines.is_empty() && state.in_hand == 0;
            }
        }
        true
    }

    /// Starts the thread that writes.
    pub(super) fn start(&'static self) -> io::Result<()> {
        let write = move || self.write_all_lines(&mut io::stderr());
        thread::Builder::new().name("log".to_owned()).spawn(write).map(drop)
    }

    fn write_all_lines(&self, out: &mut impl Write) {
        WRITES.set(true);
        let mut in_hand = Vec::new();
        loop {
            self.take(&mut in_hand);
            let written = write_patiently(out, &in_hand).is_ok();
            let lines = in_hand.iter().filter(|byte| **byte == b'\n').count();
            in_hand.clear();
            let dropped = self.settle(written, lines as u64);
            if dropped > 0 {
                tracing::warn!(
                    event = "log_lines_dropped",
                    lines = dropped,
                    "log lines were dropped: stderr was not read fast enough (log.queue_bytes_max)"
                );
            }
        }
    }

    /// What was in hand is written, or lost. How many lines were dropped that the log can be told of now.
    fn settle(&self, written: bool, lines: u64) -> u64 {
        let mut state = self.state.lock();
        state.in_hand = 0;
        if state.lines.is_empty() {
            self.emptied.notify_all();
        }
        if !written {
            // Who cannot be written to cannot be told either; the next that is written tells of all.
            state.dropped = state.dropped.saturating_add(lines);
            return 0;
        }
        let untold = state.dropped.saturating_sub(state.told);
        state.told = state.dropped;
        untold
    }

    /// Waits for lines and takes all there are.
    fn take(&self, in_hand: &mut Vec<u8>) {
        let mut state = self.state.lock();
        if state.lines.is_empty() {
            while state.lines.is_empty() {
                state.idle = true;
                self.filled.wait(&mut state);
            }
            state.idle = false;
            drop(state);
            thread::park_timeout(GATHER);
            state = self.state.lock();
        }
        mem::swap(&mut state.lines, in_hand);
        state.in_hand = in_hand.len();
    }
}

/// Writes all of it, however long that takes; stderr may have been set not to block by its other users.
fn write_patiently(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What `tracing` writes to: one call per line.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueWriter(pub(super) &'static Queue);

impl Write for QueueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for QueueWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }

    fn make_writer_for(&self, line: &Metadata<'_>) -> Self {
        self.0.logged.inc(Level::from(*line.level()));
        *self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader of the log that takes nothing until it is told to, and tells what it got.
    struct Stalled {
        go_on: mpsc::Receiver<()>,
        began: mpsc::SyncSender<()>,
        got: mpsc::SyncSender<Vec<u8>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.began.send(()).unwrap();
            let _ = self.go_on.recv();
            self.got.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_nobody_time() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(1_000)));
        let (sender, go_on) = mpsc::sync_channel(8);
        let (began, begins) = mpsc::sync_channel(8);
        let (got, gets) = mpsc::sync_channel(8);
        thread::spawn(move || queue.write_all_lines(&mut Stalled { go_on, began, got }));
        queue.push(b"the first line\n");
        begins.recv().unwrap();
        assert!(!queue.flush(Duration::from_millis(1)), "nothing is written yet");
        let line = [b'x'; 99];
        for _ in 0..50 {
            queue.push(&line);
        }
        // 15 bytes are being written: 9 lines of 99 fit beside them.
        assert_eq!(queue.dropped(), 41);
        sender.send(()).unwrap();
        assert_eq!(gets.recv().unwrap(), b"the first line\n");
        sender.send(()).unwrap();
        assert_eq!(gets.recv().unwrap().len(), 9 * 99);
        assert!(queue.flush(Duration::from_secs(20)));
    }

    #[test]
    fn what_reads_in_pieces_gets_all_and_a_dead_one_is_an_error() {
        struct Pieces(Vec<u8>, usize);
        impl Write for Pieces {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    2 => Err(io::ErrorKind::WouldBlock.into()),
                    9 => Err(io::ErrorKind::BrokenPipe.into()),
                    _ => {
                        self.0.push(bytes[0]);
                        Ok(1)
                    }
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut pieces = Pieces(Vec::new(), 0);
        write_patiently(&mut pieces, b"line\n").unwrap();
        assert_eq!(pieces.0, b"line\n");
        assert!(write_patiently(&mut pieces, b"more").is_err());
    }

    #[test]
    fn passwords_are_cut_out_of_every_line() {
        let queue = Queue::new(1_000);
        queue.push(b"{\"cause\":\"rtsp://me:secret@cam/1?x=secret\"}\n");
        assert_eq!(queue.state.lock().lines, b"{\"cause\":\"rtsp://cam/1\"}\n");
    }
}
