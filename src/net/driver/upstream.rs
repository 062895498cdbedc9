//! What the upstream sends.

use std::{
    ops::Range,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    net::closing,
    session::{Close, Input, LossCause, Output, Timestamp},
    wire::{
        frames::{Received, Run},
        side::Filled,
        websocket::Step,
    },
};

use super::Driver;

impl Driver {
    /// Whether the upstream lags behind with what it is sent.
    pub(super) fn upstream_is_full(&self) -> bool {
        let mark = self.shared.settings.limits.upstream_buffer_bytes_max;
        self.upstream.as_ref().is_some_and(|upstream| upstream.is_full(mark))
    }

    /// True if something was read.
    pub(super) fn read_upstream(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Timestamp) -> bool {
        if self.is_paused() || self.waits_for_memory(self.upstream.as_ref()) {
            return false;
        }
        let Some(upstream) = &mut self.upstream else { return false };
        let filled = upstream.poll_fill(cx, scratch);
        if filled.is_ready() {
            self.passed_something(now);
        }
        match filled {
            Poll::Pending => return false,
            Poll::Ready(Ok(Filled::Scratch(length))) => {
                let buffer = scratch.get_mut(..length).unwrap_or_default();
                self.upstream_bytes(cx, buffer, now);
            }
            Poll::Ready(Ok(Filled::Own(mut buffer))) => self.upstream_bytes(cx, &mut buffer, now),
            Poll::Ready(Ok(Filled::Partly)) => self.upstream_activity(now),
            Poll::Ready(Ok(Filled::End)) => self.upstream_gone(LossCause::EndOfFile, now),
            Poll::Ready(Err(_)) => self.upstream_gone(LossCause::Reset, now),
        }
        true
    }

    fn upstream_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], now: Timestamp) {
        let bytes_max = self.shared.settings.limits.message_bytes_max;
        let epoch = self.epoch;
        let mut run = Run::default();
        let mut at = 0;
        let mut messages = false;
        // The core may end this epoch with any message: what follows is not delivered then.
        while let Some(upstream) = &mut self.upstream
            && self.epoch == epoch
            && self.client.is_some()
            && at < buffer.len()
        {
            let Some(rest) = buffer.get_mut(at..) else { break };
            match upstream.decode(rest, bytes_max) {
                Ok(Step::Incomplete { needed }) => {
                    upstream.keep(rest, needed);
                    break;
                }
                Ok(step) => {
                    messages |= matches!(step, Step::Message { .. } | Step::Assembled { .. });
                    at = self.upstream_step(cx, buffer, at, step, &mut run, now);
                }
                Err(error) => {
                    tracing::warn!(session = %self.id(), %error, "the upstream broke the WebSocket protocol");
                    self.send_run(cx, buffer, &mut run, now);
                    // It is told what it did wrong before it is left.
                    if let Some(upstream) = self.upstream.take() {
                        closing::close(&self.shared, upstream, Close::Code(error.close_code()));
                        self.upstream_ended(LossCause::Protocol, now);
                    }
                    break;
                }
            }
        }
        self.send_run(cx, buffer, &mut run, now);
        if !messages {
            self.upstream_activity(now);
        }
    }

    fn send_run(&mut self, cx: &mut Context<'_>, buffer: &[u8], run: &mut Run, now: Timestamp) {
        if let Some(client) = &mut self.client {
            client.send(cx, run.take(buffer), now);
        }
    }

    /// Deals with one frame that begins at `at`; where the next one begins.
    fn upstream_step(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        at: usize,
        step: Step,
        run: &mut Run,
        now: Timestamp,
    ) -> usize {
        let shift = |range: Range<usize>| at.saturating_add(range.start)..at.saturating_add(range.end);
        match step {
            Step::Message { end, binary, payload, mask } => {
                let received = Received::Whole { frame: shift(0..end), payload: shift(payload), mask };
                self.upstream_message(buffer, &received, binary, run, now);
                at.saturating_add(end)
            }
            Step::Assembled { end, binary, message } => {
                self.upstream_message(buffer, &Received::Assembled(message), binary, run, now);
                at.saturating_add(end)
            }
            Step::Ping { end, payload } => {
                if let (Some(upstream), Some(payload)) = (&mut self.upstream, buffer.get(shift(payload))) {
                    upstream.queue_pong(payload);
                }
                at.saturating_add(end)
            }
            Step::Pong { end } | Step::Fragment { end } => at.saturating_add(end),
            Step::Close { code, reason } => {
                self.send_run(cx, buffer, run, now);
                if let Some(upstream) = self.upstream.take() {
                    let answer = code.map_or(Close::NoCode, Close::Code);
                    closing::close(&self.shared, upstream, answer);
                }
                self.hear_reason(code, buffer.get(shift(reason)));
                self.upstream_ended(LossCause::Closed(code.unwrap_or(1005)), now);
                self.parting = None;
                buffer.len()
            }
            Step::Incomplete { .. } => buffer.len(),
        }
    }

    fn upstream_message(
        &mut self,
        buffer: &mut [u8],
        received: &Received,
        binary: bool,
        run: &mut Run,
        now: Timestamp,
    ) {
        if self.passthrough {
            if let Some(client) = &mut self.client {
                run.add(buffer, received, binary, client);
            }
            return;
        }
        let message = received.payload(buffer);
        let input = if binary {
            Input::UpstreamBinary(self.epoch, message)
        } else {
            Input::UpstreamText(self.epoch, message)
        };
        self.core.handle(input, now);
        for order in self.core.take_outputs() {
            match (order, &mut self.client) {
                (Output::ForwardToClient, Some(client)) => run.add(buffer, received, binary, client),
                (Output::ForwardToClient, None) => {}
                (order, client) => {
                    if let Some(client) = client {
                        run.queue(buffer, client);
                    }
                    self.carry_out(order);
                }
            }
        }
    }

    pub(super) fn upstream_activity(&mut self, now: Timestamp) {
        if !self.passthrough && self.upstream.is_some() {
            self.tell(Input::UpstreamActivity(self.epoch), now);
        }
    }

    /// The upstream connection ended without a close frame, or is to be dropped.
    pub(super) fn upstream_gone(&mut self, cause: LossCause, now: Timestamp) {
        if self.upstream.take().is_some() {
            self.upstream_ended(cause, now);
        }
    }

    fn upstream_ended(&mut self, cause: LossCause, now: Timestamp) {
        if self.passthrough {
            let close = match cause {
                LossCause::Closed(1005) => Close::NoCode,
                LossCause::Closed(code) => Close::Code(code),
                _ => Close::Abort,
            };
            self.close_client(close);
            self.core.handle(Input::ClientClosed(None), now);
        } else {
            self.tell(Input::UpstreamLost(self.epoch, cause), now);
            if self.dial.is_none() && self.client.is_some() {
                // The core waits before its next dial: the last connection did not last.
                self.waits_for_node = true;
                self.shared.pool.wait_for_return(self.id(), Arc::clone(&self.registered.mailbox));
            }
        }
    }
}
