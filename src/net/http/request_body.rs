//! The body of a request on its way to a server: nothing of it is kept, it is read as fast as the server takes it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use super::course::Course;

/// How long a client that expects to be asked for its body (`Expect: 100-continue`) waits for the word of the server.
const EXPECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Why a body ends before its time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the body of the request is too large (http.body_bytes_max)")]
    TooLarge,
    #[error("the client broke off")]
    Client,
}

/// How far it is.
#[derive(Debug)]
pub(super) struct Progress {
    /// When the last of it went on.
    moved_at: Mutex<Instant>,
    is_too_large: AtomicBool,
    is_over: AtomicBool,
}

impl Progress {
    /// When the last of it went on.
    pub(super) fn moved_at(&self) -> Instant {
        *self.moved_at.lock()
    }

    /// Whether it was cut for its length.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large.load(Ordering::Acquire)
    }

    /// Whether the server has, or will get, no more of it.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// The body.
pub(super) struct RequestBody {
    inner: Option<Incoming>,
    /// Bytes that may still come.
    left: Option<u64>,
    course: Arc<Course>,
    progress: Arc<Progress>,
    /// Until it is asked for.
    gate: Option<Gate>,
}

/// A body that is not asked for yet.
struct Gate {
    asked: oneshot::Receiver<()>,
    patience: Pin<Box<Sleep>>,
}

impl RequestBody {
    /// One of at most so many bytes; `None` is any number.
    pub(super) fn new(inner: Incoming, bytes_max: Option<u64>, course: Arc<Course>) -> (Self, Arc<Progress>) {
        let is_over = inner.is_end_stream();
        let progress = Arc::new(Progress {
            moved_at: Mutex::new(Instant::now()),
            is_too_large: AtomicBool::new(false),
            is_over: AtomicBool::new(is_over),
        });
        let body =
            Self { inner: Some(inner), left: bytes_max, course, progress: Arc::clone(&progress), gate: None };
        (body, progress)
    }

    /// None, for the same request once more.
    pub(super) fn empty(course: Arc<Course>, progress: Arc<Progress>) -> Self {
        Self { inner: None, left: None, course, progress, gate: None }
    }

    /// The same that is not read before the server asks for it, or says nothing for a while.
    pub(super) fn expecting(mut self, asked: oneshot::Receiver<()>) -> Self {
        self.gate = Some(Gate { asked, patience: Box::pin(sleep(EXPECT_TIME_MAX)) });
        self
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(gate) = &mut self.gate else { return Poll::Ready(()) };
        // Whoever asks says so; an end without a word is the answer itself.
        let is_asked = matches!(Pin::new(&mut gate.asked).poll(cx), Poll::Ready(Ok(())));
        if !is_asked && gate.patience.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.gate = None;
        Poll::Ready(())
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.course.set_wants_body(false);
        self.progress.is_over.store(true, Ordering::Release);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.poll_gate(cx).is_pending() {
            return Poll::Pending;
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(cx);
        this.course.set_wants_body(polled.is_pending());
        let frame = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Cut::Client))),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        *this.progress.moved_at.lock() = Instant::now();
        if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => {
                    this.progress.is_too_large.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err(Cut::TooLarge)));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
