//! The body of an answer. With its end, or whenever it is dropped, the turn is that of the client again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::{net::shared::Shared, telemetry::counts::HttpFailure};

use super::{course::Course, side::InFlight};

/// Any body.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    inner: Inner,
    turn: Turn,
}

/// Whose it is.
#[derive(Debug)]
pub(crate) enum Inner {
    /// A text of ours.
    Own(Full<Bytes>),
    /// That of a server.
    Passed(Box<Passed>),
}

/// Why a body ends before its time: the connection ends with it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the server sends no more of its answer")]
    Stalled,
    #[error("the server broke off its answer")]
    Server,
}

/// A request that is being answered.
#[derive(Debug)]
struct Turn(Arc<Course>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl ReplyBody {
    /// The body of the answer to the request of this turn.
    pub(crate) const fn new(inner: Inner, course: Arc<Course>) -> Self {
        Self { inner, turn: Turn(course) }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let polled = match &mut this.inner {
            Inner::Own(text) => Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
            Inner::Passed(body) => body.poll_frame(cx),
        };
        this.turn.0.set_has_more(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Own(text) => text.is_end_stream(),
            Inner::Passed(body) => body.before.is_none() && body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Own(text) => text.size_hint(),
            Inner::Passed(body) => body.size_hint(),
        }
    }
}

/// The body of a server's answer, which the client takes as fast as it likes and the server sends without a long pause.
#[derive(Debug)]
pub(crate) struct Passed {
    /// What was read already.
    before: Option<Bytes>,
    inner: Incoming,
    idle: Duration,
    /// Runs while the server is waited for.
    patience: Pin<Box<Sleep>>,
    is_waiting: bool,
    told: Told,
    _in_flight: InFlight,
}

impl Passed {
    /// This one, which may pause for as long.
    pub(super) fn new(inner: Incoming, idle: Duration, in_flight: InFlight, told: Told) -> Self {
        let patience = Box::pin(sleep(idle));
        let body =
            Self { before: None, inner, idle, patience, is_waiting: false, told, _in_flight: in_flight };
        if body.inner.is_end_stream() {
            body.told.done();
        }
        body
    }

    /// The same behind what was read of it.
    pub(super) fn behind(self, before: Bytes) -> Self {
        Self { before: Some(before), ..self }
    }

    fn size_hint(&self) -> SizeHint {
        let more = self.before.as_ref().map_or(0, |before| before.len() as u64);
        let hint = self.inner.size_hint();
        hint.exact().map_or(hint, |bytes| SizeHint::with_exact(bytes.saturating_add(more)))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            if !std::mem::replace(&mut self.is_waiting, true) {
                self.patience.as_mut().reset(Instant::now() + self.idle);
            }
            if self.patience.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.told
                .failed(HttpFailure::Stalled, "nothing more of an answer in time (http.idle_timeout_ms)");
            return Poll::Ready(Some(Err(Broken::Stalled)));
        }
        self.is_waiting = false;
        polled.map(|frame| match frame {
            None => {
                self.told.done();
                None
            }
            Some(Ok(frame)) => {
                if self.inner.is_end_stream() {
                    self.told.done();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.told.failed(HttpFailure::Broken, &format!("the server broke off its answer: {error}"));
                Some(Err(Broken::Server))
            }
        })
    }
}

/// What became of a request that is passed on: whatever is dropped without a word was left by its client.
#[derive(Debug)]
pub(crate) struct Told {
    shared: Arc<Shared>,
    route: Arc<str>,
    server: String,
    is_told: std::sync::atomic::AtomicBool,
}

impl Told {
    pub(super) fn new(shared: Arc<Shared>, route: Arc<str>, server: String) -> Self {
        Self { shared, route, server, is_told: false.into() }
    }

    /// It has its answer.
    pub(super) fn done(&self) {
        self.is_told.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// It got none, or half of one.
    pub(super) fn failed(&self, kind: HttpFailure, cause: &str) {
        if !self.is_told.swap(true, std::sync::atomic::Ordering::Relaxed) {
            self.shared.counts.http_failures.inc(kind);
            self.shared.http.tell(&self.route, &self.server, (kind, cause));
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.is_told.load(std::sync::atomic::Ordering::Relaxed) {
            self.shared.counts.http_failures.inc(HttpFailure::ClientLeft);
        }
    }
}
