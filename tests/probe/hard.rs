//! Servers that are no WCS, or behave as none should: each is told apart, in time and in bounded memory.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use holdfast::probe::{Outcome, ProbeSettings, Report};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::probed;

/// No verdict on such a server may take longer.
const VERDICT_TIME_MAX: Duration = Duration::from_secs(12);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves every connection with `serve`, for as long as the test runs.
async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// As [`server`], with WebSockets.
async fn websocket<F>(serve: impl Fn(WebSocketStream<TcpStream>) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    server(move |stream| {
        let serve = serve.clone();
        async move {
            if let Ok(socket) = accept_async(stream).await {
                serve(socket).await;
            }
        }
    })
    .await
}

async fn verdict(url: &str) -> Report {
    let begun = Instant::now();
    let report = probed(ProbeSettings::new(url.parse().unwrap())).await;
    assert!(begun.elapsed() < VERDICT_TIME_MAX, "{url}: {:?}", begun.elapsed());
    report
}

async fn no_wcs(address: SocketAddr, reason: &str) {
    let report = verdict(&format!("ws://{address}/path")).await;
    assert_eq!(report.outcome, Outcome::NoWcs, "{report}");
    assert!(report.reason.as_ref().unwrap().contains(reason), "{reason:?} is not in {report}");
    assert_eq!(report.dials, 1, "nobody is hammered");
    assert!(report.to_string().contains("no WCS"), "{report}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let (listener, address) = listener().await;
    drop(listener);
    let report = verdict(&format!("ws://{address}")).await;
    assert_eq!(report.outcome, Outcome::Unreachable, "{report}");
    assert!(report.reason.as_ref().unwrap().contains("refused"), "{report}");
    let report = verdict("ws://no-such-host.invalid:8080").await;
    assert_eq!(report.outcome, Outcome::Unreachable, "{report}");
    let report = verdict("http://127.0.0.1:1").await;
    assert!(report.reason.as_ref().unwrap().contains("ws://"), "{report}");
}

#[tokio::test]
async fn tls_where_there_is_none_is_told() {
    let address = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let report = verdict(&format!("wss://{address}")).await;
    assert_eq!(report.outcome, Outcome::Unreachable, "{report}");
    assert!(report.reason.as_ref().unwrap().contains("TLS"), "{report}");
}

#[tokio::test]
async fn who_says_nothing_is_told_apart() {
    let silent = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    no_wcs(silent, "answers no handshake").await;
    let mute = websocket(|mut socket| async move { while socket.next().await.is_some() {} }).await;
    no_wcs(mute, "says nothing to `connection`").await;
    let pings = websocket(|mut socket| async move {
        let _ = socket.send(Message::text(r#"{"message":"ping"}"#)).await;
        while socket.next().await.is_some() {}
    })
    .await;
    no_wcs(pings, "answers `connection` with `ping`").await;
}

#[tokio::test]
async fn web_servers_are_told_by_their_status() {
    for (line, reason) in [
        ("404 Not Found", "no WebSocket at this path"),
        ("403 Forbidden", "does not let us in"),
        ("401 Unauthorized", "credentials"),
        ("200 OK", "HTTP 200"),
        ("302 Found", "elsewhere"),
        ("502 Bad Gateway", "does not reach its server"),
        ("101 Switching Protocols", "Sec-WebSocket-Accept"),
    ] {
        let address = server(move |mut stream| async move {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        no_wcs(address, reason).await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let banner = server(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    no_wcs(banner, "does not speak HTTP").await;
    let endless = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nX-Endless: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    no_wcs(endless, "does not speak HTTP").await;
}

#[tokio::test]
async fn what_is_no_signaling_is_told() {
    let echo = websocket(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                let _ = socket.send(message).await;
            }
        }
    })
    .await;
    no_wcs(echo, "echo server").await;
    let chat = websocket(|mut socket| async move {
        let _ = socket.send(Message::text("welcome to the chat")).await;
        while socket.next().await.is_some() {}
    })
    .await;
    no_wcs(chat, "no signaling of WCS").await;
    let other = websocket(|mut socket| async move {
        let _ = socket.send(Message::text(r#"{"jsonrpc":"2.0"}"#)).await;
        while socket.next().await.is_some() {}
    })
    .await;
    no_wcs(other, "no signaling of WCS").await;
    let junk = websocket(|mut socket| async move {
        for _ in 0..100 {
            let _ = socket.send(Message::binary(vec![0xff; 1000])).await;
        }
        while socket.next().await.is_some() {}
    })
    .await;
    no_wcs(junk, "says nothing to `connection`").await;
}

#[tokio::test]
async fn whoever_closes_is_told() {
    let closes = websocket(|mut socket| async move {
        let _ = socket.next().await;
        let frame = CloseFrame { code: 4005.into(), reason: "no".into() };
        let _ = socket.close(Some(frame)).await;
    })
    .await;
    no_wcs(closes, "code 4005").await;
    let drops = websocket(|mut socket| async move {
        let _ = socket.next().await;
    })
    .await;
    no_wcs(drops, "the end of its connection").await;
}

#[tokio::test]
async fn floods_end_and_take_no_memory() {
    let pings = websocket(|mut socket| async move {
        while socket.send(Message::text(r#"{"message":"ping","data":[null]}"#)).await.is_ok() {}
    })
    .await;
    no_wcs(pings, "more messages").await;
    let control = websocket(|mut socket| async move {
        while socket.send(Message::Ping(bytes::Bytes::from_static(b"x"))).await.is_ok() {}
    })
    .await;
    no_wcs(control, "more messages").await;
    let huge = server(|stream| async move {
        let Ok(socket) = accept_async(stream).await else { return };
        // A text frame that says it is a tebibyte long.
        let mut stream = socket.into_inner();
        let _ = stream.write_all(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]).await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    no_wcs(huge, "16 MiB").await;
}

/// Established, and gone in the midst of the questions.
#[tokio::test]
async fn a_server_that_goes_amid_leaves_the_rest_unknown() {
    let address = websocket(|mut socket| async move {
        let _ = socket.next().await;
        let user_data =
            r#"{"data":[{"authToken":"t","status":"ESTABLISHED","new":[1]}],"message":"getUserData"}"#;
        let _ = socket.send(Message::text(user_data)).await;
        let _ = socket.next().await;
        let _ = socket.close(None).await;
    })
    .await;
    let report = verdict(&format!("ws://{address}")).await;
    assert_eq!(report.outcome, Outcome::Differs, "{report}");
    assert!(report.reason.as_ref().unwrap().contains("a close frame without code"), "{report}");
    assert_eq!(super::seen(&report, "ping_form"), "unknown");
    assert_eq!(super::seen(&report, "user_data_echo"), "missing");
}
