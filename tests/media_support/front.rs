//! A middleman in front of the simulated media server: one UDP address for all of its streams, as a
//! server with a single media port has. A test sees by it from where the anchor sends.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{net::UdpSocket, task::JoinHandle};

/// What the middleman knows.
#[derive(Default)]
struct State {
    /// Where the server really is, by its user name fragment.
    servers: HashMap<String, SocketAddr>,
    /// By address of the anchor: for which fragment, and the way on.
    ways: HashMap<SocketAddr, (String, Arc<UdpSocket>)>,
    /// Addresses of the anchor that were used for more than one fragment.
    reused: HashSet<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

/// The middleman. Ends when it is dropped.
pub struct Front {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn start() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let back = socket.clone();
        Self::with(socket, back)
    }

    /// What it was sent goes on as ever, but what it sends comes from another address.
    pub async fn that_answers_from(back: Arc<UdpSocket>) -> Self {
        Self::with(Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()), back)
    }

    fn with(socket: Arc<UdpSocket>, back: Arc<UdpSocket>) -> Self {
        let address = socket.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let task = tokio::spawn(run(socket, back, state.clone()));
        Self { address, state, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's answer as the anchor is to see it.
    pub fn answer(&self, sdp: &str) -> String {
        let mut port = "";
        for line in sdp.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                port = media.split(' ').nth(1).unwrap();
            } else if let Some(ufrag) = line.strip_prefix("a=ice-ufrag:") {
                let server = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
                self.state.lock().servers.insert(ufrag.to_owned(), server);
            }
        }
        let line = |line: &str| match line.starts_with("a=candidate:") {
            true => {
                let mut words: Vec<&str> = line.split(' ').collect();
                let port = self.address.port().to_string();
                words[5] = &port;
                words.join(" ") + "\r\n"
            }
            false => format!("{line}\r\n"),
        };
        sdp.lines().map(line).collect()
    }

    /// Addresses that the anchor sends from.
    pub fn anchors(&self) -> Vec<SocketAddr> {
        self.state.lock().ways.keys().copied().collect()
    }

    /// Has an address of the anchor served more than one leg?
    pub fn is_reused(&self) -> bool {
        !self.state.lock().reused.is_empty()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
        self.state.lock().tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn run(socket: Arc<UdpSocket>, back: Arc<UdpSocket>, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 2_048];
    loop {
        // An anchor that has gone is told by an error.
        let Ok((count, anchor)) = socket.recv_from(&mut buffer).await else { continue };
        let bytes = &buffer[..count];
        if let Some(ufrag) = ufrag(bytes) {
            let known = state.lock().ways.get(&anchor).map(|(known, _)| known.clone());
            if known.as_ref() != Some(&ufrag) {
                let Some(server) = state.lock().servers.get(&ufrag).copied() else { continue };
                let way = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                way.connect(server).await.unwrap();
                let task = tokio::spawn(return_way(way.clone(), back.clone(), anchor));
                let mut state = state.lock();
                if known.is_some() {
                    state.reused.insert(anchor);
                }
                state.tasks.push(task);
                state.ways.insert(anchor, (ufrag, way));
            }
        }
        let way = state.lock().ways.get(&anchor).map(|(_, way)| way.clone());
        if let Some(way) = way {
            let _ = way.send(bytes).await;
        }
    }
}

async fn return_way(way: Arc<UdpSocket>, back: Arc<UdpSocket>, anchor: SocketAddr) {
    let mut buffer = [0; 2_048];
    loop {
        match way.recv(&mut buffer).await {
            Ok(count) => {
                let _ = back.send_to(&buffer[..count], anchor).await;
            }
            // The server is gone, and says so at most once per packet that it is sent.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The receiver's fragment in a connectivity check.
pub fn ufrag(bytes: &[u8]) -> Option<String> {
    if bytes.get(..2) != Some(&[0, 1]) {
        return None;
    }
    let mut rest = bytes.get(20..)?;
    loop {
        let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
        let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
        if kind == 6 {
            let name = std::str::from_utf8(rest.get(4..4 + length)?).ok()?;
            return name.split_once(':').map(|(ufrag, _)| ufrag.to_owned());
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}
