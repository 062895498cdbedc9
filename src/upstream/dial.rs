//! One dial: name, TCP, TLS and the WebSocket handshake, within one time limit. A name with several
//! addresses gives each of them its chance within it (RFC 8305).

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::io::Errno;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig,
        pki_types::{InvalidDnsNameError, ServerName},
    },
};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::{
    config::{SendProxy, UpstreamSettings, UpstreamUrl},
    ids::NodeId,
    limits::{Files, Use, is_shortage},
    session::DialError,
    wire::{keepalive, socket::Socket},
};

use super::{
    names::Name,
    node::Seat,
    proxy_header,
    race::{Alive, race},
    request::ClientRequest,
    response,
};

/// Why the configured nodes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// There is none.
    #[error("no upstream is configured")]
    NoNode,
    /// There are too many with those that sessions still leave.
    #[error(
        "{0} nodes are no longer in the configuration and not yet left by their sessions: wait for them, or \
         drain them with --force-after"
    )]
    TooManyLeft(usize),
    /// The host of a `wss` URL cannot be named in TLS.
    #[error("`{host}` is no name for TLS: {source}")]
    Name {
        /// The host.
        host: String,
        /// What is wrong with it.
        source: InvalidDnsNameError,
    },
}

/// What the client learns of an upstream that refused the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers that are meant for the client.
    pub(crate) headers: Box<http::HeaderMap>,
}

impl Refusal {
    fn retry_after(&self) -> Option<&str> {
        self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()
    }
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialFailure {
    /// No connection, no TLS, or no answer in time.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// An HTTP status other than 101.
    #[error("refused with status {}", .0.status)]
    Refused(Refusal),
    /// A wrong 101.
    #[error("bad handshake: {0}")]
    BadHandshake(String),
    /// This machine lacks something, such as file descriptors: no node is to blame.
    #[error("not dialled: {0}")]
    Local(String),
}

impl DialFailure {
    pub(super) fn from_io(error: io::Error) -> Self {
        // No port left to dial from is no word about whoever was to be reached either.
        let short = is_shortage(&error) || Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL);
        if short { Self::Local(error.to_string()) } else { Self::Unreachable(error.to_string()) }
    }

    /// Whether another node, or the same one later, may do better: it is not the client's fault. A node
    /// that answers with a page, a redirection or "not found" has something else on this path.
    pub(super) const fn is_of_the_node(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::BadHandshake(_) => true,
            Self::Refused(refusal) => !matches!(refusal.status, 400..=499) || self.is_passing(),
            Self::Local(_) => false,
        }
    }

    const fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(Refusal { status: 404 | 408 | 429, .. }))
    }

    /// Whether a client that arrives is held rather than told (rule R13): nobody answers, or a gateway
    /// that says just this. Whoever says when to come again means the client.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(refusal) => matches!(refusal.status, 502..=504) && refusal.retry_after().is_none(),
            Self::BadHandshake(_) | Self::Local(_) => false,
        }
    }

    /// Of two failures of one try, the one that says more of what to wait for: a node that could not be
    /// reached may come back.
    pub(super) fn or_rather(self, earlier: Option<Self>) -> Self {
        let rank = |failure: &Self| match failure {
            Self::Unreachable(_) => 2,
            Self::Refused(_) | Self::BadHandshake(_) => 1,
            Self::Local(_) => 0,
        };
        match earlier {
            Some(earlier) if rank(&earlier) >= rank(&self) => earlier,
            _ => self,
        }
    }
}

impl From<DialFailure> for DialError {
    fn from(failure: DialFailure) -> Self {
        match failure {
            DialFailure::Unreachable(why) => Self::Unreachable(why),
            DialFailure::Refused(refusal) => match refusal.retry_after().and_then(wait_told) {
                Some(wait) => Self::Busy(refusal.status, wait),
                None => Self::Refused(refusal.status),
            },
            DialFailure::BadHandshake(why) => Self::BadHandshake(why),
            DialFailure::Local(why) => Self::Local(why),
        }
    }
}

/// What `Retry-After` says: seconds, or a date (RFC 9110 section 10.2.3).
fn wait_told(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// An upstream that answered 101.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The connection.
    pub(crate) socket: Socket,
    /// What was read after the handshake.
    pub(crate) leftover: Vec<u8>,
    /// The subprotocol it chose.
    pub(crate) protocol: Option<String>,
    /// The headers of its answer that are meant for the client.
    pub(crate) headers: Box<http::HeaderMap>,
    /// Which node it is.
    pub(crate) node: NodeId,
    /// A session's place on it; a media socket has none.
    pub(crate) seat: Option<Seat>,
    /// Which of its addresses.
    pub(crate) address: SocketAddr,
}

/// How to reach one node.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: UpstreamUrl,
    /// What connections begin with.
    send_proxy: SendProxy,
    authority: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    name: Arc<Name>,
    attempt_delay: Duration,
    address_timeout: Duration,
    dial_timeout: Duration,
    files: Arc<Files>,
}

impl Address {
    /// `tls` is used for wss addresses only.
    ///
    /// # Errors
    /// The host cannot be named in TLS.
    pub(super) fn new(
        (url, send_proxy): (UpstreamUrl, SendProxy),
        tls: &Arc<ClientConfig>,
        settings: &UpstreamSettings,
        files: &Arc<Files>,
    ) -> Result<Self, PoolError> {
        let tls = if url.is_tls() {
            let host = settings.server_name.as_deref().unwrap_or(url.host());
            let name = ServerName::try_from(host.to_owned())
                .map_err(|source| PoolError::Name { host: host.to_owned(), source })?;
            Some((Arc::clone(tls), name))
        } else {
            None
        };
        let name = Name::new(url.host(), url.port(), settings.dns_cache, settings.addresses_max);
        Ok(Self {
            authority: url.authority(),
            url,
            send_proxy,
            tls,
            name,
            attempt_delay: settings.connect_attempt_delay,
            address_timeout: settings.address_timeout,
            dial_timeout: settings.dial_timeout,
            files: Arc::clone(files),
        })
    }

    /// With what is known of the addresses behind another one's name, if that is the same.
    pub(super) fn with_what_is_known_of(self, other: &Self) -> Self {
        let is_same = self.url == other.url && self.name.is_kept_as(&other.name);
        if is_same { Self { name: Arc::clone(&other.name), ..self } } else { self }
    }

    /// What connections begin with.
    pub(super) const fn send_proxy(&self) -> SendProxy {
        self.send_proxy
    }

    /// The address as an operator wrote it.
    pub(super) const fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// What a connection of our own to its port begins with.
    ///
    /// # Errors
    /// As [`proxy_header::header`].
    pub(super) fn own_header(&self) -> io::Result<Vec<u8>> {
        proxy_header::header(self.send_proxy, None)
    }

    /// Its addresses, in the order in which they are tried.
    ///
    /// # Errors
    /// The name has none, or so the system says.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        self.name.addresses().await
    }

    /// Connects and shakes hands; with the address given first, if there is one.
    pub(super) async fn dial(
        &self,
        node: NodeId,
        request: &ClientRequest,
        first: Option<SocketAddr>,
    ) -> Result<Dialed, DialFailure> {
        let result = timeout(self.dial_timeout, self.dial_unbounded(node, request, first))
            .await
            .unwrap_or_else(|_| Err(DialFailure::Unreachable("no answer within the time limit".into())));
        match &result {
            Ok(dialed) => self.name.worked(dialed.address),
            Err(DialFailure::Unreachable(_)) => self.name.doubt(),
            Err(_) => {}
        }
        result
    }

    async fn dial_unbounded(
        &self,
        node: NodeId,
        request: &ClientRequest,
        first: Option<SocketAddr>,
    ) -> Result<Dialed, DialFailure> {
        let addresses = self.name.addresses().await.map_err(DialFailure::Unreachable)?;
        let others = addresses.into_iter().filter(|address| Some(*address) != first);
        let connected = Alive::default();
        let attempt = |address| self.shake_hands(node, address, request, &connected);
        let room = || self.files.take(Use::Attempt, 1);
        // An address that answers speaks for the node: others are for those that do not.
        let goes_on =
            |failure: &DialFailure| matches!(failure, DialFailure::Unreachable(_) | DialFailure::Local(_));
        race(first.into_iter().chain(others), self.attempt_delay, &connected, room, attempt, goes_on).await
    }

    async fn shake_hands(
        &self,
        node: NodeId,
        address: SocketAddr,
        request: &ClientRequest,
        connected: &Alive,
    ) -> Result<Dialed, DialFailure> {
        let mut stream = TcpStream::connect(address).await.map_err(DialFailure::from_io)?;
        connected.give(self.address_timeout);
        keepalive::configure(&stream);
        let header = proxy_header::header(self.send_proxy, request.ends()).map_err(DialFailure::from_io)?;
        stream.write_all(&header).await.map_err(DialFailure::from_io)?;
        let mut socket = match &self.tls {
            None => Socket::Plain(stream),
            Some((config, name)) => {
                let tls = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
                Socket::TlsClient(Box::new(tls.await.map_err(tls_failure)?))
            }
        };
        let key = generate_key();
        let head = request.render(&self.authority, &key);
        socket.write_all(&head).await.map_err(DialFailure::from_io)?;
        socket.flush().await.map_err(DialFailure::from_io)?;
        let accepted = response::read(&mut socket, &key, request).await?;
        let response::Accepted { protocol, headers, leftover } = accepted;
        Ok(Dialed { socket, leftover, protocol, headers, node, seat: None, address })
    }
}

/// Why a TLS handshake failed, in the words of whoever refused the certificate.
fn tls_failure(error: io::Error) -> DialFailure {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(refused))) => {
            DialFailure::Unreachable(refused.0.to_string())
        }
        _ => DialFailure::from_io(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpSocket},
    };

    use super::*;
    use crate::{
        limits::SHORTAGES,
        upstream::{names::Lookup, request::ClientRequest},
    };

    fn refused(status: u16) -> DialFailure {
        DialFailure::Refused(Refusal { status, headers: Box::default() })
    }

    #[test]
    fn whose_fault_a_failure_is() {
        for status in [200, 204, 301, 302, 404, 408, 429, 500, 502, 503, 504] {
            assert!(refused(status).is_of_the_node(), "{status}");
        }
        for status in [400, 401, 403, 410] {
            assert!(!refused(status).is_of_the_node(), "{status}");
        }
        for errno in SHORTAGES.into_iter().chain([Errno::ADDRNOTAVAIL]) {
            let failure = DialFailure::from_io(errno.into());
            assert!(matches!(failure, DialFailure::Local(_)) && !failure.is_of_the_node(), "{failure}");
        }
        assert!(DialFailure::from_io(Errno::CONNREFUSED.into()).is_of_the_node());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait_told(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(wait_told("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let wait = wait_told(&in_a_minute).unwrap();
        assert!(wait > Duration::from_secs(55) && wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!((wait_told("soon"), wait_told("-1"), wait_told("")), (None, None, None));
    }

    /// A node whose name has these addresses.
    fn node_at(addresses: Vec<SocketAddr>) -> Address {
        let settings = UpstreamSettings { address_timeout: Duration::from_secs(1), ..Default::default() };
        let tls = ClientConfig::builder()
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth();
        let files = Files::new(crate::limits::Division::new(1_024, 0, 0));
        let url = "ws://wcs.example:80".parse().unwrap();
        let mut node = Address::new((url, SendProxy::Off), &Arc::new(tls), &settings, &files).unwrap();
        let lookup: Lookup = Arc::new(move || {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        });
        node.name = Name::with(lookup, settings.dns_cache, settings.addresses_max);
        node
    }

    /// Answers handshakes with 101.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                kept.extend(tokio_tungstenite::accept_async(stream).await);
            }
        });
        address
    }

    async fn dial(node: &Address) -> Result<Dialed, DialFailure> {
        node.dial(NodeId(0), &ClientRequest::probe("/wss"), None).await
    }

    #[tokio::test]
    async fn every_address_of_a_name_gets_a_chance() {
        let good = server().await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = TcpSocket::new_v4().unwrap();
        dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closing = closes.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = closes.accept().await {
                let _ = stream.read(&mut [0; 16]).await;
            }
        });
        let bad = [dead.local_addr().unwrap(), silent.local_addr().unwrap(), closing];
        for address in bad {
            let node = node_at(vec![address, good]);
            assert_eq!(dial(&node).await.unwrap().address, good, "after {address}");
            let begin = std::time::Instant::now();
            assert_eq!(dial(&node).await.unwrap().address, good);
            assert!(begin.elapsed() < Duration::from_millis(900), "what worked comes first");
        }
        let node = node_at(bad.into_iter().chain([good]).collect());
        assert_eq!(dial(&node).await.unwrap().address, good);
    }

    #[tokio::test]
    async fn an_address_that_is_asked_for_comes_first() {
        let (one, two) = (server().await, server().await);
        let node = node_at(vec![one, two]);
        let dialed = node.dial(NodeId(0), &ClientRequest::probe("/"), Some(two)).await.unwrap();
        assert_eq!(dialed.address, two);
    }
}
