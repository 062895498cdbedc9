//! Lines on their way out: a bounded queue and the one thread that writes.
//!
//! Whoever takes them may stall or fail (a full pipe, a stopped terminal, a journal that takes nothing, a full disk).
//! Then lines are dropped and counted, and nobody who logs waits: sessions and media are worth more than their log.

use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
    mem, thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::signaling::redact::line_without_credentials;

use super::{
    counts::{By, Level},
    recent::Recent,
    sink::Sink,
};

/// How long the thread lets lines gather before it writes them: one write for many lines.
const GATHER: Duration = Duration::from_millis(2);

thread_local! {
    /// This is the thread that writes: what it has to tell of itself is never dropped.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// The queue. One for each place that lines go to, in a static.
pub(super) struct Queue {
    bytes_max: usize,
    recent: Recent,
    state: Mutex<State>,
    /// Told to the writing thread: there are lines.
    filled: Condvar,
    /// Told to those who flush: there are none, and none is being written.
    emptied: Condvar,
    /// Lines that were to be written, those among them that were dropped.
    logged: By<Level>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
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
    /// Why the last lines could not be written.
    why: Option<String>,
    /// Whoever takes lines is to be opened anew.
    reopen: bool,
}

impl Queue {
    /// With room for so many bytes of lines that wait, and of the newest ones that are kept.
    pub(super) fn new(bytes_max: usize, recent_bytes_max: usize) -> Self {
        Self {
            bytes_max,
            recent: Recent::new(recent_bytes_max),
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
        self.recent.push(line);
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

    /// The newest lines, the oldest of them first.
    pub(super) fn recent(&self) -> Vec<String> {
        self.recent.lines()
    }

    /// Has whoever takes the lines opened anew, behind the lines that wait.
    pub(super) fn reopen(&self) {
        let mut state = self.state.lock();
        state.reopen = true;
        if mem::take(&mut state.idle) {
            self.filled.notify_one();
        }
    }

    /// Starts the thread that writes.
    pub(super) fn start(&'static self, name: &'static str, mut sink: Box<dyn Sink>) -> io::Result<()> {
        let write = move || self.write_all_lines(name, &mut *sink);
        thread::Builder::new().name(name.to_owned()).spawn(write).map(drop)
    }

    fn write_all_lines(&self, name: &str, sink: &mut dyn Sink) {
        WRITES.set(true);
        let mut in_hand = Vec::new();
        loop {
            let reopen = self.take(&mut in_hand);
            let written = if in_hand.is_empty() { Ok(()) } else { sink.write(&in_hand) };
            let lines = in_hand.iter().filter(|byte| **byte == b'\n').count();
            in_hand.clear();
            let (dropped, why) = self.settle(written, lines as u64);
            if dropped > 0 {
                tracing::warn!(
                    event = "log_lines_dropped",
                    log = name,
                    lines = dropped,
                    cause = why.as_deref().unwrap_or("they were not taken fast enough"),
                    "lines were dropped: they could not be written, or more of them waited than queue_bytes_max"
                );
            }
            if reopen {
                match sink.reopen() {
                    Ok(()) => tracing::info!(event = "log_reopened", log = name, "a file was opened anew"),
                    Err(error) => tracing::warn!(
                        event = "log_reopen_failed",
                        log = name,
                        %error,
                        "a file cannot be opened anew; the one that was open is written on"
                    ),
                }
            }
        }
    }

    /// What was in hand is written, or lost. How many lines were dropped that the log can be told of now, and why the
    /// last of them could not be written, if that was why.
    fn settle(&self, written: io::Result<()>, lines: u64) -> (u64, Option<String>) {
        let mut state = self.state.lock();
        state.in_hand = 0;
        if state.lines.is_empty() {
            self.emptied.notify_all();
        }
        if let Err(error) = written {
            // Who cannot be written to cannot be told either; the next that is written tells of all.
            state.dropped = state.dropped.saturating_add(lines);
            state.why = Some(error.to_string());
            return (0, None);
        }
        let untold = state.dropped.saturating_sub(state.told);
        state.told = state.dropped;
        (untold, if untold > 0 { state.why.take() } else { None })
    }

    /// Waits for lines and takes all there are; true if whoever takes them is to be opened anew behind them.
    fn take(&self, in_hand: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        if state.lines.is_empty() && !state.reopen {
            while state.lines.is_empty() && !state.reopen {
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
        mem::take(&mut state.reopen)
    }
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

    use crate::telemetry::sink::Stream;

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
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(1_000, 0)));
        let (sender, go_on) = mpsc::sync_channel(8);
        let (began, begins) = mpsc::sync_channel(8);
        let (got, gets) = mpsc::sync_channel(8);
        thread::spawn(move || queue.write_all_lines("log", &mut Stream(Stalled { go_on, began, got })));
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

    /// A disk that is full until it is told not to be.
    struct Disk {
        is_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
        got: mpsc::SyncSender<Vec<u8>>,
        reopened: mpsc::SyncSender<()>,
    }

    impl Sink for Disk {
        fn write(&mut self, lines: &[u8]) -> io::Result<()> {
            self.got.send(lines.to_vec()).unwrap();
            if self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn reopen(&mut self) -> io::Result<()> {
            self.reopened.send(()).unwrap();
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_told_when_it_takes_them_again() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(1_000, 0)));
        let is_full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (got, gets) = mpsc::sync_channel(8);
        let (reopened, reopens) = mpsc::sync_channel(8);
        let disk = Disk { is_full: std::sync::Arc::clone(&is_full), got, reopened };
        let capture = crate::telemetry::LogCapture::new();
        let here = capture.clone();
        thread::spawn(move || {
            let _guard = here.on_this_thread();
            let mut disk = disk;
            queue.write_all_lines("log", &mut disk);
        });
        queue.push(b"one\ntwo\n");
        assert_eq!(gets.recv().unwrap(), b"one\ntwo\n");
        assert!(queue.flush(Duration::from_secs(20)), "nobody waits for a full disk");
        assert_eq!(queue.dropped(), 2);
        is_full.store(false, std::sync::atomic::Ordering::SeqCst);
        queue.push(b"three\n");
        assert_eq!(gets.recv().unwrap(), b"three\n");
        queue.reopen();
        reopens.recv().unwrap();
        let told = capture.lines_with("log_lines_dropped");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("\"lines\":2") && told[0].contains("storage"), "{told:?}");
    }

    #[test]
    fn passwords_are_cut_out_of_every_line() {
        let queue = Queue::new(1_000, 1_000);
        queue.push(b"{\"cause\":\"rtsp://me:secret@cam/1?x=secret\"}\n");
        assert_eq!(queue.state.lock().lines, b"{\"cause\":\"rtsp://cam/1\"}\n");
        assert_eq!(queue.recent(), ["{\"cause\":\"rtsp://cam/1\"}"]);
    }
}
