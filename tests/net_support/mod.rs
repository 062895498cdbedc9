//! What the tests of the network side share: a proxy on loopback, a scripted upstream, and
//! clients, both by tokio-tungstenite so that they know nothing of our framing.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

#[path = "../common/clients.rs"]
pub mod clients;
pub mod haproxy;
#[path = "../common/nginx.rs"]
pub mod nginx;
pub mod origin;
#[path = "../common/ports.rs"]
mod ports;
pub mod running;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use holdfast::{
    config::{NetSettings, SessionSettings},
    net::Proxy,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails with `what` after [`PATIENCE`].
pub async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain waited until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Lets time pass where the test is about time itself.
pub async fn let_pass(time: Duration) {
    sleep(time).await;
}

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain waited for {what}"))
}

/// A connection as the upstream sees it.
pub type UpstreamSocket = WebSocketStream<TcpStream>;
/// A connection as the client sees it.
pub type ClientSocket = WebSocketStream<TcpStream>;

/// A WCS stand-in that accepts sockets and hands each to the test, with its request.
pub struct Upstream {
    pub address: SocketAddr,
    pub dials: Arc<AtomicUsize>,
    sockets: mpsc::Receiver<(UpstreamSocket, Request)>,
    stop: Option<oneshot::Sender<()>>,
}

/// How an upstream answers a handshake; the default accepts it.
pub type Answer = Arc<dyn Fn(&Request, Response) -> Result<Response, ErrorResponse> + Send + Sync>;

impl Upstream {
    pub async fn start() -> Self {
        Self::with("127.0.0.1:0".parse().unwrap(), Arc::new(|_, response| Ok(response))).await
    }

    /// At this address; at port 0 it is at a free one, to which it can come back.
    pub async fn with(address: SocketAddr, answer: Answer) -> Self {
        let listener = listen(if address.port() == 0 { free_address() } else { address });
        let address = listener.local_addr().unwrap();
        let (sender, sockets) = mpsc::channel(10_000);
        let (stop, mut stopped) = oneshot::channel::<()>();
        let dials = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&dials);
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    _ = &mut stopped => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                counter.fetch_add(1, Ordering::SeqCst);
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let seen = Arc::new(Mutex::new(None));
                    let keep = Arc::clone(&seen);
                    let callback = move |request: &Request, response: Response| {
                        *keep.lock() = Some(request.clone());
                        answer(request, response)
                    };
                    if let Ok(socket) = accept_hdr_async(stream, callback).await {
                        let request = seen.lock().take().unwrap();
                        let _ = sender.send((socket, request)).await;
                    }
                });
            }
        });
        Self { address, dials, sockets, stop: Some(stop) }
    }

    /// The next connection that is no probe.
    pub async fn accept(&mut self) -> (UpstreamSocket, Request) {
        loop {
            let (socket, request) = in_time("an upstream connection", self.sockets.recv()).await.unwrap();
            if request.headers().get("user-agent").is_none_or(|agent| agent != "holdfast-probe") {
                return (socket, request);
            }
        }
    }

    /// As [`Upstream::accept`], however long it takes.
    pub async fn accept_forever(&mut self) -> Option<(UpstreamSocket, Request)> {
        self.sockets.recv().await
    }

    /// Ends listening; connections that were handed out are the test's.
    pub async fn stop(mut self) -> SocketAddr {
        drop(self.stop.take());
        let address = self.address;
        wait_until("the upstream no longer listens", || std::net::TcpStream::connect(address).is_err()).await;
        address
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

/// An address where nobody listens, for now.
pub fn free_address() -> SocketAddr {
    ports::free_port()
}

/// Settings for a proxy on loopback in front of these upstreams.
pub fn settings(upstreams: &[SocketAddr]) -> NetSettings {
    let mut settings = NetSettings::default();
    settings.listen.address = vec!["127.0.0.1:0".parse().unwrap()];
    settings.upstream.url =
        upstreams.iter().map(|address| format!("ws://{address}").parse().unwrap()).collect();
    settings.upstream.probe_interval = Duration::from_millis(50);
    settings
}

pub async fn start(settings: NetSettings) -> Proxy {
    Proxy::start(settings, SessionSettings::default()).await.unwrap()
}

/// A proxy in front of one upstream.
pub async fn proxy_and_upstream() -> (Proxy, Upstream) {
    let upstream = Upstream::start().await;
    (start(settings(&[upstream.address])).await, upstream)
}

/// A connection from this address of loopback.
pub async fn connection_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A client from there.
pub async fn try_connect_from(source: &str, to: SocketAddr) -> Result<ClientSocket, Error> {
    let request = format!("ws://{to}/").into_client_request().unwrap();
    Ok(in_time("a handshake", client_async(request, connection_from(source, to).await)).await?.0)
}

pub async fn connect(address: SocketAddr) -> ClientSocket {
    try_connect(address, "/", &[]).await.unwrap()
}

pub async fn try_connect(
    address: SocketAddr,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Result<ClientSocket, Error> {
    let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await?;
    let (socket, _) = in_time("a handshake", client_async(request, stream)).await?;
    Ok(socket)
}

/// Sends bytes as they are and reads the answer until the end of the connection.
pub async fn raw_exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = in_time("the end of the connection", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A message that makes the session pass everything through.
pub const HELLO: &str = r#"{"message":"hello","data":[null]}"#;

/// The first message of a WCS client.
pub const CONNECTION: &str = r#"{"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC"],"clientVersion":"2.0"}]}"#;

/// The answer that establishes it.
pub fn user_data(token: &str) -> String {
    format!(
        r#"{{"message":"getUserData","data":[{{"appKey":"defaultApp","authToken":"{token}","status":"ESTABLISHED"}}]}}"#
    )
}

pub async fn send(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next data message; pings and pongs are skipped.
pub async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    loop {
        match in_time("a message", socket.next()).await.expect("the connection ended").unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

pub async fn next_text(socket: &mut WebSocketStream<TcpStream>) -> String {
    next(socket).await.into_text().unwrap().as_str().to_owned()
}

/// Reads until the end; the close frame, if one came.
pub async fn close_of(socket: &mut WebSocketStream<TcpStream>) -> Option<CloseFrame> {
    let mut close = None;
    loop {
        match in_time("the end of the connection", socket.next()).await {
            Some(Ok(Message::Close(frame))) => close = frame.or(close),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return close,
        }
    }
}

/// A client and its upstream connection, established as a WCS session.
pub async fn established(
    proxy: &Proxy,
    upstream: &mut Upstream,
    token: &str,
) -> (ClientSocket, UpstreamSocket) {
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    send(&mut server, &user_data(token)).await;
    let answer = next_text(&mut client).await;
    assert!(answer.contains("getUserData"), "{answer}");
    (client, server)
}
