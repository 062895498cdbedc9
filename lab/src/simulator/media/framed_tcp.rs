//! Datagrams on a TCP connection, each with two bytes of length before it (RFC 4571), never blocking.
//!
//! Written apart from the framing of the proxy on purpose: one that misreads RFC 4571 must not agree with
//! itself. Every length that a frame may have is taken here. What the peer does not take is dropped in
//! whole datagrams, as UDP would drop it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

/// Bytes waiting for a peer that does not read.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Bytes read from one connection before the others get their turn.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Bytes asked of the system at once.
const READ_BYTES: usize = 16 * 1024;

/// Whether a connection has more to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Nothing: the system announces what comes next.
    Nothing,
    /// Perhaps: nobody announces it again.
    Perhaps,
}

/// A connection that carries datagrams. It need not stand yet.
pub(super) struct FramedTcp {
    stream: TcpStream,
    /// The beginning of a datagram, with its length.
    received: Vec<u8>,
    unsent: VecDeque<u8>,
}

impl FramedTcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Best effort: without it datagrams are late, not lost.
        let _ = stream.set_nodelay(true);
        Self { stream, received: Vec::new(), unsent: VecDeque::new() }
    }

    pub(super) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a datagram, or drops it if too much waits already.
    pub(super) fn send(&mut self, datagram: &[u8]) {
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        let length = length.to_be_bytes();
        if self.unsent.len() + length.len() + datagram.len() <= UNSENT_BYTES_MAX {
            self.unsent.extend(length);
            self.unsent.extend(datagram);
        }
        // That the connection has ended shows when it is read.
        let _ = self.write_unsent();
    }

    /// Writes what waits and hands out the datagrams that have come. Call it whenever the system announces
    /// the connection.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) fn receive(&mut self, datagrams: &mut Vec<Vec<u8>>) -> io::Result<Remaining> {
        self.write_unsent()?;
        let mut buffer = [0; READ_BYTES];
        let mut total = 0;
        while total < TURN_BYTES_MAX {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    total += count;
                    self.received.extend(buffer.iter().take(count));
                    cut(&mut self.received, datagrams);
                }
                Err(error) if is_busy(&error) => return Ok(Remaining::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Remaining::Perhaps)
    }

    fn write_unsent(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_busy(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Busy, or not connected yet.
fn is_busy(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

/// Takes the datagrams that are whole out of what was received.
fn cut(received: &mut Vec<u8>, datagrams: &mut Vec<Vec<u8>>) {
    let mut rest = received.as_slice();
    while let Some((length, after)) = rest.split_first_chunk()
        && let Some((datagram, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        datagrams.push(datagram.to_vec());
        rest = after;
    }
    let taken = received.len() - rest.len();
    received.drain(..taken);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn pair() -> (FramedTcp, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (FramedTcp::new(stream), listener.accept().unwrap().0)
    }

    #[test]
    fn datagrams_come_whole_wherever_the_stream_is_cut() {
        let sent: [&[u8]; 4] = [&[1], &[], &[2; 300], &[3; 5_000]];
        let wire: Vec<u8> = vec![0, 1, 1, 0, 0, 1, 44]
            .into_iter()
            .chain([2; 300])
            .chain([19, 136])
            .chain([3; 5_000])
            .collect();
        for piece in [1, 2, 3, 7, 301, wire.len()] {
            let (mut received, mut datagrams) = (Vec::new(), Vec::new());
            for bytes in wire.chunks(piece) {
                received.extend(bytes);
                cut(&mut received, &mut datagrams);
            }
            assert_eq!(datagrams, sent, "in pieces of {piece}");
            assert!(received.is_empty());
        }
    }

    #[test]
    fn what_waits_for_a_peer_that_does_not_read_is_bounded_and_still_whole() {
        let (mut framed, mut peer) = pair();
        let datagram = [7; 1200];
        for _ in 0..100_000 {
            framed.send(&datagram);
        }
        assert!(framed.unsent.len() <= UNSENT_BYTES_MAX);
        let reader = std::thread::spawn(move || {
            let (mut wire, mut datagrams) = (Vec::new(), Vec::new());
            peer.read_to_end(&mut wire).unwrap();
            cut(&mut wire, &mut datagrams);
            (wire, datagrams)
        });
        let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(8));
        poll.registry().register(framed.stream(), mio::Token(0), mio::Interest::WRITABLE).unwrap();
        while !framed.unsent.is_empty() {
            poll.poll(&mut events, None).unwrap();
            framed.write_unsent().unwrap();
        }
        drop(framed);
        let (rest, datagrams) = reader.join().unwrap();
        assert!(rest.is_empty(), "no datagram is cut off");
        assert!(datagrams.len() < 100_000, "some were dropped");
        assert!(datagrams.iter().all(|received| received == &datagram));
    }

    #[test]
    fn a_flood_is_read_in_turns_and_the_end_is_told() {
        let (mut framed, mut peer) = pair();
        let writer = std::thread::spawn(move || {
            let frame = [&[4, 0][..], &[7; 1024]].concat();
            (0..2_000).for_each(|_| peer.write_all(&frame).unwrap());
        });
        let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(8));
        poll.registry().register(framed.stream(), mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut count = 0;
        loop {
            let mut datagrams = Vec::new();
            let remaining = framed.receive(&mut datagrams);
            assert!(datagrams.len() * 1026 <= TURN_BYTES_MAX + READ_BYTES + 1026, "a turn is bounded");
            count += datagrams.len();
            match remaining {
                Err(error) => break assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
                Ok(Remaining::Perhaps) => {}
                Ok(Remaining::Nothing) => poll.poll(&mut events, None).unwrap(),
            }
        }
        writer.join().unwrap();
        assert_eq!(count, 2_000);
    }
}
