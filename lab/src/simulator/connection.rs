//! One WebSocket from its first byte to its last: handshake, reading, writing, pings, and the way
//! it ends. What messages mean is decided elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::byte_stream::{BreakableTcp, Breaker, ByteStream, Cut};
use super::counters::{Handshake, ViolationKind, count};
use super::shared::Shared;
use super::world::{Connection, ConnectionId, Outbox, Outgoing, Role};

/// How long a silent connection is kept after its session ended, so that the client learns nothing.
const LIMBO_TIME_MAX: Duration = Duration::from_secs(600);
/// How long the peer may take to answer our close frame.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// By the client's close frame.
    Closed(Option<u16>),
    /// The client's stream ended or broke without one.
    Lost,
    /// The client broke the WebSocket protocol.
    Protocol(String),
    /// By our close frame.
    ByUs,
    /// The client answered no pings.
    Silent,
    /// As a fault ordered.
    Cut(Cut),
}

/// Serves one accepted TCP connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
) {
    let Some((id, breaker, queue)) = enter(&shared, peer, local) else { return };
    let settings = shared.world().settings.clone();
    let shaken = async {
        tokio::time::sleep(settings.handshake.delay).await;
        shared.thawed().await;
        shake_hands(&shared, id, BreakableTcp::new(tcp, breaker.clone()), tls).await
    };
    let too_late = async {
        tokio::time::sleep(settings.limits.handshake_time_max).await;
        // Who is cut off from us must not hear of our impatience.
        breaker.healed().await;
    };
    let socket = tokio::select! {
        shaken = shaken => shaken,
        () = too_late => None,
        _ = breaker.ordered() => None,
    };
    let Some(socket) = socket else {
        let mut world = shared.world();
        world.connections.remove(&id);
        world.counters.broken_handshakes += 1;
        return;
    };
    let (mut sink, mut stream) = socket.split();
    let end = tokio::select! {
        biased;
        cut = breaker.ordered() => End::Cut(cut),
        end = read(&shared, id, &mut stream) => end,
        end = write(&mut sink, queue) => end,
        () = ping(&shared, id) => End::Silent,
    };
    let Ok(socket) = sink.reunite(stream) else { return };
    finish(&shared, id, &breaker, socket, end).await;
}

/// Makes the connection known; none when there are too many.
fn enter(
    shared: &Shared,
    peer: SocketAddr,
    local: SocketAddr,
) -> Option<(ConnectionId, Arc<Breaker>, mpsc::Receiver<Outgoing>)> {
    let hole = shared.holes_for_newcomers.load(Ordering::SeqCst);
    let breaker = Breaker::new(shared.frozen_flag.clone(), hole);
    let mut world = shared.world();
    world.counters.dialled(Instant::now());
    if world.connections.len() >= world.settings.limits.connections_max {
        world.counters.over_limit += 1;
        return None;
    }
    let (sender, queue) = mpsc::channel(world.settings.limits.queue_max.max(1));
    let id = world.number();
    let connection = Connection {
        outbox: Outbox { queue: sender, breaker: breaker.clone() },
        peer,
        local,
        role: Role::New,
        handshake: Handshake::default(),
        opened: Instant::now(),
        pings_open: 0,
        pongs_missed: 0,
        ended_by_us: false,
    };
    world.connections.insert(id, connection);
    Some((id, breaker, queue))
}

async fn shake_hands(
    shared: &Shared,
    id: ConnectionId,
    tcp: BreakableTcp,
    tls: Option<TlsAcceptor>,
) -> Option<WebSocketStream<ByteStream>> {
    let wire = match tls {
        None => ByteStream::Plain(tcp),
        Some(tls) => match tls.accept(tcp).await {
            Ok(stream) => ByteStream::Tls(Box::new(stream)),
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return None;
            }
        },
    };
    let message_bytes_max = shared.world().settings.limits.message_bytes_max;
    // The defaults cost more than 250 KiB per connection.
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(4 << 10)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    #[allow(clippy::result_large_err)] // The library's signature.
    let judge = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        shared.world().judge_handshake(id, request, response).map_err(|refusal| *refusal)
    };
    match tokio_tungstenite::accept_hdr_async_with_config(wire, judge, Some(config)).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::debug!(%error, "handshake failed");
            None
        }
    }
}

async fn read(
    shared: &Shared,
    id: ConnectionId,
    stream: &mut SplitStream<WebSocketStream<ByteStream>>,
) -> End {
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => shared.world().receive(id, text.as_str()),
            Some(Ok(Message::Binary(bytes))) => {
                let detail = format!("{} bytes", bytes.len());
                shared.world().violation(id, ViolationKind::BinaryMessage, detail);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => shared.world().counters.control_frames += 1,
            Some(Ok(Message::Close(frame))) => {
                // Lets the library write its answer before the stream is dropped.
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                if tokio::time::timeout(CLOSE_TIME_MAX, rest).await.is_err() {
                    tracing::debug!("the client did not take the answer to its close frame");
                }
                return End::Closed(frame.map(|frame| frame.code.into()));
            }
            Some(Ok(Message::Frame(_))) => {}
            Some(Err(error @ (Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_)))) => {
                return protocol_end(error);
            }
            Some(Err(_)) | None => return End::Lost,
        }
    }
}

/// A stream that ends without a close frame is a loss, not a breach.
fn protocol_end(error: Error) -> End {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Lost,
        error => End::Protocol(error.to_string()),
    }
}

async fn write(
    sink: &mut SplitSink<WebSocketStream<ByteStream>, Message>,
    mut queue: mpsc::Receiver<Outgoing>,
) -> End {
    const BATCH_MAX: usize = 64;
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        for outgoing in batch.drain(..) {
            let message = match outgoing {
                Outgoing::Text(text) => Message::text(text),
                Outgoing::Binary(bytes) => Message::Binary(bytes),
                Outgoing::Ping => Message::Ping(bytes::Bytes::new()),
                Outgoing::Cut(cut) => {
                    return if sink.flush().await.is_ok() { End::Cut(cut) } else { End::Lost };
                }
                Outgoing::Close { code, reason } => {
                    let frame = code.map(|code| CloseFrame { code: code.into(), reason: reason.into() });
                    let sent = sink.send(Message::Close(frame)).await;
                    // The reader ends the connection when the client answers.
                    if sent.is_ok() {
                        tokio::time::sleep(CLOSE_TIME_MAX).await;
                    }
                    return End::ByUs;
                }
            };
            if sink.feed(message).await.is_err() {
                return End::Lost;
            }
        }
        if sink.flush().await.is_err() {
            return End::Lost;
        }
    }
    // The connection was forgotten, as in a restart; the fault says how it ends.
    std::future::pending().await
}

/// Sends pings at the interval that is set; ends when the client is silent for too long.
async fn ping(shared: &Shared, id: ConnectionId) {
    /// How often a switched-off interval is looked at again.
    const IDLE: Duration = Duration::from_secs(3600);
    loop {
        let interval = shared.world().settings.pings.interval;
        let interval = if interval.is_zero() { IDLE } else { interval };
        tokio::select! {
            () = tokio::time::sleep(interval) => {
                if !shared.is_frozen() && !shared.world().ping(id) {
                    return;
                }
            }
            () = shared.switched.notified() => {}
        }
    }
}

async fn finish(
    shared: &Shared,
    id: ConnectionId,
    breaker: &Arc<Breaker>,
    socket: WebSocketStream<ByteStream>,
    end: End,
) {
    {
        let mut world = shared.world();
        let keys_max = world.settings.limits.keys_max;
        let by_us = world.connections.get(&id).is_none_or(|socket| socket.ended_by_us);
        let key = match &end {
            _ if by_us => "by us".to_owned(),
            End::Closed(Some(code)) => format!("client closed {code}"),
            End::Closed(None) => "client closed".to_owned(),
            End::Lost => "client lost".to_owned(),
            End::Protocol(_) => "client broke the protocol".to_owned(),
            End::ByUs | End::Silent | End::Cut(_) => "by us".to_owned(),
        };
        count(&mut world.counters.ends, &key, keys_max);
        if let End::Protocol(error) = &end {
            world.violation(id, ViolationKind::WebSocketProtocol, error.clone());
        }
        world.connection_ended(id, matches!(end, End::Closed(_)) && !by_us);
        if breaker.is_hole() && !matches!(end, End::Cut(_)) {
            world.limbo.push(breaker.clone());
        }
    }
    let wire = socket.into_inner();
    if breaker.is_hole() && !matches!(end, End::Cut(_)) {
        tokio::select! {
            () = breaker.healed() => {}
            _ = breaker.ordered() => {}
            () = tokio::time::sleep(LIMBO_TIME_MAX) => {}
        }
        shared.world().limbo.retain(|other| !Arc::ptr_eq(other, breaker));
        wire.end(Cut::Reset).await;
        return;
    }
    match end {
        End::Cut(cut) => wire.end(cut).await,
        End::Silent => wire.end(Cut::Fin).await,
        End::Closed(_) | End::Lost | End::Protocol(_) | End::ByUs => drop(wire),
    }
}
