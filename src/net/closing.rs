//! The end of a WebSocket connection: the close frame goes out, the peer's is waited for, for a
//! bounded time, while the session goes on or is long gone. Keeps nothing of what else the peer
//! still says.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::timeout;

use crate::{
    limits::Use,
    session::{Close, Timestamp},
    wire::{
        read::{Came, read},
        scratch,
        side::Side,
        socket::Socket,
        websocket::{HEADER_BYTES_MAX, Opcode, Role, parse_header},
    },
};

use super::shared::Shared;

/// How long a peer may take to answer a close frame and end the connection.
pub(crate) const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// Most bytes that are read in order to find the answer behind them: a peer that goes on sending
/// is cut off.
const SKIPPED_BYTES_MAX: usize = 1024 * 1024;

/// Ends a connection to a server in its own task.
pub(crate) fn close(shared: &Arc<Shared>, side: Side, close: Close) {
    close_holding(shared, side, close, ());
}

/// Ends a connection in its own task. What its client has of any bound it keeps until then: else there
/// would be none on those who break the protocol and stay.
pub(crate) fn close_holding(shared: &Arc<Shared>, mut side: Side, close: Close, held: impl Send + 'static) {
    if close == Close::Abort {
        return;
    }
    if shared.memory.is_full() && side.queued_bytes() > 0 {
        // It would keep for a while what memory is closed for.
        return;
    }
    side.queue_close(close);
    let skip_bytes = side.drop_unfinished();
    see_out(shared, Ending { side, skip_bytes, skipped_bytes: 0, shut: false, close_seen: false }, held);
}

/// Ends a connection whose last HTTP response was written, without losing that to a reset. What its client
/// has of any bound it keeps until then, as in [`close_holding`].
pub(crate) fn close_http(shared: &Arc<Shared>, socket: Socket, held: impl Send + 'static) {
    let side = Side::new(socket, Role::Client, &[]);
    see_out(shared, Ending { side, skip_bytes: 0, skipped_bytes: 0, shut: false, close_seen: true }, held);
}

fn see_out(shared: &Shared, mut end: Ending, held: impl Send + 'static) {
    let counted = (shared.closings.token(), shared.files.count(Use::Closing), held);
    tokio::spawn(async move {
        let _ = timeout(CLOSE_TIME_MAX, poll_fn(|cx| scratch::with(|scratch| end.poll(cx, scratch)))).await;
        drop(counted);
    });
}

struct Ending {
    side: Side,
    /// Bytes to come of a frame that is skipped.
    skip_bytes: u64,
    /// Bytes that came after our close frame.
    skipped_bytes: usize,
    shut: bool,
    close_seen: bool,
}

impl Ending {
    fn poll(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        self.side.send(cx, &[], Timestamp::ZERO);
        if self.side.write_failed() {
            return Poll::Ready(());
        }
        loop {
            // A server ends the connection; a client waits for the answer to its close frame.
            let may_shut = self.close_seen || self.side.peer() == Role::Client;
            if may_shut && !self.shut && !self.side.wants_write() {
                match self.side.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => self.shut = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match ready!(read(&mut self.side, cx, scratch)) {
                _ if self.skipped_bytes > SKIPPED_BYTES_MAX => return Poll::Ready(()),
                Came::Bytes(mut batch) => {
                    let bytes = batch.bytes_mut();
                    self.skipped_bytes = self.skipped_bytes.saturating_add(bytes.len());
                    self.look_for_close(bytes);
                }
                Came::Part => {}
                Came::Ended(_) => return Poll::Ready(()),
            }
        }
    }

    /// Skips messages; what cannot be read is as good as a close frame.
    fn look_for_close(&mut self, mut bytes: &mut [u8]) {
        while !self.close_seen && !bytes.is_empty() {
            let skip = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX).min(bytes.len());
            if skip > 0 {
                self.skip_bytes = self.skip_bytes.saturating_sub(skip as u64);
                bytes = bytes.split_at_mut(skip).1;
                continue;
            }
            match parse_header(bytes, self.side.peer()) {
                Ok(None) if bytes.len() < HEADER_BYTES_MAX => {
                    return self.side.keep(bytes, bytes.len().saturating_add(1));
                }
                Ok(Some(header)) if header.opcode != Opcode::Close => {
                    let length = header.payload_bytes.saturating_add(header.header_bytes as u64);
                    self.skip_bytes = length;
                }
                Ok(_) | Err(_) => self.close_seen = true,
            }
        }
    }
}
