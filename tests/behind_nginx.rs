//! nginx in front of the server: its `/` is there whatever becomes of the path of the clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use net_support::{
    nginx::{self, Nginx},
    *,
};

const STATUSES: [u16; 5] = [502, 503, 404, 200, 302];

/// nginx that answers `/` itself and passes `/wss` on, unless a file says with which status it is to be
/// refused.
struct Front {
    nginx: Nginx,
    address: SocketAddr,
}

impl Front {
    async fn start(upstream: SocketAddr) -> Self {
        let address = free_address();
        let directory = Nginx::directory("front", address);
        let dir = directory.display();
        let refusals = STATUSES.map(|status| {
            let answer = if status == 302 { "302 /wss".to_owned() } else { status.to_string() };
            format!("if (-f {dir}/{status}) {{ return {answer}; }}")
        });
        let sections = format!(
            "http {{
               log_format short '$request_uri $status $http_user_agent';
               access_log {dir}/access.log short;
               {}
               server {{
                 listen {address};
                 location / {{ return 200 'a page'; }}
                 location = /wss {{
                   {}
                   proxy_pass http://{upstream};
                   proxy_http_version 1.1;
                   proxy_set_header Upgrade $http_upgrade;
                   proxy_set_header Connection \"upgrade\";
                   proxy_read_timeout 1h;
                 }}
               }}
             }}",
            nginx::temporary(&directory),
            refusals.join(" ")
        );
        let mut front = Self { nginx: Nginx::start(directory, "crit", &sections), address };
        wait_until("nginx listens", || front.nginx.listens(address)).await;
        front
    }

    fn refuse(&self, status: u16) {
        fs::write(self.nginx.directory.join(status.to_string()), "").unwrap();
    }

    fn open(&self, status: u16) {
        fs::remove_file(self.nginx.directory.join(status.to_string())).unwrap();
    }

    /// Requests so far: dials of sessions, and the paths that were probed.
    fn requests(&self) -> (usize, Vec<String>) {
        let log = fs::read_to_string(self.nginx.directory.join("access.log")).unwrap_or_default();
        let (probes, dials): (Vec<&str>, Vec<&str>) =
            log.lines().partition(|line| line.ends_with("holdfast-probe"));
        let path = |line: &&str| line.split(' ').next().unwrap_or_default().to_owned();
        (dials.len(), probes.iter().map(path).collect())
    }
}

async fn session(proxy: &holdfast::net::Proxy, upstream: &mut Upstream) -> (ClientSocket, UpstreamSocket) {
    let mut client = try_connect(proxy.address(), "/wss", &[]).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    next_text(&mut server).await;
    send(&mut server, &user_data("t")).await;
    assert!(next_text(&mut client).await.contains("getUserData"));
    (client, server)
}

async fn a_path_refused_with(status: u16) {
    let mut upstream = Upstream::start().await;
    let nginx = Front::start(upstream.address).await;
    let proxy = start(settings(&[nginx.address])).await;
    let (_client, server) = session(&proxy, &mut upstream).await;
    nginx.refuse(status);
    let (before, _) = nginx.requests();
    drop(server);
    let_pass(Duration::from_secs(4)).await;
    let (dials, probes) = nginx.requests();
    let dials = dials - before;
    assert!((2..=12).contains(&dials), "{dials} dials in 4 s of status {status}");
    assert!(!probes.is_empty() && probes.iter().all(|path| path == "/wss"), "{probes:?}");
    assert_eq!(proxy.facts().sessions, 1, "the client lives through it");
    nginx.open(status);
    let (mut server, _) = upstream.accept().await;
    assert!(next_text(&mut server).await.contains("\"connection\""));
}

#[tokio::test]
async fn a_path_that_nginx_refuses_is_left_to_the_backoff() {
    let all = STATUSES.map(|status| tokio::spawn(a_path_refused_with(status)));
    for one in all {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_away_behind_nginx_is_waited_for() {
    let mut upstream = Upstream::start().await;
    let nginx = Front::start(upstream.address).await;
    let proxy = start(settings(&[nginx.address])).await;
    let (_client, server) = session(&proxy, &mut upstream).await;
    let address = upstream.stop().await;
    drop(server);
    // A client that comes meanwhile gets no 502: it is held.
    let to = proxy.address();
    let late = tokio::spawn(async move { try_connect(to, "/wss", &[]).await });
    wait_until("it is held", || proxy.facts().held == 1).await;
    let_pass(Duration::from_secs(1)).await;
    let mut upstream = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    upstream.accept().await;
    upstream.accept().await;
    late.await.unwrap().unwrap();
}
