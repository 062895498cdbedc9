//! Requests that a route passes on to Debian's nginx: pages, segments, ranges, uploads, and how its certificate is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs, net::SocketAddr};

use net_support::{
    nginx::{self, Nginx},
    origin::*,
    *,
};

/// nginx with files, an upload that it refuses for its length, and TLS.
struct Pages {
    nginx: Nginx,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Pages {
    async fn start() -> Self {
        let (plain, tls) = (free_address(), free_address());
        let directory = Nginx::directory("origin", plain);
        fs::create_dir_all(directory.join("root/live")).unwrap();
        fs::write(directory.join("root/index.html"), "<p>the page</p>").unwrap();
        fs::write(directory.join("root/live/segment.ts"), vec![7; 1_000_000]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["wcs.internal".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        let dir = directory.display();
        let sections = format!(
            "http {{
               access_log off; client_max_body_size 1m; gzip on; gzip_proxied any; gzip_min_length 1; {}
               server {{
                 listen {plain}; listen {tls} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
                 root {dir}/root;
                 location /told {{ return 200 '$request_uri $http_host $http_x_forwarded_for $scheme\\n'; }}
               }}
             }}",
            nginx::temporary(&directory)
        );
        let mut pages = Self { nginx: Nginx::start(directory, "crit", &sections), plain, tls };
        wait_until("nginx listens", || pages.nginx.listens(plain)).await;
        pages
    }
}

#[tokio::test]
async fn pages_segments_ranges_and_uploads_of_nginx_pass() {
    let pages = Pages::start().await;
    let proxy = proxy_with(pages.plain, "", |_| {}).await;
    let ask = async |line: &str, lines: &str, body: &[u8]| {
        let request = format!("{line} HTTP/1.1\r\nHost: wcs.example.org\r\nConnection: close\r\n{lines}\r\n");
        raw_exchange(proxy.address(), &[request.as_bytes(), body].concat()).await
    };
    let page = ask("GET /", "", b"").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("<p>the page</p>"), "{page}");
    let etag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert!(ask("GET /", &format!("If-None-Match: {etag}\r\n"), b"").await.starts_with("HTTP/1.1 304"));
    let gzip = ask("GET /", "Accept-Encoding: gzip\r\n", b"").await;
    assert!(
        gzip.contains("content-encoding: gzip\r\n") && gzip.contains("transfer-encoding: chunked"),
        "{gzip}"
    );
    let part = ask("GET /live/segment.ts", "Range: bytes=10-19\r\n", b"").await;
    assert!(
        part.starts_with("HTTP/1.1 206") && part.contains("content-range: bytes 10-19/1000000\r\n"),
        "{part}"
    );
    let whole = ask("GET /live/segment.ts", "", b"").await;
    assert!(whole.len() > 1_000_000, "{}", whole.len());
    assert!(ask("HEAD /live/segment.ts", "", b"").await.ends_with("\r\n\r\n"));
    let told = ask("GET /told?a=%20b", "", b"").await;
    assert!(told.ends_with("/told?a=%20b wcs.example.org 127.0.0.1 http\n"), "{told}");
    let large = ask("POST /told", "Content-Length: 2000000\r\n", &vec![b'x'; 2_000_000]).await;
    assert!(large.starts_with("HTTP/1.1 413"), "what nginx says of it: {large}");
    let expects = ask("POST /told", "Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello").await;
    assert!(expects.contains("HTTP/1.1 200"), "{expects}");
}

#[tokio::test]
async fn an_https_server_is_checked_as_its_route_says() {
    let pages = Pages::start().await;
    let with = |tls: &str| {
        let mut settings = settings(&[free_address()]);
        let route = format!("http = 'https://{}'\n{tls}", pages.tls);
        settings.routes = vec![toml::from_str(&route).unwrap()];
        start(settings)
    };
    let certificate = pages.nginx.directory.join("cert.pem");
    let request = b"GET /told HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let proxy = with(&format!("tls = {{ ca = {certificate:?}, server_name = 'wcs.internal' }}")).await;
    let answer = raw_exchange(proxy.address(), request).await;
    assert!(answer.ends_with("/told a 127.0.0.1 https\n"), "{answer}");
    let proxy = with(&format!("tls = {{ ca = {certificate:?}, server_name = 'other.internal' }}")).await;
    assert!(raw_exchange(proxy.address(), request).await.starts_with("HTTP/1.1 502"), "another name");
    let proxy = with("").await;
    assert!(
        raw_exchange(proxy.address(), request).await.starts_with("HTTP/1.1 502"),
        "unknown to public roots"
    );
}
