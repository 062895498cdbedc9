#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{Role as TungsteniteRole, WebSocket, WebSocketConfig},
};

use super::*;

const MAX: usize = 1 << 20;

/// What a receiver hears, fragments put together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Feeds the bytes in pieces of these sizes, as a session does.
fn decode_in_pieces(bytes: &[u8], writer: Role, pieces: &[usize]) -> Result<Vec<Heard>, ProtocolError> {
    let mut decoder = Decoder::new(writer);
    let mut heard = Vec::new();
    let mut kept: Vec<u8> = Vec::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, later) = rest.split_at(size);
        rest = later;
        kept.extend_from_slice(piece);
        let mut at = 0;
        while at < kept.len() {
            let (end, one) = match decoder.decode(&mut kept[at..], MAX)? {
                Step::Incomplete { needed } => {
                    assert!(needed > kept.len() - at, "a complete frame was not taken");
                    break;
                }
                Step::Message { end, binary, payload, .. } => {
                    let payload = kept[at..][payload].to_vec();
                    (end, Some(if binary { Heard::Binary(payload) } else { Heard::Text(payload) }))
                }
                Step::Assembled { end, binary, message } => {
                    let message = message.to_vec();
                    (end, Some(if binary { Heard::Binary(message) } else { Heard::Text(message) }))
                }
                Step::Fragment { end } => (end, None),
                Step::Ping { end, payload } => (end, Some(Heard::Ping(kept[at..][payload].to_vec()))),
                Step::Pong { end } => (end, Some(Heard::Pong)),
                Step::Close { code, .. } => {
                    heard.push(Heard::Close(code));
                    return Ok(heard);
                }
            };
            heard.extend(one);
            at += end;
        }
        kept.drain(..at);
    }
    Ok(heard)
}

/// What tungstenite hears from the same bytes.
fn tungstenite_hears(bytes: &[u8], writer: Role) -> Result<Vec<Heard>, String> {
    let role = match writer {
        Role::Client => TungsteniteRole::Server,
        Role::Server => TungsteniteRole::Client,
    };
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let pipe = Pipe(std::io::Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(pipe, role, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.push(Heard::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => heard.push(Heard::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => heard.push(Heard::Ping(bytes.to_vec())),
            Ok(Message::Pong(_)) => heard.push(Heard::Pong),
            Ok(Message::Close(frame)) => {
                heard.push(Heard::Close(frame.map(|frame| frame.code.into())));
                return Ok(heard);
            }
            Ok(Message::Frame(_)) => return Err("a raw frame".into()),
            Err(error) => {
                let text = error.to_string();
                // The bytes ended without a close frame.
                let ended = text.contains("closing handshake") || text.contains("end of");
                return if ended { Ok(heard) } else { Err(text) };
            }
        }
    }
}

/// Reads from memory and swallows what is written.
struct Pipe(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn raw_frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], mask: Option<MaskKey>) {
    let start = out.len();
    encode_frame(out, opcode, payload, mask);
    if !fin {
        out[start] &= 0x7F;
    }
}

/// Random but valid traffic of one peer, and what it means.
fn traffic(random: &mut StdRng, writer: Role) -> (Vec<u8>, Vec<Heard>) {
    let mut bytes = Vec::new();
    let mut meaning = Vec::new();
    for _ in 0..random.random_range(1..12) {
        let mask = (writer == Role::Client).then(|| random.random());
        match random.random_range(0..10) {
            0 => {
                let payload: Vec<u8> = (0..random.random_range(0..=125)).map(|_| random.random()).collect();
                encode_frame(&mut bytes, Opcode::Ping, &payload, mask);
                meaning.push(Heard::Ping(payload));
            }
            1 => {
                encode_frame(&mut bytes, Opcode::Pong, b"x", mask);
                meaning.push(Heard::Pong);
            }
            kind => {
                let length = [0, 1, 125, 126, 127, 300, 65_535, 65_536][random.random_range(0..8)];
                let binary = kind % 2 == 0;
                let payload: Vec<u8> = if binary {
                    (0..length).map(|_| random.random()).collect()
                } else {
                    "aé€😀".bytes().cycle().take(length / 10 * 10).collect()
                };
                let opcode = if binary { Opcode::Binary } else { Opcode::Text };
                let cuts = if kind > 6 { random.random_range(1..4) } else { 0 };
                let mut rest = payload.as_slice();
                for cut in 0..=cuts {
                    let last = cut == cuts;
                    let size = if last { rest.len() } else { random.random_range(0..=rest.len()) };
                    let (part, later) = rest.split_at(size);
                    rest = later;
                    let opcode = if cut == 0 { opcode } else { Opcode::Continuation };
                    let mask = (writer == Role::Client).then(|| random.random());
                    raw_frame(&mut bytes, last, opcode, part, mask);
                    if !last && random.random_bool(0.5) {
                        encode_frame(&mut bytes, Opcode::Ping, b"between", mask);
                        meaning.push(Heard::Ping(b"between".to_vec()));
                    }
                }
                meaning.push(if binary { Heard::Binary(payload) } else { Heard::Text(payload) });
            }
        }
    }
    if random.random_bool(0.3) {
        let mask = (writer == Role::Client).then(|| random.random());
        let code = random.random_bool(0.5).then_some(4001);
        encode_close(&mut bytes, code, "over", mask);
        meaning.push(Heard::Close(code));
    }
    (bytes, meaning)
}

#[test]
fn valid_traffic_is_understood_in_any_pieces() {
    for seed in 0..120 {
        let mut random = StdRng::seed_from_u64(seed);
        let writer = if seed % 2 == 0 { Role::Client } else { Role::Server };
        let (bytes, meaning) = traffic(&mut random, writer);
        let pieces: Vec<usize> = (0..7).map(|_| random.random_range(1..4_000)).collect();
        let heard = decode_in_pieces(&bytes, writer, &pieces).unwrap();
        assert_eq!(heard, meaning, "seed {seed}");
        assert_eq!(tungstenite_hears(&bytes, writer).unwrap(), meaning, "seed {seed}");
    }
}

#[test]
fn damaged_traffic_is_judged_as_tungstenite_does() {
    let mut refused = 0;
    for seed in 0..800 {
        let mut random = StdRng::seed_from_u64(seed);
        let writer = if seed % 2 == 0 { Role::Client } else { Role::Server };
        let (mut bytes, _) = traffic(&mut random, writer);
        for _ in 0..random.random_range(1..4) {
            // Mostly headers, where the damage matters.
            let span = if random.random_bool(0.7) { bytes.len().min(16) } else { bytes.len() };
            let at = random.random_range(0..span);
            bytes[at] ^= 1 << random.random_range(0..8);
        }
        let ours = decode_in_pieces(&bytes, writer, &[977, 1, 14]);
        let theirs = tungstenite_hears(&bytes, writer);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "seed {seed}"),
            (Err(_), Err(_)) => refused += 1,
            // They accept lengths that are not written in the shortest way, and close codes they
            // do not know; the specification does not.
            (Err(ProtocolError::LengthEncoding | ProtocolError::CloseFrame), Ok(_)) => refused += 1,
            // They refuse a bad text or a large frame before it is complete.
            (Ok(_), Err(error)) if error.contains("UTF-8") || error.contains("too long") => {}
            // We refuse by the first two bytes, before the header is complete.
            (Err(_), Ok(heard)) => {
                let len = heard.len();
                let whole = decode_in_pieces(&bytes, writer, &[bytes.len()]);
                assert!(whole.is_err() && len < 40, "seed {seed}: {ours:?} {theirs:?}");
            }
            _ => panic!("seed {seed}: {ours:?} but {theirs:?}"),
        }
    }
    assert!(refused > 100, "the damage was too small to mean anything: {refused}");
}

#[test]
fn each_rule_has_its_error() {
    let masked: MaskKey = [1, 2, 3, 4];
    let mut cases: Vec<(Vec<u8>, Role, ProtocolError)> = vec![
        (vec![0xC1, 0x00], Role::Server, ProtocolError::ReservedBit),
        (vec![0x83, 0x00], Role::Server, ProtocolError::ReservedOpcode),
        (vec![0x8B, 0x00], Role::Server, ProtocolError::ReservedOpcode),
        (vec![0x81, 0x80], Role::Server, ProtocolError::Masking),
        (vec![0x81, 0x00], Role::Client, ProtocolError::Masking),
        (vec![0x09, 0x00], Role::Server, ProtocolError::ControlFrame),
        (vec![0x89, 126], Role::Server, ProtocolError::ControlFrame),
        (vec![0x81, 126, 0, 125], Role::Server, ProtocolError::LengthEncoding),
        (vec![0x81, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Role::Server, ProtocolError::LengthEncoding),
        (vec![0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Role::Server, ProtocolError::LengthEncoding),
        (vec![0x80, 0x00], Role::Server, ProtocolError::Fragmentation),
        (vec![0x88, 0x01, 0x03], Role::Server, ProtocolError::CloseFrame),
        (vec![0x88, 0x02, 0x03, 0xED], Role::Server, ProtocolError::CloseFrame), // 1005
        (vec![0x88, 0x03, 0x03, 0xE8, 0xFF], Role::Server, ProtocolError::Utf8),
        (vec![0x81, 0x01, 0xC3], Role::Server, ProtocolError::Utf8),
        (vec![0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1], Role::Server, ProtocolError::TooLarge),
    ];
    let mut inside = Vec::new();
    raw_frame(&mut inside, false, Opcode::Text, b"a", Some(masked));
    encode_frame(&mut inside, Opcode::Text, b"b", Some(masked));
    cases.push((inside, Role::Client, ProtocolError::Fragmentation));
    let mut split = Vec::new();
    raw_frame(&mut split, false, Opcode::Text, &[0xE2], None);
    raw_frame(&mut split, true, Opcode::Continuation, &[0x82], None);
    cases.push((split, Role::Server, ProtocolError::Utf8));
    let mut large = Vec::new();
    raw_frame(&mut large, false, Opcode::Binary, &vec![0; MAX / 2], None);
    raw_frame(&mut large, false, Opcode::Continuation, &vec![0; MAX / 2], None);
    raw_frame(&mut large, true, Opcode::Continuation, &[0], None);
    cases.push((large, Role::Server, ProtocolError::TooLarge));
    for (bytes, writer, wanted) in cases {
        let error = decode_in_pieces(&bytes, writer, &[usize::MAX]).expect_err(&format!("{wanted:?}"));
        assert_eq!(error, wanted);
    }
    assert_eq!(ProtocolError::Utf8.close_code(), 1007);
    assert_eq!(ProtocolError::TooLarge.close_code(), 1009);
    assert_eq!(ProtocolError::Masking.close_code(), 1002);
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let mut bytes = Vec::new();
    raw_frame(&mut bytes, false, Opcode::Text, &[0xE2, 0x82], None);
    encode_frame(&mut bytes, Opcode::Ping, b"", None);
    raw_frame(&mut bytes, true, Opcode::Continuation, &[0xAC], None);
    let heard = decode_in_pieces(&bytes, Role::Server, &[1]).unwrap();
    assert_eq!(heard, [Heard::Ping(vec![]), Heard::Text("€".as_bytes().to_vec())]);
}

#[test]
fn a_forwarded_frame_is_the_frame_that_came() {
    let mut original = Vec::new();
    encode_frame(&mut original, Opcode::Text, b"{\"message\":\"pong\"}", Some([9, 8, 7, 6]));
    let mut buffer = original.clone();
    let step = Decoder::new(Role::Client).decode(&mut buffer, MAX).unwrap();
    let Step::Message { end, payload, mask: Some(mask), .. } = step else { panic!("{step:?}") };
    assert_eq!(&buffer[payload.clone()], b"{\"message\":\"pong\"}");
    apply_mask(&mut buffer[payload], mask);
    assert_eq!((end, buffer), (original.len(), original));
}

#[test]
fn codes_that_only_stand_for_something_are_never_sent() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, Some(code), "", None);
        assert_eq!(bytes, [0x88, 0], "{code}");
    }
    assert_eq!(sendable_close_code(1012), Some(1012));
    assert_eq!(sendable_close_code(4999), Some(4999));
}

#[test]
fn a_close_frame_carries_its_reason() {
    for (reason, kept) in
        [("", ""), ("bye \u{20ac}", "bye \u{20ac}"), (&*"\u{20ac}".repeat(60), &*"\u{20ac}".repeat(41))]
    {
        let mut bytes = Vec::new();
        encode_close(&mut bytes, Some(4001), reason, Some([1, 2, 3, 4]));
        let step = Decoder::new(Role::Client).decode(&mut bytes, 1_000).unwrap();
        let Step::Close { code, reason: range } = step else { panic!("{step:?}") };
        assert_eq!((code, &bytes[range]), (Some(4001), kept.as_bytes()));
    }
    let mut bytes = vec![0x88, 0];
    let step = Decoder::new(Role::Server).decode(&mut bytes, 1_000).unwrap();
    assert_eq!(step, Step::Close { code: None, reason: 2..2 });
}

proptest! {
    #[test]
    fn masking_twice_changes_nothing(bytes: Vec<u8>, key: [u8; 4]) {
        let mut masked = bytes.clone();
        apply_mask(&mut masked, key);
        let slow: Vec<u8> = bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        prop_assert_eq!(&masked, &slow);
        apply_mask(&mut masked, key);
        prop_assert_eq!(masked, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, client: bool, piece in 1_usize..40) {
        let writer = if client { Role::Client } else { Role::Server };
        let _ = decode_in_pieces(&bytes, writer, &[piece]);
    }

    #[test]
    fn a_frame_of_any_length_comes_back(length in 0_usize..200_000, key: Option<[u8; 4]>) {
        let payload = vec![0x5A; length];
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, Opcode::Binary, &payload, key);
        let writer = if key.is_some() { Role::Client } else { Role::Server };
        let heard = decode_in_pieces(&bytes, writer, &[usize::MAX]).unwrap();
        prop_assert_eq!(heard, [Heard::Binary(payload)]);
    }
}
