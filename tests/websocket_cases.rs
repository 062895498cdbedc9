//! A selection of the cases of the Autobahn test suite (sections 1 to 7, 9 and 10), on both legs: a peer
//! that writes frames by hand talks through the proxy to an echo. `tests/autobahn/run.py` runs the suite itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use holdfast::net::Proxy;
use net_support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::handshake::derive_accept_key};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
/// A fragment's first byte, and those of the ones behind it.
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;

type Frame = (u8, Vec<u8>);

/// What a peer does, and what it must hear.
struct Case {
    id: String,
    frames: Vec<Frame>,
    /// Written one octet at a time.
    chopped: bool,
    /// Whole messages that come back.
    echoes: Vec<Frame>,
    pongs: Vec<Vec<u8>>,
    /// How the connection ends; `None`: only when the peer says so.
    close: Option<u16>,
}

fn case(id: impl Into<String>, frames: &[(u8, &[u8])]) -> Case {
    let owned =
        |frames: &[(u8, &[u8])]| frames.iter().map(|(first, payload)| (*first, payload.to_vec())).collect();
    Case {
        id: id.into(),
        frames: owned(frames),
        chopped: false,
        echoes: Vec::new(),
        pongs: Vec::new(),
        close: None,
    }
}

impl Case {
    fn chopped(mut self) -> Self {
        self.chopped = true;
        self
    }

    fn echo(mut self, first: u8, payload: &[u8]) -> Self {
        self.echoes.push((first, payload.to_vec()));
        self
    }

    fn pong(mut self, payload: &[u8]) -> Self {
        self.pongs.push(payload.to_vec());
        self
    }

    fn closes(mut self, code: u16) -> Self {
        self.close = Some(code);
        self
    }
}

/// Sections 1, 9 and 10: messages of all sizes, whole, in fragments, in octets.
fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, section) in [(TEXT, "1.1"), (BINARY, "1.2")] {
        for size in [0, 125, 126, 127, 128, 65_535, 65_536] {
            let payload = vec![b'*'; size];
            cases.push(case(format!("{section} of {size}"), &[(kind, &payload)]).echo(kind, &payload));
        }
        let payload = vec![b'*'; 300];
        cases.push(case(format!("{section} chopped"), &[(kind, &payload)]).echo(kind, &payload).chopped());
    }
    let large = vec![b'*'; 4 * 1024 * 1024];
    cases.push(case("9.1.4", &[(TEXT, &large)]).echo(TEXT, &large));
    cases.push(case("9.2.4", &[(BINARY, &large)]).echo(BINARY, &large));
    for size in [64, 1_300, 65_536] {
        let pieces: Vec<&[u8]> = large[..512 * 1024.min(size * 500)].chunks(size).collect();
        let whole = pieces.concat();
        cases.push(case(format!("10.1 in {size}"), &fragments(BINARY_BEGINS, &pieces)).echo(BINARY, &whole));
    }
    cases
}

/// The frames of a message in these pieces.
fn fragments<'a>(begins: u8, pieces: &[&'a [u8]]) -> Vec<(u8, &'a [u8])> {
    let last = pieces.len() - 1;
    let first = |index: usize| if index == 0 { begins } else { GOES_ON };
    let frame =
        |(index, piece): (usize, &&'a [u8])| (first(index) | if index == last { ENDS } else { 0 }, *piece);
    pieces.iter().enumerate().map(frame).collect()
}

/// Section 2: pings and pongs.
fn pings() -> Vec<Case> {
    let long = [b'p'; 125];
    let mut ten = case("2.10", &[]);
    for index in 0..10 {
        let payload = format!("payload {index}").into_bytes();
        ten.frames.push((PING, payload.clone()));
        ten.pongs.push(payload);
    }
    vec![
        case("2.1", &[(PING, b"")]).pong(b""),
        case("2.2", &[(PING, b"Hello")]).pong(b"Hello"),
        case("2.3", &[(PING, b"\x00\xff\xfe")]).pong(b"\x00\xff\xfe"),
        case("2.4", &[(PING, &long)]).pong(&long),
        case("2.5", &[(PING, &[b'p'; 126])]).closes(1002),
        case("2.6", &[(PING, &long)]).pong(&long).chopped(),
        case("2.7", &[(PONG, b"")]),
        case("2.9", &[(PONG, b"unasked"), (PING, b"a")]).pong(b"a"),
        ten,
    ]
}

/// Sections 3 and 4: reserved bits and opcodes.
fn reserved() -> Vec<Case> {
    let bits = [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70];
    let before = |first: u8| [(TEXT, b"before".as_slice()), (first, b"after".as_slice())];
    let opcodes = [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF];
    let bits = bits.into_iter().map(|bits| TEXT | bits);
    let opcodes = opcodes.into_iter().map(|opcode| ENDS | opcode);
    let firsts = bits.chain(opcodes).chain([CLOSE | 0x10, PING | 0x40]);
    firsts
        .map(|first| case(format!("3, 4: {first:#x}"), &before(first)).echo(TEXT, b"before").closes(1002))
        .collect()
}

/// Section 5: fragments.
fn fragmented() -> Vec<Case> {
    vec![
        case("5.1", &[(0x09, b"a"), (ENDS, b"b")]).closes(1002),
        case("5.2", &[(0x0A, b"a"), (ENDS, b"b")]).closes(1002),
        case("5.3", &[(TEXT_BEGINS, b"ab"), (ENDS, b"cd")]).echo(TEXT, b"abcd"),
        case("5.5", &[(TEXT_BEGINS, b"ab"), (ENDS, b"cd")]).echo(TEXT, b"abcd").chopped(),
        case("5.6", &[(TEXT_BEGINS, b"ab"), (PING, b"p"), (ENDS, b"cd")]).pong(b"p").echo(TEXT, b"abcd"),
        case("5.9", &[(ENDS, b"a"), (TEXT, b"b")]).closes(1002),
        case("5.12", &[(GOES_ON, b"a"), (TEXT, b"b")]).closes(1002),
        case("5.15", &[(TEXT_BEGINS, b"a"), (ENDS, b"b"), (GOES_ON, b"c"), (TEXT, b"d")])
            .echo(TEXT, b"ab")
            .closes(1002),
        case("5.18", &[(TEXT_BEGINS, b"a"), (TEXT, b"b")]).closes(1002),
        case(
            "5.19",
            &[(TEXT_BEGINS, b"a"), (GOES_ON, b"b"), (PING, b"1"), (GOES_ON, b"c"), (PING, b"2"), (ENDS, b"")],
        )
        .pong(b"1")
        .pong(b"2")
        .echo(TEXT, b"abc"),
    ]
}

/// Section 6: UTF-8.
fn utf8() -> Vec<Case> {
    let word = "κόσμε \u{10FFFF} \u{0} \u{7FF} \u{FFFD}".as_bytes();
    let octets: Vec<&[u8]> = word.chunks(1).collect();
    let mut cases = vec![
        case("6.1", &[(TEXT_BEGINS, b""), (GOES_ON, b""), (ENDS, b"")]).echo(TEXT, b""),
        case("6.2.1", &[(TEXT, word)]).echo(TEXT, word),
        case("6.2.4", &fragments(TEXT_BEGINS, &octets)).echo(TEXT, word),
        case("6.4", &[(TEXT_BEGINS, word), (GOES_ON, b"\xf4\x90\x80\x80"), (ENDS, word)]).closes(1007),
    ];
    let invalid: [&[u8]; 14] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xce",
    ];
    cases.extend(invalid.map(|bytes| case(format!("6.3: {bytes:x?}"), &[(TEXT, bytes)]).closes(1007)));
    cases
}

/// Section 7: closing.
fn closing() -> Vec<Case> {
    let close = |code: u16, reason: &[u8]| [code.to_be_bytes().as_slice(), reason].concat();
    let mut cases = vec![
        case("7.1.1", &[(TEXT, b"a"), (CLOSE, &close(1000, b""))]).echo(TEXT, b"a").closes(1000),
        case("7.1.3", &[(CLOSE, &close(1000, b"")), (PING, b"late")]).closes(1000),
        case("7.1.5", &[(TEXT_BEGINS, b"a"), (CLOSE, &close(1000, b"")), (ENDS, b"b")]).closes(1000),
        case("7.3.1", &[(CLOSE, b"")]).closes(1005),
        case("7.3.2", &[(CLOSE, b"a")]).closes(1002),
        case("7.3.4", &[(CLOSE, &close(1000, b"Hello"))]).closes(1000),
        case("7.3.5", &[(CLOSE, &close(1000, &[b'*'; 123]))]).closes(1000),
        case("7.3.6", &[(CLOSE, &close(1000, &[b'*'; 124]))]).closes(1002),
        case("7.5.1", &[(CLOSE, &close(1000, b"\xce\xba\xed\xa0\x80"))]).closes(1007),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        cases.push(case(format!("7.7: {code}"), &[(CLOSE, &close(code, b""))]).closes(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(format!("7.9: {code}"), &[(CLOSE, &close(code, b""))]).closes(1002));
    }
    cases
}

fn cases() -> Vec<Case> {
    [sizes(), pings(), reserved(), fragmented(), utf8(), closing()].into_iter().flatten().collect()
}

/// A peer that writes and reads frames by hand.
struct Peer {
    stream: TcpStream,
    /// A client: it masks what it writes, and what it reads is not masked.
    masks: bool,
}

impl Peer {
    async fn write(&mut self, frames: &[Frame], chopped: bool) {
        let mut bytes = Vec::new();
        for (first, payload) in frames {
            self.encode(&mut bytes, *first, payload);
        }
        for piece in bytes.chunks(if chopped { 1 } else { 64 * 1024 }) {
            // Whoever has closed does not read on: that is what some cases are about.
            if self.stream.write_all(piece).await.is_err() {
                return;
            }
            if chopped {
                tokio::task::yield_now().await;
            }
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>, first: u8, payload: &[u8]) {
        let mask = if self.masks { 0x80 } else { 0 };
        bytes.push(first);
        match payload.len() {
            length @ 0..126 => bytes.push(mask | length as u8),
            length @ 126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let key = [0x12, 0x34, 0x56, 0x78];
        if self.masks {
            bytes.extend_from_slice(&key);
            bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend_from_slice(payload);
        }
    }

    /// The next frame; `None` at the end of the connection.
    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.ok()?;
        assert_eq!(head[1] & 0x80 == 0, self.masks, "masked by clients and by nobody else");
        let length = match head[1] & 0x7F {
            126 => u64::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut key = [0; 4];
        if !self.masks {
            self.stream.read_exact(&mut key).await.ok()?;
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Some((head[0], payload))
    }

    /// Does what the case says and judges what comes back.
    async fn play(&mut self, case: &Case) {
        self.write(&case.frames, case.chopped).await;
        let (mut echoes, mut pongs, mut close) = (Vec::new(), Vec::new(), None);
        while close.is_none() {
            if case.close.is_none() && (echoes.len(), pongs.len()) == (case.echoes.len(), case.pongs.len()) {
                self.write(&[(CLOSE, 1000_u16.to_be_bytes().to_vec())], false).await;
            }
            match in_time(&case.id, self.read()).await {
                Some((CLOSE, payload)) => {
                    close = Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
                }
                Some((PONG, payload)) => pongs.push(payload),
                Some(message) => echoes.push(message),
                None => break,
            }
        }
        let briefly = |frames: &[Frame]| -> Vec<String> {
            frames.iter().map(|(first, payload)| format!("{first:#x} of {}", payload.len())).collect()
        };
        assert_eq!(close, Some(case.close.unwrap_or(1000)), "{}", case.id);
        // A connection that was failed may lose what was still on its way to the echo.
        let cut = case.close.is_some();
        assert!(
            echoes == case.echoes || (cut && case.echoes.starts_with(&echoes)),
            "{}: {:?}",
            case.id,
            briefly(&echoes)
        );
        assert_eq!(pongs, case.pongs, "{}", case.id);
    }
}

/// Sends back every message.
async fn echo(socket: WebSocketStream<TcpStream>) {
    let (mut out, mut back) = socket.split();
    while let Some(Ok(message)) = back.next().await {
        if (message.is_text() || message.is_binary()) && out.send(message).await.is_err() {
            return;
        }
    }
}

async fn client_peer(proxy: &Proxy) -> Peer {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101"));
    Peer { stream, masks: true }
}

/// Reads up to the empty line and nothing beyond.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(in_time("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_leg_passes() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let echoing = tokio::spawn(async move {
        while let Some((socket, _)) = upstream.accept_forever().await {
            tokio::spawn(echo(socket));
        }
    });
    for case in cases() {
        client_peer(&proxy).await.play(&case).await;
    }
    echoing.abort();
    wait_until("nothing is left", || proxy.facts().places_taken == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_leg_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&[listener.local_addr().unwrap()]);
    settings.upstream.probe_interval = Duration::from_secs(10);
    let proxy = start(settings).await;
    for case in cases() {
        let (client, stream) = tokio::join!(connect(proxy.address()), async {
            let (mut stream, _) = in_time("the dial", listener.accept()).await.unwrap();
            let request = head(&mut stream).await;
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        });
        let mut client = client;
        send(&mut client, HELLO).await;
        let mut peer = Peer { stream, masks: false };
        assert_eq!(in_time("the first message", peer.read()).await.unwrap().1, HELLO.as_bytes());
        let echoing = tokio::spawn(echo(client));
        peer.play(&case).await;
        drop(peer);
        in_time("the end of the client", echoing).await.unwrap();
    }
    wait_until("nothing is left", || proxy.facts().places_taken == 0).await;
}
