//! RTP and STUN over TCP (RFC 4571 framing), for ICE-TCP candidates (RFC 6544).

use std::io::{self, Read, Write};

use mio::net::TcpStream;

/// The most bytes waiting for a peer that does not read; frames beyond are dropped whole, as UDP
/// would drop them.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the frame header.
const HEADER: usize = 2;

/// One TCP connection that carries packets.
pub(crate) struct FramedStream {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl FramedStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new() }
    }

    pub(crate) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there and hands out whole packets. `Ok(false)` means the peer has closed.
    pub(crate) fn read(&mut self, packets: &mut Vec<Vec<u8>>) -> io::Result<bool> {
        let mut chunk = [0_u8; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.input.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    take_frames(&mut self.input, packets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Queues one packet and sends what the socket takes.
    pub(crate) fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        let Ok(length) = u16::try_from(packet.len()) else {
            return Ok(());
        };
        if self.output.len() + packet.len() + HEADER <= OUTPUT_BYTES_MAX {
            self.output.extend_from_slice(&length.to_be_bytes());
            self.output.extend_from_slice(packet);
        }
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.output.drain(..count)),
                // Not connected yet counts as "later".
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Moves every complete frame from `input` to `packets`. The length field bounds a frame to 64 KiB,
/// so `input` cannot grow past that plus one read.
fn take_frames(input: &mut Vec<u8>, packets: &mut Vec<Vec<u8>>) {
    let mut rest = input.as_slice();
    while let Some((header, body)) = rest.split_first_chunk::<HEADER>() {
        let length = usize::from(u16::from_be_bytes(*header));
        let Some((packet, after)) = body.split_at_checked(length) else {
            break;
        };
        if !packet.is_empty() {
            packets.push(packet.to_vec());
        }
        rest = after;
    }
    let used = input.len() - rest.len();
    input.drain(..used);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let whole = [0, 2, 1, 2, 0, 0, 0, 3, 7, 8, 9];
        for cut in 0..=whole.len() {
            let (mut input, mut packets) = (whole[..cut].to_vec(), Vec::new());
            take_frames(&mut input, &mut packets);
            input.extend_from_slice(&whole[cut..]);
            take_frames(&mut input, &mut packets);
            assert_eq!(packets, [vec![1, 2], vec![7, 8, 9]], "cut at {cut}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_peer_that_does_not_read_costs_a_bounded_buffer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let mut stream = FramedStream::new(stream);
        // The kernel's buffers take some megabytes first.
        for _ in 0..2_000 {
            stream.send(&[7; 60_000]).unwrap();
            assert!(stream.output.len() <= OUTPUT_BYTES_MAX);
        }
        assert!(stream.output.len() > OUTPUT_BYTES_MAX / 2, "the bound was reached");
        drop(peer);
    }
}
