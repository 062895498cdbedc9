//! Datagrams over a TCP stream: each with its length before it (RFC 4571), never blocking.
//!
//! What a peer does not take is dropped in whole frames, as UDP would drop it; what a peer sends
//! is read in bounded turns, and of a frame that is too long nothing is kept.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

/// A frame header: the length of what follows.
const HEADER: usize = 2;

/// Bytes read before others have their turn.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Bytes asked of the system at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Longest frame that is kept. Media, checks and handshakes come in packets that would fit into a
/// datagram of the internet; what is longer is passed over.
pub(crate) const FRAME_BYTES_MAX: usize = 4 * 1024;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is on its way, or waits for room.
    Taken,
    /// Too much waits already, or it is too long for a frame.
    Dropped,
    /// The connection has ended.
    Ended,
}

/// How reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing more is there now.
    Drained,
    /// There may be more: nobody will announce it again.
    More,
    /// The connection has ended.
    Ended,
}

/// A connection that carries datagrams.
#[derive(Debug)]
pub(crate) struct Framed {
    stream: TcpStream,
    input: Cutter,
    output: Vec<u8>,
    output_bytes_max: usize,
}

impl Framed {
    /// Takes over a connection, which need not stand yet. At most `output_bytes_max` bytes wait
    /// for a peer that does not read.
    pub(crate) fn new(stream: TcpStream, output_bytes_max: usize) -> Self {
        // Best effort: without it frames are late, not lost.
        let _ = stream.set_nodelay(true);
        Self { stream, input: Cutter::new(FRAME_BYTES_MAX), output: Vec::new(), output_bytes_max }
    }

    #[cfg(test)]
    pub(crate) const fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a datagram.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Sent {
        let Ok(length) = u16::try_from(bytes.len()) else { return Sent::Dropped };
        if self.output.len() + HEADER + bytes.len() > self.output_bytes_max {
            return if self.flush() { Sent::Dropped } else { Sent::Ended };
        }
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(bytes);
        if self.flush() { Sent::Taken } else { Sent::Ended }
    }

    /// Sends what waits and reads what is there, handing out whole frames. Call it whenever the
    /// system announces the connection.
    pub(crate) fn read(&mut self, frames: &mut Vec<Vec<u8>>) -> Reading {
        self.read_at_most(READ_BYTES_MAX, frames).0
    }

    /// The same for a peer that is not to be listened to for long. Also says how many bytes came.
    pub(crate) fn read_at_most(&mut self, bytes_max: usize, frames: &mut Vec<Vec<u8>>) -> (Reading, usize) {
        let mut total = 0;
        if !self.flush() {
            return (Reading::Ended, total);
        }
        let bytes_max = bytes_max.min(READ_BYTES_MAX);
        let mut chunk = [0; CHUNK_BYTES];
        while total < bytes_max {
            let room = chunk.get_mut(..CHUNK_BYTES.min(bytes_max - total)).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => return (Reading::Ended, total),
                Ok(count) => {
                    total += count;
                    self.input.take(chunk.get(..count).unwrap_or_default(), frames);
                }
                Err(error) if is_later(&error) => return (Reading::Drained, total),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (Reading::Ended, total),
            }
        }
        (Reading::More, total)
    }

    /// Sends what waits. False: the connection has ended.
    fn flush(&mut self) -> bool {
        let mut written = 0;
        let alive = loop {
            match self.output.get(written..) {
                None | Some([]) => break true,
                Some(rest) => match self.stream.write(rest) {
                    Ok(0) => break false,
                    Ok(count) => written += count,
                    Err(error) if is_later(&error) => break true,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break false,
                },
            }
        };
        self.output.drain(..written);
        alive
    }

    #[cfg(test)]
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.output.len()
    }
}

/// A connection that is still being made counts as one that is busy.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

/// Cuts a stream into frames and keeps no more than the beginning of one.
#[derive(Debug)]
pub(crate) struct Cutter {
    kept: Vec<u8>,
    /// Bytes still to come of a frame that is too long.
    skip: usize,
    frame_bytes_max: usize,
}

impl Cutter {
    /// Longer frames than this are passed over.
    pub(crate) const fn new(frame_bytes_max: usize) -> Self {
        Self { kept: Vec::new(), skip: 0, frame_bytes_max }
    }

    /// Takes what came next and hands out every frame that is whole now.
    pub(crate) fn take(&mut self, bytes: &[u8], frames: &mut Vec<Vec<u8>>) {
        if self.kept.is_empty() {
            let taken = self.cut(bytes, frames);
            self.kept = bytes.get(taken..).unwrap_or_default().to_vec();
            return;
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(bytes);
        let taken = self.cut(&kept, frames);
        // Not drained: the room of a busy moment is not held for ever.
        self.kept = kept.get(taken..).unwrap_or_default().to_vec();
    }

    /// The beginning of a frame that is kept.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Says how many bytes are done with.
    fn cut(&mut self, input: &[u8], frames: &mut Vec<Vec<u8>>) -> usize {
        let mut taken = self.skip.min(input.len());
        self.skip -= taken;
        while let Some((header, rest)) = input.get(taken..).and_then(|i| i.split_first_chunk::<HEADER>()) {
            let length = usize::from(u16::from_be_bytes(*header));
            if length > self.frame_bytes_max {
                let here = length.min(rest.len());
                self.skip = length - here;
                taken += HEADER + here;
                continue;
            }
            let Some(bytes) = rest.get(..length) else { break };
            taken += HEADER + length;
            frames.push(bytes.to_vec());
        }
        taken
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(output_bytes_max: usize) -> (Framed, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Framed::new(stream, output_bytes_max), listener.accept().unwrap().0)
    }

    #[test]
    fn what_waits_for_a_peer_that_does_not_read_is_bounded() {
        let (mut framed, peer) = framed(10_000);
        let packet = [0; 1200];
        let mut sent = 0_u32;
        while framed.send(&packet) == Sent::Taken {
            sent += 1;
            assert!(sent < 100_000, "nobody reads, and it never ends");
        }
        assert!(framed.waiting_bytes() <= 10_000, "whole frames, and no more than allowed");
        drop(peer);
        let mut last = Sent::Dropped;
        for _ in 0..1000 {
            last = framed.send(&packet);
            if last == Sent::Ended {
                break;
            }
        }
        assert_eq!(last, Sent::Ended, "a peer that closed is noticed while sending");
    }

    #[test]
    fn a_flood_is_read_in_turns() {
        let (mut framed, mut peer) = framed(10_000);
        let writer = std::thread::spawn(move || {
            let frame = [&[4, 0][..], &[7; 1024]].concat();
            for _ in 0..2_000 {
                peer.write_all(&frame).unwrap();
            }
        });
        let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(8));
        poll.registry().register(framed.source(), mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut count = 0;
        loop {
            let mut frames = Vec::new();
            let reading = framed.read(&mut frames);
            assert!(frames.len() * 1026 <= READ_BYTES_MAX + CHUNK_BYTES + 1026, "a turn is bounded");
            assert!(frames.iter().all(|f| f.len() == 1024));
            count += frames.len();
            match reading {
                Reading::Ended => break,
                Reading::More => {}
                Reading::Drained => poll.poll(&mut events, None).unwrap(),
            }
        }
        writer.join().unwrap();
        assert_eq!(count, 2_000);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_stream_is_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
            cuts in prop::collection::vec(0_usize..3000, 0..10),
        ) {
            let wire: Vec<u8> = packets.iter().flat_map(|p| [&(p.len() as u16).to_be_bytes(), p.as_slice()].concat()).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(wire.len())).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let (mut cutter, mut frames) = (Cutter::new(200), Vec::new());
            for pair in cuts.windows(2) {
                cutter.take(&wire[pair[0]..pair[1]], &mut frames);
                prop_assert!(cutter.kept().len() < HEADER + 200, "the beginning of one frame");
            }
            let short: Vec<Vec<u8>> = packets.into_iter().filter(|p| p.len() <= 200).collect();
            prop_assert_eq!(frames, short, "those that are too long are passed over, the others come whole");
            prop_assert!(cutter.kept().is_empty());
        }
    }
}
