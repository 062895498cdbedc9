//! What the end-to-end tests share: a simulated server in a process of its own that can be killed,
//! a proxy, and pages: clients that say and hear what the SDK says and hears.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod checks;
pub mod clients;
pub mod gate;
pub mod nginx;
pub mod outage;
pub mod page;
pub mod ports;
pub mod scrape;
pub mod server;
pub mod subject;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use holdfast::{
    config::{Config, ListenAddress, MediaMode, Overrides},
    load::webrtc_client::{ClientPool, PoolSettings},
    net::Proxy,
};

/// Nothing takes this long unless it is broken, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until the condition holds.
pub async fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_for(PATIENCE, what, condition).await;
}

/// As [`wait_until`], with another patience.
pub async fn wait_until_for(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        let_pass(Duration::from_millis(10)).await;
    }
}

/// Lets time pass where the test is about time itself.
pub async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A configuration whose patience fits a test: losses by silence are seen within two seconds. A server that
/// gets no processor for that long on a busy machine would be taken for lost.
pub fn config(upstream: SocketAddr, media: MediaMode) -> Config {
    let flags = Overrides {
        listen: vec![ListenAddress { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls: None }],
        upstream: vec![format!("ws://{upstream}").parse().unwrap()],
        media: Some(media),
        media_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        admin: Some("off".parse().unwrap()),
        ..Overrides::default()
    };
    let mut config = Config::load(None, &flags).unwrap();
    config.net.upstream.dial_timeout = Duration::from_secs(1);
    config.session.keepalive.ping_period = Duration::from_millis(400);
    config.session.keepalive.upstream_silence = Duration::from_secs(2);
    config.session.keepalive.missing_pings = 50;
    config
}

/// A proxy that carries signaling only.
pub async fn direct(upstream: SocketAddr) -> Proxy {
    Proxy::launch(config(upstream, MediaMode::Direct)).await.unwrap()
}

/// A proxy that anchors the media.
pub async fn anchor(upstream: SocketAddr) -> Proxy {
    Proxy::launch(config(upstream, MediaMode::Anchor)).await.unwrap()
}

/// A proxy in direct mode with changed settings.
pub async fn proxy_with(upstream: SocketAddr, media: MediaMode, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = config(upstream, media);
    change(&mut config);
    Proxy::launch(config).await.unwrap()
}

/// Synthetic WebRTC clients.
pub fn pool() -> ClientPool {
    ClientPool::start(PoolSettings::default()).unwrap()
}
