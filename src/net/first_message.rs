//! The first message of a client, where the application that it names decides to which pool its session goes
//! (`app_key` of a route). Reads and changes no bytes; what comes before the message is left to the session.

use std::{borrow::Cow, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    signaling::{ClientMessage, peek},
    wire::{
        socket::Socket,
        websocket::{Decoder, Opcode, Role, Step, encode_frame},
    },
};

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// What the first message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is of this application.
    App(String),
    /// It belongs to a session: whose is told by its token.
    MediaSocket,
    /// Something else, or nothing that could be read in time.
    Other,
    /// The client is gone.
    Gone,
}

/// Waits for the first message; what was read is added to `read`. One of more than `bytes_max` says nothing.
pub(super) async fn listen(
    socket: &mut Socket,
    read: &mut Vec<u8>,
    bytes_max: usize,
    patience: Duration,
) -> Said {
    let patience = if patience.is_zero() { Duration::from_secs(365 * 24 * 3_600) } else { patience };
    timeout(patience, listen_on(socket, read, bytes_max)).await.unwrap_or(Said::Other)
}

async fn listen_on(socket: &mut Socket, read: &mut Vec<u8>, bytes_max: usize) -> Said {
    let mut listener = Listener::default();
    loop {
        let (said, pongs) = listener.look(read, bytes_max);
        if !pongs.is_empty() && (socket.write_all(&pongs).await.is_err() || socket.flush().await.is_err()) {
            return Said::Gone;
        }
        if let Some(said) = said {
            return said;
        }
        read.reserve(CHUNK_BYTES);
        match socket.read_buf(read).await {
            Ok(0) | Err(_) => return Said::Gone,
            Ok(_) => {}
        }
    }
}

/// How far the bytes were looked at: what came before is not looked at again, however few come at once.
struct Listener {
    decoder: Decoder,
    /// Decoding unmasks in place, and the session is to read the same bytes.
    copy: Vec<u8>,
    at: usize,
    /// A message has begun, in fragments.
    is_begun: bool,
}

impl Default for Listener {
    fn default() -> Self {
        Self { decoder: Decoder::new(Role::Client), copy: Vec::new(), at: 0, is_begun: false }
    }
}

impl Listener {
    /// What is said in these bytes, as far as it is complete; pings before it are answered and taken out. Between two
    /// looks more may be put behind them.
    fn look(&mut self, read: &mut Vec<u8>, bytes_max: usize) -> (Option<Said>, Vec<u8>) {
        let mut pongs = Vec::new();
        self.copy.extend_from_slice(read.get(self.copy.len()..).unwrap_or_default());
        loop {
            let rest = self.copy.get_mut(self.at..).unwrap_or_default();
            let end = match self.decoder.decode(rest, bytes_max) {
                Ok(Step::Incomplete { needed }) => {
                    let is_too_large =
                        needed > bytes_max.saturating_add(CHUNK_BYTES) || read.len() > bytes_max;
                    return (is_too_large.then_some(Said::Other), pongs);
                }
                Ok(Step::Message { binary: false, payload, .. }) => {
                    return (Some(said(rest.get(payload).unwrap_or_default())), pongs);
                }
                Ok(Step::Assembled { binary: false, message, .. }) => return (Some(said(&message)), pongs),
                Ok(Step::Ping { end, payload }) if !self.is_begun => {
                    encode_frame(&mut pongs, Opcode::Pong, rest.get(payload).unwrap_or_default(), None);
                    let ping = self.at..self.at.saturating_add(end).min(self.copy.len());
                    read.drain(ping.clone());
                    self.copy.drain(ping);
                    continue;
                }
                Ok(Step::Fragment { end }) => {
                    self.is_begun = true;
                    end
                }
                Ok(Step::Ping { end, .. } | Step::Pong { end }) => end,
                // The session will say what is wrong with it.
                Ok(Step::Message { .. } | Step::Assembled { .. } | Step::Close { .. }) | Err(_) => {
                    return (Some(Said::Other), pongs);
                }
            };
            self.at = self.at.saturating_add(end);
        }
    }
}

fn said(text: &[u8]) -> Said {
    let Ok(peek) = peek(text) else { return Said::Other };
    match ClientMessage::of(&peek) {
        ClientMessage::Connection(connection) => {
            connection.app_key().map_or(Said::Other, |app_key| Said::App(Cow::into_owned(app_key)))
        }
        ClientMessage::ConnectMediaTransport(_) => Said::MediaSocket,
        _ => Said::Other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::wire::websocket::write_header;

    const MASK: Option<[u8; 4]> = Some([7, 1, 9, 3]);
    const CONNECTION: &[u8] = br#"{"message":"connection","data":[{"appKey":"roomApp"}]}"#;

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, opcode, payload, MASK);
        bytes
    }

    fn looked(bytes: &[u8]) -> (Option<Said>, Vec<u8>, Vec<u8>) {
        let mut read = bytes.to_vec();
        let (said, pongs) = Listener::default().look(&mut read, 65_536);
        (said, pongs, read)
    }

    #[test]
    fn the_application_is_told_and_every_byte_is_left() {
        let bytes = frame(Opcode::Text, CONNECTION);
        let (said, pongs, left) = looked(&bytes);
        assert_eq!((said, pongs.len(), left), (Some(Said::App("roomApp".into())), 0, bytes.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(looked(&bytes[..cut]).0, None, "{cut}");
        }
    }

    #[test]
    fn pings_before_it_are_answered_and_taken_out() {
        let bytes =
            [frame(Opcode::Ping, b"a"), frame(Opcode::Pong, b""), frame(Opcode::Text, CONNECTION)].concat();
        let (said, pongs, left) = looked(&bytes);
        assert_eq!(said, Some(Said::App("roomApp".into())));
        assert_eq!(pongs, [0x8A, 1, b'a']);
        assert_eq!(left, bytes[frame(Opcode::Ping, b"a").len()..]);
    }

    #[test]
    fn byte_by_byte_it_is_the_same() {
        let pong = frame(Opcode::Pong, b"unasked");
        let (one, two) = CONNECTION.split_at(20);
        let mut begin = Vec::new();
        write_header(&mut begin, Opcode::Text, one.len(), Some([0; 4]));
        begin[0] &= 0x7F;
        begin.extend(one);
        let end = frame(Opcode::Continuation, two);
        let whole =
            [&frame(Opcode::Ping, b"a")[..], &pong, &frame(Opcode::Ping, b"b"), &begin, &end].concat();
        let (mut listener, mut read, mut answered) = (Listener::default(), Vec::new(), Vec::new());
        for (nth, byte) in whole.iter().enumerate() {
            read.push(*byte);
            let (said, pongs) = listener.look(&mut read, 65_536);
            answered.extend(pongs);
            let is_last = nth + 1 == whole.len();
            assert_eq!(said, is_last.then(|| Said::App("roomApp".into())), "{nth}");
        }
        assert_eq!(answered, [0x8A, 1, b'a', 0x8A, 1, b'b']);
        assert_eq!(read, [pong, begin, end].concat());
    }

    #[test]
    fn a_ping_behind_something_else_is_taken_out_where_it_is() {
        let pong = frame(Opcode::Pong, b"unasked");
        let text = frame(Opcode::Text, CONNECTION);
        let (said, pongs, left) = looked(&[&pong[..], &frame(Opcode::Ping, b"a"), &text].concat());
        assert_eq!((said, &pongs[..]), (Some(Said::App("roomApp".into())), &[0x8A, 1, b'a'][..]));
        assert_eq!(left, [pong, text].concat());
    }

    #[test]
    fn a_message_in_fragments_is_put_together() {
        let (one, two) = CONNECTION.split_at(20);
        let mut bytes = Vec::new();
        write_header(&mut bytes, Opcode::Text, one.len(), Some([0; 4]));
        bytes[0] &= 0x7F;
        bytes.extend(one);
        bytes.extend(frame(Opcode::Ping, b""));
        bytes.extend(frame(Opcode::Continuation, two));
        let (said, _, left) = looked(&bytes);
        assert_eq!((said, left), (Some(Said::App("roomApp".into())), bytes));
    }

    #[test]
    fn what_names_no_application_is_something_else() {
        for bytes in [
            frame(Opcode::Text, b"no json"),
            frame(Opcode::Text, br#"{"message":"connection","data":[{}]}"#),
            frame(Opcode::Text, br#"{"message":"playStream","data":[{"appKey":"roomApp"}]}"#),
            frame(Opcode::Binary, CONNECTION),
            frame(Opcode::Close, b""),
            b"\xff\xff\xff\xff".to_vec(),
            frame(Opcode::Text, &[b' '; 70_000]),
        ] {
            assert_eq!(looked(&bytes).0, Some(Said::Other));
        }
        let media = frame(Opcode::Text, br#"{"message":"connectMediaTransport","data":[{"authToken":"t"}]}"#);
        assert_eq!(looked(&media).0, Some(Said::MediaSocket));
    }
}
