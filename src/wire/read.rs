//! The one read loop: what a connection brings becomes messages, in order, and at last an [`End`]. Every
//! socket is read like this, whoever is behind it.
//!
//! Answers pings; what else a message or an end leads to is for whoever owns the connection.

use std::task::{Context, Poll, ready};

use crate::session::{Close, LossCause, Timestamp};

use super::{
    buffer::Buffer,
    frames::{Received, Run},
    side::{Filled, Side},
    websocket::{ProtocolError, Step},
};

/// How a connection ended, as its reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame with this code, if it had one, and this reason.
    Closed(Option<u16>, Box<str>),
    /// End of file without a close frame.
    Dropped,
    /// A reset, or another error of the socket.
    Reset,
    /// The peer broke the WebSocket protocol.
    Broke(ProtocolError),
}

impl End {
    /// What the core calls the end of an upstream connection.
    pub(crate) fn loss(&self) -> LossCause {
        match self {
            Self::Closed(code, _) => LossCause::closed(*code),
            Self::Dropped => LossCause::EndOfFile,
            Self::Reset => LossCause::Reset,
            Self::Broke(_) => LossCause::Protocol,
        }
    }

    /// How our half of the same connection ends: a close frame is answered with its own code, a peer hears
    /// what it did wrong, and to one that is gone nothing is said.
    pub(crate) fn answer(&self) -> Close {
        match self {
            Self::Closed(code, _) => Close::frame(*code),
            Self::Broke(error) => Close::Code(error.close_code()),
            Self::Dropped | Self::Reset => Close::Abort,
        }
    }
}

/// What one read brought.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    /// Bytes, in which there may be messages.
    Bytes(Batch<'a>),
    /// More of a large frame, which is not complete yet.
    Part,
    /// The connection is over without a close frame.
    Ended(End),
}

/// Reads what is there, once. `scratch` holds it until the next read.
pub(crate) fn read<'a>(side: &mut Side, cx: &mut Context<'_>, scratch: &'a mut [u8]) -> Poll<Came<'a>> {
    Poll::Ready(match ready!(side.poll_fill(cx, scratch)) {
        Ok(Filled::Scratch(length)) => {
            Came::Bytes(Batch::new(Bytes::Scratch(scratch.get_mut(..length).unwrap_or_default())))
        }
        Ok(Filled::Own(buffer)) => Came::Bytes(Batch::new(Bytes::Own(buffer))),
        Ok(Filled::Partly) => Came::Part,
        Ok(Filled::End) => Came::Ended(End::Dropped),
        Err(_) => Came::Ended(End::Reset),
    })
}

#[derive(Debug)]
enum Bytes<'a> {
    Scratch(&'a mut [u8]),
    Own(Buffer),
}

impl Bytes<'_> {
    fn get(&self) -> &[u8] {
        match self {
            Self::Scratch(bytes) => bytes,
            Self::Own(buffer) => buffer,
        }
    }

    fn get_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Scratch(bytes) => bytes,
            Self::Own(buffer) => buffer,
        }
    }
}

/// A message in a [`Batch`].
#[derive(Debug)]
pub(crate) struct Message {
    body: Received,
    /// Whether it is binary; else it is text, checked to be UTF-8.
    pub(crate) is_binary: bool,
}

/// What comes next in a [`Batch`].
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole message.
    Message(Message),
    /// The end of the connection; nothing comes behind it.
    Ended(End),
}

/// Bytes that were read, and the stretch of them that goes on to the other side as it is.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    bytes: Bytes<'a>,
    /// Where the next frame begins.
    at: usize,
    had_message: bool,
    run: Run,
}

impl<'a> Batch<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes, at: 0, had_message: false, run: Run::default() }
    }

    /// The next message, or the end. `None`: there is nothing more; the start of a frame is kept by `from`,
    /// which the bytes were read of. Messages of more than `bytes_max` break the protocol.
    pub(crate) fn next(&mut self, from: &mut Side, bytes_max: usize) -> Option<Next> {
        loop {
            let at = self.at;
            let rest = self.bytes.get_mut().get_mut(at..).filter(|rest| !rest.is_empty())?;
            let (end, message) = match from.decode(rest, bytes_max) {
                Ok(Step::Incomplete { needed }) => {
                    from.keep(rest, needed);
                    return self.nothing_more(None);
                }
                Ok(Step::Message { end, binary, payload, mask }) => {
                    let payload = at.saturating_add(payload.start)..at.saturating_add(payload.end);
                    let body = Received::Whole { frame: at..at.saturating_add(end), payload, mask };
                    (end, Some(Message { body, is_binary: binary }))
                }
                Ok(Step::Assembled { end, binary, message }) => {
                    (end, Some(Message { body: Received::Assembled(message), is_binary: binary }))
                }
                Ok(Step::Ping { end, payload }) => {
                    from.queue_pong(rest.get(payload).unwrap_or_default());
                    (end, None)
                }
                Ok(Step::Pong { end } | Step::Fragment { end }) => (end, None),
                Ok(Step::Close { code, reason }) => {
                    // The decoder has checked that it is text.
                    let reason = rest.get(reason).and_then(|reason| std::str::from_utf8(reason).ok());
                    let end = End::Closed(code, reason.unwrap_or_default().into());
                    return self.nothing_more(Some(Next::Ended(end)));
                }
                Err(error) => return self.nothing_more(Some(Next::Ended(End::Broke(error)))),
            };
            self.at = at.saturating_add(end);
            if let Some(message) = message {
                self.had_message = true;
                return Some(Next::Message(message));
            }
        }
    }

    fn nothing_more(&mut self, last: Option<Next>) -> Option<Next> {
        self.at = self.bytes.get().len();
        last
    }

    /// Whether there was a message so far.
    pub(crate) const fn had_message(&self) -> bool {
        self.had_message
    }

    /// All that was read, frames and all.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut()
    }

    /// What was read behind the last message.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get().get(self.at..).unwrap_or_default()
    }

    /// The payload of a message of this batch.
    pub(crate) fn payload<'m>(&'m self, message: &'m Message) -> &'m [u8] {
        message.body.payload(self.bytes.get())
    }

    /// The payload of a message of this batch, to be changed in place.
    pub(crate) fn payload_mut<'m>(&'m mut self, message: &'m mut Message) -> &'m mut [u8] {
        message.body.payload_mut(self.bytes.get_mut())
    }

    /// Lets a message go on, behind those that went on before. It is written with [`Batch::send`].
    pub(crate) fn pass_on(&mut self, message: &Message, to: &mut Side) {
        self.run.add(self.bytes.get_mut(), &message.body, message.is_binary, to);
    }

    /// Queues what went on so far, so that something else can follow it.
    pub(crate) fn queue(&mut self, to: &mut Side) {
        self.run.queue(self.bytes.get(), to);
    }

    /// Writes what went on so far.
    pub(crate) fn send(&mut self, to: &mut Side, cx: &mut Context<'_>, now: Timestamp) {
        to.send(cx, self.run.take(self.bytes.get()), now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::{
        super::{
            socket::Socket,
            websocket::{Opcode, Role, encode_close, encode_frame},
        },
        *,
    };

    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
    const BYTES_MAX: usize = 1_000;

    async fn pair() -> (TcpStream, Side) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        (peer, Side::new(Socket::Plain(socket), Role::Client, &[]))
    }

    /// What a reader is told until the end: messages as text, `…` for a read without one.
    async fn all(side: &mut Side) -> (Vec<String>, End) {
        let mut told = Vec::new();
        let mut scratch = vec![0; 4_096];
        loop {
            let mut batch = match poll_fn(|cx| read(side, cx, &mut scratch).map(shorten)).await {
                Ok(bytes) => Batch::new(Bytes::Own(bytes.as_slice().into())),
                Err(None) => continue,
                Err(Some(end)) => return (told, end),
            };
            while let Some(next) = batch.next(side, BYTES_MAX) {
                match next {
                    Next::Message(message) => {
                        let text = String::from_utf8_lossy(batch.payload(&message)).into_owned();
                        told.push(if message.is_binary { format!("binary {text}") } else { text });
                    }
                    Next::Ended(end) => return (told, end),
                }
            }
            if !batch.had_message() {
                told.push("…".to_owned());
            }
        }
    }

    /// The bytes of a read, which do not outlive a poll.
    fn shorten(came: Came<'_>) -> Result<Vec<u8>, Option<End>> {
        match came {
            Came::Bytes(mut batch) => Ok(batch.bytes_mut().to_vec()),
            Came::Part => Err(None),
            Came::Ended(end) => Err(Some(end)),
        }
    }

    fn frames(frames: &[(Opcode, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (opcode, payload) in frames {
            encode_frame(&mut bytes, *opcode, payload, MASK);
        }
        bytes
    }

    #[tokio::test]
    async fn messages_come_in_order_and_the_end_last() {
        let (mut peer, mut side) = pair().await;
        let mut bytes = frames(&[(Opcode::Text, b"a"), (Opcode::Ping, b"p"), (Opcode::Binary, b"b")]);
        encode_close(&mut bytes, Some(4000), "enough", MASK);
        peer.write_all(&bytes).await.unwrap();
        let (told, end) = all(&mut side).await;
        assert_eq!(told, ["a", "binary b"]);
        assert_eq!(end, End::Closed(Some(4000), "enough".into()));
        assert_eq!((end.loss(), end.answer()), (LossCause::Closed(4000), Close::Code(4000)));
        assert!(side.wants_write(), "the ping has its answer");
    }

    #[tokio::test]
    async fn a_frame_in_two_parts_is_kept_and_what_comes_before_a_broken_one_is_told() {
        let (mut peer, mut side) = pair().await;
        let first = frames(&[(Opcode::Text, b"halves")]);
        peer.write_all(&first[..5]).await.unwrap();
        let reader = async { all(&mut side).await };
        let writer = async {
            tokio::task::yield_now().await;
            peer.write_all(&first[5..]).await.unwrap();
            peer.write_all(&[frames(&[(Opcode::Text, b"whole")]), vec![0xF1, 0x80, 0, 0, 0, 0]].concat())
                .await
                .unwrap();
        };
        let ((told, end), ()) = tokio::join!(reader, writer);
        assert_eq!(told.iter().filter(|told| *told != "…").collect::<Vec<_>>(), ["halves", "whole"]);
        assert!(matches!(end, End::Broke(_)), "{end:?}");
        assert_eq!((end.loss(), end.answer()), (LossCause::Protocol, Close::Code(1002)));
    }

    #[tokio::test]
    async fn an_end_without_a_close_frame_is_told_apart() {
        let (peer, mut side) = pair().await;
        drop(peer);
        let (told, end) = all(&mut side).await;
        assert_eq!((told.len(), &end), (0, &End::Dropped));
        assert_eq!((end.loss(), end.answer()), (LossCause::EndOfFile, Close::Abort));
        let (peer, mut side) = pair().await;
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        assert_eq!(all(&mut side).await.1, End::Reset);
        let nothing = End::Closed(None, Box::default());
        assert_eq!((nothing.loss(), nothing.answer()), (LossCause::Closed(1005), Close::NoCode));
    }
}
