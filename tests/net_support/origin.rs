//! An HTTP server whose every word is the test's, a proxy with a route to it, and a client of plain bytes.

use std::{net::SocketAddr, time::Duration};

use holdfast::{config::NetSettings, net::Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{free_address, in_time, settings, start};

/// A server whose every word is the test's.
pub struct Origin {
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Origin {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { address: listener.local_addr().unwrap(), listener }
    }

    pub async fn accept(&self) -> TcpStream {
        in_time("a connection to the server", self.listener.accept()).await.unwrap().0
    }

    /// Whether nobody connects for a while.
    pub async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.listener.accept()).await.is_err()
    }
}

/// The head of the next message, byte by byte so that nothing behind it is read.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(in_time("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub async fn exactly(stream: &mut TcpStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    in_time("a body", stream.read_exact(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

pub async fn say(stream: &mut TcpStream, text: &str) {
    in_time("a word to be taken", stream.write_all(text.as_bytes())).await.unwrap();
}

/// Until the end of the connection.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = in_time("the end", stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Settings with one route to this server, and `route` for the rest of what it says.
pub fn routed_to(origin: SocketAddr, route: &str) -> NetSettings {
    let mut settings = settings(&[free_address()]);
    settings.listen.connect_hold = Duration::ZERO;
    settings.routes =
        vec![toml::from_str(&format!("name = 'wcs'\nhttp = 'http://{origin}'\n{route}")).unwrap()];
    settings
}

pub async fn proxy_with(origin: SocketAddr, route: &str, change: impl FnOnce(&mut NetSettings)) -> Proxy {
    let mut settings = routed_to(origin, route);
    change(&mut settings);
    start(settings).await
}

pub async fn pair(change: impl FnOnce(&mut NetSettings)) -> (Origin, Proxy, TcpStream) {
    let origin = Origin::start().await;
    let proxy = proxy_with(origin.address, "", change).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (origin, proxy, client)
}

/// A client's line with no body.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: wcs.example.org\r\n\r\n")
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
