//! The body of an answer. With its end, or whenever it is dropped, the turn is that of the client again.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::course::Course;

/// Any body.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    inner: Full<Bytes>,
    turn: Turn,
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
    /// A text of ours.
    pub(crate) fn own(inner: Full<Bytes>, course: Arc<Course>) -> Self {
        Self { inner, turn: Turn(course) }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        this.turn.0.set_has_more(polled.is_ready());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
