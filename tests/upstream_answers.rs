//! What an upstream answers to a handshake, and what of it reaches the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use net_support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const HANDSHAKE: &str = "GET /wss/room HTTP/1.1\r\nHost: wcs.example.com\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Reads up to the end of a head.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let read = in_time("a head", stream.read_buf(&mut bytes)).await.unwrap();
        assert!(read > 0, "ended after {}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}

fn value<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// The next dial that is no probe.
async fn dialled(listener: &TcpListener) -> (TcpStream, String) {
    loop {
        let (mut stream, _) = in_time("a dial", listener.accept()).await.unwrap();
        let request = head(&mut stream).await;
        if !request.contains("holdfast-probe") {
            return (stream, request);
        }
    }
}

/// The answer with ACCEPT replaced by what fits the request.
fn for_request(answer: &str, request: &str) -> String {
    let key = value(request, "sec-websocket-key")[0].to_owned();
    answer.replace("ACCEPT", &derive_accept_key(key.as_bytes()))
}

/// What a client hears when the upstream answers each dial like this.
async fn heard(answer: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&[listener.local_addr().unwrap()]);
    settings.listen.connect_hold = std::time::Duration::ZERO;
    let proxy = start(settings).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(format!("{HANDSHAKE}\r\n").as_bytes()).await.unwrap();
    let upstream = async {
        let mut dials = Vec::new();
        loop {
            let (mut stream, request) = dialled(&listener).await;
            stream.write_all(for_request(answer, &request).as_bytes()).await.unwrap();
            dials.push(stream);
        }
    };
    tokio::select! {
        heard = head_of(&mut client) => heard,
        () = upstream => unreachable!(),
    }
}

async fn head_of(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(in_time("the answer", client.read_buf(&mut bytes)).await.unwrap() > 0);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: ACCEPT\r\n";

#[tokio::test]
async fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
    let heard = heard(&format!("{interim}{SWITCHING}Connection: Upgrade\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
}

#[tokio::test]
async fn interim_answers_are_bounded() {
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2_000);
    let heard = heard(&format!("{endless}{SWITCHING}Connection: Upgrade\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 502"), "{heard}");
}

#[tokio::test]
async fn several_connection_headers_are_one_list() {
    let heard = heard(&format!("{SWITCHING}Connection: keep-alive\r\nConnection: x, upgrade\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
}

#[tokio::test]
async fn a_wrong_101_is_502() {
    for lines in [
        "Connection: Upgrade\r\nSec-WebSocket-Extensions: \r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Protocol: wcs\r\n",
        "Connection: keep-alive\r\n",
    ] {
        let heard = heard(&format!("{SWITCHING}{lines}\r\n")).await;
        assert!(heard.starts_with("HTTP/1.1 502"), "{lines:?}: {heard}");
    }
    let old = SWITCHING.replace("HTTP/1.1", "HTTP/1.0");
    let heard = heard(&format!("{old}Connection: Upgrade\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 502"), "{heard}");
}

#[tokio::test]
async fn a_status_that_is_none_is_502() {
    for status in ["099", "200", "204", "600", "999"] {
        let heard = heard(&format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(heard.starts_with("HTTP/1.1 502"), "{status}: {heard}");
    }
}

const TOLD: &str = "Set-Cookie: SRV=a; Path=/\r\nSet-Cookie: b=2\r\nX-Served-By: node 1\r\n\
    Strict-Transport-Security: max-age=1\r\n";

fn check_told(heard: &str) {
    assert_eq!(value(heard, "set-cookie"), ["SRV=a; Path=/", "b=2"], "{heard}");
    assert_eq!(value(heard, "x-served-by"), ["node 1"], "{heard}");
    assert_eq!(value(heard, "strict-transport-security"), ["max-age=1"], "{heard}");
}

#[tokio::test]
async fn the_headers_of_a_101_reach_the_client() {
    let private = "Connection: Upgrade, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n";
    let heard = heard(&format!("{SWITCHING}{private}{TOLD}\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
    check_told(&heard);
    assert!(value(&heard, "x-hop").is_empty() && value(&heard, "keep-alive").is_empty(), "{heard}");
    // The proxy's own, computed from the client's key.
    assert_eq!(value(&heard, "sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
}

#[tokio::test]
async fn the_headers_of_a_refusal_reach_the_client() {
    let lines = "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Bearer\r\nRetry-After: 7\r\n\
        Location: https://elsewhere.example/login\r\nContent-Length: 4\r\nContent-Type: x/y\r\n";
    for status in ["301 Moved", "307 There", "401 No", "404 None", "429 Slowly", "503 Later"] {
        let heard = heard(&format!("HTTP/1.1 {status}\r\n{lines}{TOLD}\r\nbody")).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {}", &status[..3])), "{status}: {heard}");
        check_told(&heard);
        assert_eq!(value(&heard, "www-authenticate"), ["Basic realm=\"a\"", "Bearer"], "{heard}");
        assert_eq!(value(&heard, "retry-after"), ["7"], "{heard}");
        assert_eq!(value(&heard, "location"), ["https://elsewhere.example/login"], "{heard}");
        // The body is ours, and so is what describes it.
        assert_ne!(value(&heard, "content-length"), ["4"], "{heard}");
        assert_eq!(value(&heard, "content-type"), ["text/plain; charset=utf-8"], "{heard}");
    }
}

#[tokio::test]
async fn later_dials_send_the_cookies_that_were_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(settings(&[listener.local_addr().unwrap()])).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let own = "Cookie: lang=de; SRV=old\r\n";
    client.write_all(format!("{HANDSHAKE}{own}\r\n").as_bytes()).await.unwrap();
    let (mut stream, request) = dialled(&listener).await;
    assert_eq!(value(&request, "cookie"), ["lang=de; SRV=old"]);
    let set = "Connection: Upgrade\r\nSet-Cookie: SRV=a; Path=/wss; HttpOnly\r\n\
        Set-Cookie: elsewhere=1; Domain=other.example\r\nSet-Cookie: gone=1; Max-Age=0\r\n";
    stream.write_all(for_request(&format!("{SWITCHING}{set}\r\n"), &request).as_bytes()).await.unwrap();
    head_of(&mut client).await;
    drop(stream);
    let (mut stream, request) = dialled(&listener).await;
    assert_eq!(value(&request, "cookie"), ["lang=de; SRV=a"]);
    // A refusal sets cookies as well.
    stream.write_all(b"HTTP/1.1 503 Later\r\nSet-Cookie: SRV=b\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    drop(stream);
    let (_stream, request) = dialled(&listener).await;
    assert_eq!(value(&request, "cookie"), ["lang=de; SRV=b"]);
}
