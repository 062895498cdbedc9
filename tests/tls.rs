//! wss on both sides, with real TLS by independent peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use holdfast::{
    config::{Pin, SessionSettings, UpstreamSettings},
    net::{Proxy, StartError},
    telemetry::LogCapture,
};
use net_support::*;
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        server::WebPkiClientVerifier,
        version,
    },
};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

/// A certificate of its own for `localhost`, as files.
struct Identity {
    directory: PathBuf,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("holdfast-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        Self { directory, der: certificate.der().clone(), key }
    }

    fn cert(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    fn key_file(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn connector(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An upstream that speaks TLS, echoes one connection after the other, and tells the SNI it saw.
async fn echo(identity: &Identity) -> (SocketAddr, tokio::sync::mpsc::Receiver<Option<String>>) {
    echo_by(identity.acceptor()).await
}

async fn echo_by(acceptor: TlsAcceptor) -> (SocketAddr, tokio::sync::mpsc::Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (names, seen) = tokio::sync::mpsc::channel(100);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, names) = (acceptor.clone(), names.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                let _ = names.send(name).await;
                let Ok(mut socket) = accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn both_sides_speak_tls_in_both_versions() {
    let front = Identity::new("front");
    let back = Identity::new("back");
    let (upstream, mut names) = echo(&back).await;
    let mut settings = settings(&[]);
    settings.upstream.url = vec![format!("wss://localhost:{}", upstream.port()).parse().unwrap()];
    settings.upstream.ca = Some(back.cert());
    settings.listen.tls_cert = Some(front.cert());
    settings.listen.tls_key = Some(front.key_file());
    let proxy = start(settings).await;
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = front.connector(&versions).connect(name, stream).await.unwrap();
        let (mut socket, _) =
            in_time("the handshake", client_async("wss://localhost/x", stream)).await.unwrap();
        assert_eq!(names.recv().await.unwrap().as_deref(), Some("localhost"));
        for size in [0_usize, 20, 16_384, 70_000, 3_000_000] {
            let text = if size == 0 { HELLO.to_owned() } else { "é".repeat(size / 2) };
            socket.send(Message::text(text.clone())).await.unwrap();
            let got = in_time("the echo", socket.next()).await.unwrap().unwrap();
            assert!(got == Message::text(text), "{size} bytes differ");
        }
        // Many small ones in one go, in order.
        for index in 0..2_000 {
            socket.feed(Message::text(format!("m{index}"))).await.unwrap();
        }
        socket.flush().await.unwrap();
        for index in 0..2_000 {
            let got = in_time("the echo", socket.next()).await.unwrap().unwrap();
            assert_eq!(got, Message::text(format!("m{index}")));
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = in_time("the end", socket.next()).await {}
    }
    wait_until("both are gone", || proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn clients_resume_if_they_get_tickets() {
    let front = Identity::new("tickets");
    let back = Identity::new("behind");
    let (upstream, _names) = echo(&back).await;
    for tickets in [true, false] {
        let mut settings = settings(&[]);
        settings.upstream.url = vec![format!("wss://localhost:{}", upstream.port()).parse().unwrap()];
        settings.upstream.ca = Some(back.cert());
        settings.listen.tls_cert = Some(front.cert());
        settings.listen.tls_key = Some(front.key_file());
        settings.listen.tls_tickets = tickets;
        let proxy = start(settings).await;
        for versions in [[&version::TLS12], [&version::TLS13]] {
            let connector = front.connector(&versions);
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let stream = TcpStream::connect(proxy.address()).await.unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                let stream = connector.connect(name, stream).await.unwrap();
                kinds.push(stream.get_ref().1.handshake_kind());
                // A ticket of TLS 1.3 comes with the first bytes after the handshake.
                let (mut socket, _) = client_async("wss://localhost/x", stream).await.unwrap();
                socket.send(Message::text(HELLO)).await.unwrap();
                in_time("the echo", socket.next()).await.unwrap().unwrap();
            }
            let second = if tickets { HandshakeKind::Resumed } else { HandshakeKind::Full };
            assert_eq!(kinds, [Some(HandshakeKind::Full), Some(second)], "tickets: {tickets}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_vouches_for_is_not_spoken_to() {
    let back = Identity::new("stranger");
    let other = Identity::new("other");
    let (upstream, mut names) = echo(&back).await;
    let mut settings = settings(&[]);
    settings.upstream.url = vec![format!("wss://localhost:{}", upstream.port()).parse().unwrap()];
    settings.upstream.ca = Some(other.cert());
    settings.listen.connect_hold = Duration::ZERO;
    let proxy = start(settings).await;
    let error = try_connect(proxy.address(), "/", &[]).await.unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert!(names.try_recv().is_err());
}

/// A proxy before this server, with what is said of its TLS; whether a session comes about.
async fn reaches(upstream: SocketAddr, change: impl FnOnce(&mut UpstreamSettings)) -> Result<(), String> {
    let mut settings = settings(&[]);
    settings.upstream.url = vec![format!("wss://127.0.0.1:{}", upstream.port()).parse().unwrap()];
    settings.listen.connect_hold = Duration::ZERO;
    change(&mut settings.upstream);
    let proxy = start(settings).await;
    let mut socket = try_connect(proxy.address(), "/", &[]).await.map_err(|error| error.to_string())?;
    socket.send(Message::text(HELLO)).await.unwrap();
    assert_eq!(next_text(&mut socket).await, HELLO);
    Ok(())
}

#[tokio::test]
async fn a_server_is_known_by_its_pinned_key_whoever_signed_its_certificate() {
    let capture = LogCapture::new();
    let _guard = capture.on_this_thread();
    let back = Identity::new("pinned");
    let (upstream, _names) = echo(&back).await;
    let stranger = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = reaches(upstream, |settings| settings.pins = vec![stranger.parse().unwrap()]).await;
    assert!(refused.unwrap_err().contains("503"));
    // The log tells what to pin.
    let lines = capture.lines_with("upstream.pins");
    let told = lines
        .iter()
        .find_map(|line| Some(line.split_once("in upstream.pins: ")?.1.split('"').next()?.to_owned()));
    let told = told.unwrap_or_else(|| panic!("{lines:?}"));
    let of_openssl = {
        let file = back.cert();
        let key = openssl::x509::X509::from_pem(&fs::read(file).unwrap()).unwrap().public_key().unwrap();
        let digest = openssl::sha::sha256(&key.public_key_to_der().unwrap());
        format!("sha256/{}", openssl::base64::encode_block(&digest))
    };
    assert_eq!(told, of_openssl);
    for version in ["another of several", "alone"] {
        let mut pins: Vec<Pin> = vec![told.parse().unwrap()];
        if version == "another of several" {
            pins.insert(0, stranger.parse().unwrap());
        }
        reaches(upstream, |settings| settings.pins = pins).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_dialled_by_address_is_asked_for_by_name() {
    let back = Identity::new("named");
    let (upstream, mut names) = echo(&back).await;
    let ca = Some(back.cert());
    let refused = reaches(upstream, |settings| settings.ca = ca.clone()).await;
    assert!(refused.unwrap_err().contains("503"), "its certificate is for localhost");
    reaches(upstream, |settings| {
        settings.ca = ca;
        settings.server_name = Some("localhost".to_owned());
    })
    .await
    .unwrap();
    assert_eq!(names.recv().await.unwrap().as_deref(), Some("localhost"));
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let (back, ours) = (Identity::new("asks"), Identity::new("shown"));
    let mut roots = RootCertStore::empty();
    roots.add(ours.der.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![back.der.clone()], PrivateKeyDer::try_from(back.key.serialize_der()).unwrap())
        .unwrap();
    let (upstream, _names) = echo_by(TlsAcceptor::from(Arc::new(config))).await;
    let named = |settings: &mut UpstreamSettings| {
        settings.ca = Some(back.cert());
        settings.server_name = Some("localhost".to_owned());
    };
    assert!(reaches(upstream, named).await.unwrap_err().contains("503"), "it was shown none");
    reaches(upstream, |settings| {
        named(settings);
        settings.client_cert = Some(ours.cert());
        settings.client_key = Some(ours.key_file());
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_plain_client_at_a_tls_listener_is_let_go() {
    let front = Identity::new("plain");
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.tls_cert = Some(front.cert());
    settings.listen.tls_key = Some(front.key_file());
    settings.listen.handshake_timeout = Duration::from_millis(300);
    let proxy = start(settings).await;
    raw_exchange(proxy.address(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut silent = TcpStream::connect(proxy.address()).await.unwrap();
    let mut nothing = Vec::new();
    assert_eq!(in_time("the time limit", silent.read_to_end(&mut nothing)).await.unwrap(), 0);
    wait_until("nothing is left", || proxy.facts().handshakes == 0).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let one = Identity::new("one");
    let two = Identity::new("two");
    let mut base = settings(&[free_address()]);
    let mut cases = Vec::new();
    base.listen.tls_cert = Some(one.cert());
    cases.push((base.clone(), "certificate and a key"));
    base.listen.tls_key = Some(two.key_file());
    cases.push((base.clone(), "cert.pem"));
    base.listen.tls_key = Some(one.cert());
    cases.push((base.clone(), "cert.pem"));
    base.listen.tls_key = Some(one.directory.join("missing.pem"));
    cases.push((base.clone(), "missing.pem"));
    for (settings, part) in cases {
        let error: StartError = Proxy::start(settings, SessionSettings::default()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
