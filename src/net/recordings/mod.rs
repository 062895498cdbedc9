//! Recordings of what sessions were told and decided, for an operator who asked for one: who is recorded, how long,
//! and the lines until they are fetched. What stands in a line is `crate::recording`'s to say.
//!
//! There is none unless somebody orders it, and then it ends by itself: after its time, or when it has as many bytes
//! as it may. All of it is in memory, redacted before it gets here.

mod attach;
mod tape;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    milliseconds::{ms, unix_ms},
    recording::{Heading, Line, SCHEMA},
    session::SessionId,
    signaling::redactor::{KEY_BYTES, Names, Redactor},
};

use super::{Proxy, live::Note, shared::Shared};

pub(crate) use attach::Beginning;

/// What a line costs besides its text, in bytes.
const LINE_OVERHEAD_BYTES: usize = 32;
/// Most bytes of lines in one answer, unless a single line has more.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Who is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// This session, which lives already.
    Session(SessionId),
    /// Whoever publishes or plays the stream of this name.
    Stream(String),
    /// Whoever comes from this address.
    Address(IpAddr),
}

impl Recorded {
    /// In words, for people.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Session(id) => format!("session {id}"),
            Self::Stream(name) => format!("stream {name}"),
            Self::Address(address) => format!("address {address}"),
        }
    }
}

/// What is to be recorded, and how much of it.
#[derive(Clone, Debug)]
pub struct RecordOrder {
    /// Who.
    pub recorded: Recorded,
    /// For how long at most.
    pub time_max: Duration,
    /// How many bytes at most.
    pub bytes_max: usize,
    /// Names and addresses have placeholders as well.
    pub is_anonymous: bool,
}

/// What all recordings may take.
#[derive(Clone, Copy, Debug)]
pub struct RecordBounds {
    /// Recordings that are kept at the same time.
    pub count_max: usize,
    /// Bytes of all of them. 0: nothing is recorded.
    pub bytes_max: usize,
}

/// Why there is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefused {
    /// The settings forbid it.
    #[error("recordings are off (admin.record_bytes_max is 0)")]
    Off,
    /// There are as many as there may be, and they go on.
    #[error("there are admin.recordings_max recordings already; end one first (DELETE /v1/recordings/ID)")]
    Count,
    /// Those that go on leave too little.
    #[error(
        "other recordings leave less than that of admin.record_bytes_max; ask for fewer bytes, or end one"
    )]
    Bytes,
    /// There is no such session.
    #[error("there is no such session now")]
    NoSession,
}

/// What a recording is and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingStatus {
    /// Its name.
    pub id: u64,
    /// Who is recorded, for people.
    pub of: String,
    /// Sessions that are in it so far.
    pub sessions: usize,
    /// Lines so far.
    pub lines: usize,
    /// Bytes so far.
    pub bytes: usize,
    /// Bytes that it may have.
    pub bytes_max: usize,
    /// Milliseconds that it may last.
    pub ms_max: u64,
    /// Why it ended; nothing while it goes on.
    pub ended: Option<String>,
}

/// Lines of a recording from one on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLines {
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: usize,
    /// Why nothing more comes after `next`; nothing while more may.
    pub ended: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Arc<str>>,
    /// Of the lines, and of those that are held.
    bytes: usize,
    held_bytes: usize,
    sessions: usize,
    /// Who writes, or may.
    attached: BTreeSet<SessionId>,
    ended: Option<&'static str>,
}

/// One recording.
#[derive(Debug)]
pub(crate) struct Recording {
    id: u64,
    recorded: Recorded,
    bytes_max: usize,
    time_max: Duration,
    redactor: Redactor,
    state: Mutex<State>,
    /// There are new lines, or it ended.
    news: Notify,
    over: CancellationToken,
    /// How many recordings go on, this one among them.
    going_on: Arc<AtomicUsize>,
}

impl Recording {
    /// How much of its bytes is for sessions that have not named a stream yet.
    const fn held_bytes_max(&self) -> usize {
        match self.recorded {
            Recorded::Stream(_) => self.bytes_max / 2,
            Recorded::Session(_) | Recorded::Address(_) => 0,
        }
    }

    /// Takes these lines, all or none. False: it is over.
    fn write(&self, lines: Vec<String>) -> bool {
        let cost: usize = lines.iter().map(|line| line.len() + LINE_OVERHEAD_BYTES).sum();
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return false;
        }
        if state.bytes.saturating_add(cost) > self.bytes_max - self.held_bytes_max() {
            self.end_as("it has as many bytes as it may", &mut state);
            return false;
        }
        state.bytes += cost;
        state.lines.extend(lines.into_iter().map(Arc::from));
        drop(state);
        self.news.notify_waiters();
        true
    }

    fn end(&self, reason: &'static str) {
        self.end_as(reason, &mut self.state.lock());
    }

    fn end_as(&self, reason: &'static str, state: &mut State) {
        if state.ended.is_some() {
            return;
        }
        let line = serde_json::to_string(&Line::End { reason: reason.to_owned() }).unwrap_or_default();
        state.lines.push(line.into());
        state.ended = Some(reason);
        self.going_on.fetch_sub(1, Ordering::AcqRel);
        self.over.cancel();
        self.news.notify_waiters();
    }

    fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// What it takes now of what all may, and what it may still take.
    fn claims(&self) -> usize {
        let state = self.state.lock();
        if state.ended.is_some() { state.bytes } else { self.bytes_max }
    }

    fn status(&self) -> RecordingStatus {
        let state = self.state.lock();
        RecordingStatus {
            id: self.id,
            of: self.recorded.told(),
            sessions: state.sessions,
            lines: state.lines.len(),
            bytes: state.bytes,
            bytes_max: self.bytes_max,
            ms_max: ms(self.time_max),
            ended: state.ended.map(str::to_owned),
        }
    }

    fn lines(&self, from: usize) -> RecordedLines {
        let state = self.state.lock();
        let mut bytes = 0;
        let fits = |line: &&Arc<str>| {
            let is_first = bytes == 0;
            bytes += line.len();
            is_first || bytes <= ANSWER_BYTES_MAX
        };
        let lines: Vec<String> =
            state.lines.iter().skip(from).take_while(fits).map(|line| (**line).to_owned()).collect();
        let next = from + lines.len();
        let ended = state.ended.filter(|_| next >= state.lines.len());
        RecordedLines { lines, next, ended: ended.map(str::to_owned) }
    }
}

/// All recordings of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Recordings {
    going_on: Arc<AtomicUsize>,
    all: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    given: u64,
    recordings: Vec<Arc<Recording>>,
}

impl Recordings {
    /// Whether anybody is recorded, or would be.
    pub(crate) fn are_going_on(&self) -> bool {
        self.going_on.load(Ordering::Acquire) > 0
    }

    /// Those that go on.
    fn going_on(&self) -> Vec<Arc<Recording>> {
        self.all.lock().recordings.iter().filter(|one| !one.is_over()).cloned().collect()
    }

    fn find(&self, id: u64) -> Option<Arc<Recording>> {
        self.all.lock().recordings.iter().find(|one| one.id == id).cloned()
    }

    /// Makes room, the oldest that are over first, and begins.
    fn begin(&self, order: RecordOrder, bounds: RecordBounds) -> Result<Arc<Recording>, RecordRefused> {
        if bounds.bytes_max == 0 {
            return Err(RecordRefused::Off);
        }
        let mut kept = self.all.lock();
        loop {
            let claimed: usize = kept.recordings.iter().map(|one| one.claims()).sum();
            let refused = if kept.recordings.len() >= bounds.count_max {
                RecordRefused::Count
            } else if claimed.saturating_add(order.bytes_max) > bounds.bytes_max {
                RecordRefused::Bytes
            } else {
                break;
            };
            let over = kept.recordings.iter().position(|one| one.is_over()).ok_or(refused)?;
            kept.recordings.remove(over);
        }
        kept.given += 1;
        let names = if order.is_anonymous { Names::Anonymous } else { Names::Shown };
        let heading = Line::Recording(Heading {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            anonymous: order.is_anonymous,
            began_unix_ms: unix_ms(Duration::ZERO),
        });
        let recording = Arc::new(Recording {
            id: kept.given,
            recorded: order.recorded,
            bytes_max: order.bytes_max,
            time_max: order.time_max,
            redactor: Redactor::new(rand::random::<[u8; KEY_BYTES]>(), names),
            state: Mutex::default(),
            news: Notify::new(),
            over: CancellationToken::new(),
            going_on: Arc::clone(&self.going_on),
        });
        self.going_on.fetch_add(1, Ordering::AcqRel);
        recording.write(vec![serde_json::to_string(&heading).unwrap_or_default()]);
        kept.recordings.push(Arc::clone(&recording));
        Ok(recording)
    }
}

impl Proxy {
    /// Begins to record. Needs a tokio runtime.
    ///
    /// # Errors
    /// It is not allowed, there is no room, or nobody to be recorded.
    pub fn record(&self, order: RecordOrder, bounds: RecordBounds) -> Result<RecordingStatus, RecordRefused> {
        let shared = self.shared();
        if let Recorded::Session(id) = order.recorded
            && shared.live.mailbox(id).is_none()
        {
            return Err(RecordRefused::NoSession);
        }
        let recording = shared.recordings.begin(order, bounds)?;
        tokio::spawn(end_in_time(Arc::clone(&recording)));
        tell(shared, &recording);
        Ok(recording.status())
    }

    /// All recordings that are kept, the oldest first.
    #[must_use]
    pub fn recordings(&self) -> Vec<RecordingStatus> {
        let kept = self.shared().recordings.all.lock();
        kept.recordings.iter().map(|one| one.status()).collect()
    }

    /// The lines of a recording from this one on, once there are any or it is over, or this time has passed; none if
    /// there is no such recording.
    pub async fn recorded_lines(&self, id: u64, from: usize, patience: Duration) -> Option<RecordedLines> {
        let recording = self.shared().recordings.find(id)?;
        let news = recording.news.notified();
        tokio::pin!(news);
        // From here on nothing is missed.
        news.as_mut().enable();
        let lines = recording.lines(from);
        if !lines.lines.is_empty() || lines.ended.is_some() {
            return Some(lines);
        }
        let _ = timeout(patience, news).await;
        Some(recording.lines(from))
    }

    /// Ends a recording and forgets it; false if there is none.
    #[must_use]
    pub fn forget_recording(&self, id: u64) -> bool {
        let mut kept = self.shared().recordings.all.lock();
        let Some(at) = kept.recordings.iter().position(|one| one.id == id) else { return false };
        kept.recordings.remove(at).end("it was ended");
        true
    }
}

async fn end_in_time(recording: Arc<Recording>) {
    let ended = timeout(recording.time_max, recording.over.cancelled()).await;
    if ended.is_err() {
        recording.end("its time is over");
    }
}

/// Tells those sessions that live already. Whoever begins from now on asks by itself.
fn tell(shared: &Shared, recording: &Arc<Recording>) {
    match &recording.recorded {
        Recorded::Session(id) => {
            if let Some(mailbox) = shared.live.mailbox(*id) {
                mailbox.post(Note::Record(Arc::clone(recording)));
            }
        }
        Recorded::Address(address) => {
            let there = shared.live.after(SessionId(0), |mailbox| mailbox.client() == *address);
            for (_, mailbox) in there {
                mailbox.post(Note::Record(Arc::clone(recording)));
            }
        }
        // Only they know what they have.
        Recorded::Stream(_) => shared.live.post_to_all(|| Note::Record(Arc::clone(recording))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{tape::SessionTape, *};
    use crate::recording::Tape as _;

    const BYTES_MAX: usize = 64 * 1024;

    fn of(recorded: Recorded) -> Arc<Recording> {
        let order = RecordOrder {
            recorded,
            time_max: Duration::from_secs(1),
            bytes_max: BYTES_MAX,
            is_anonymous: false,
        };
        let bounds = RecordBounds { count_max: 1, bytes_max: BYTES_MAX };
        Recordings::default().begin(order, bounds).unwrap()
    }

    #[test]
    fn what_is_held_and_what_is_written_have_a_half_each() {
        let recording = of(Recorded::Stream("cam".to_owned()));
        let [mut one, mut two] = [1, 2].map(|id| SessionTape::of(&recording, SessionId(id)).unwrap());
        assert!(one.hold(BYTES_MAX / 2 - 10) && !two.hold(11) && two.hold(10));
        assert!(SessionTape::of(&recording, SessionId(1)).is_none(), "nobody is in it twice");
        assert!(one.write(vec!["x".repeat(BYTES_MAX / 4)]), "what is held takes nothing of the other half");
        one.release();
        assert!(two.hold(BYTES_MAX / 2 - 10), "it was given back");
        drop(two);
        assert_eq!(recording.state.lock().held_bytes, 0, "it goes with its session");
        assert!(!one.write(vec!["x".repeat(BYTES_MAX / 4)]) && one.is_over());
        let status = recording.status();
        assert!(status.bytes <= BYTES_MAX / 2 && status.ended.is_some(), "{status:?}");
    }

    #[test]
    fn nothing_is_held_where_nobody_waits_for_a_name() {
        let recording = of(Recorded::Address(IpAddr::from([127, 0, 0, 1])));
        let mut tape = SessionTape::of(&recording, SessionId(1)).unwrap();
        assert!(!tape.hold(1));
        assert!(tape.write(vec!["x".repeat(BYTES_MAX / 4 * 3)]), "all of it is for lines");
    }
}
