//! Versions, suites, ends, and what old devices need in front.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use holdfast::{
    config::{CertificateSettings, SessionSettings, TlsMin},
    net::Proxy,
};
use rcgen::CertificateParams;

use crate::{authority::*, net_support::*};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_suites_are_those_of_the_settings() {
    let authority = Authority::new("versions");
    let files = authority.issue("server", &["localhost"]);
    let (newest, _upstream) = tls_proxy(&[&files], |settings| settings.listen.tls_min = TlsMin::V13).await;
    let old = s_client(newest.address(), &["-tls1_2"]).await;
    assert!(old.contains("no peer certificate available"), "{old}");
    assert_eq!(shown(newest.address(), &["-tls1_3"]).await, "server");
    let suites = ["TLS13_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"];
    let suites = suites.map(|name| name.parse().unwrap()).to_vec();
    let (few, _behind) = tls_proxy(&[&files], |settings| settings.listen.tls_suites = suites).await;
    for (version, suite) in
        [("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256"), ("-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384")]
    {
        let said = s_client(few.address(), &[version]).await;
        assert!(said.contains(suite), "{said}");
    }
    let other = s_client(few.address(), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]).await;
    assert!(other.contains("no peer certificate available"), "{other}");

    let mut wrong = settings(&[free_address()]);
    wrong.listen.certificates = vec![files];
    wrong.listen.tls_suites = vec!["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".parse().unwrap()];
    let error = Proxy::start(wrong, SessionSettings::default()).await.unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("listen.tls_suites"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_near_is_told_once_and_the_first_of_the_chain_counts() {
    let authority = Authority::new("ends");
    let ends_in = |days: u64| {
        move |params: &mut CertificateParams| {
            params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400)).into();
        }
    };
    let mut files = authority.issue("leaf", &["localhost"]);
    let mut leaf = authority.certify("leaf", &["localhost"], ends_in(100));
    // Nobody checks here whether one signs the other.
    leaf[0] += &authority.certify("intermediate", &[], ends_in(10))[0];
    authority.write("leaf", &leaf);
    authority.write("well", &authority.certify("well", &["well.test"], ends_in(15)));
    files.cert = authority.path("leaf.pem");
    let well = CertificateSettings {
        cert: authority.path("well.pem"),
        key: authority.path("well.key"),
        ..files.clone()
    };
    let (_proxy, _upstream) = tls_proxy(&[&files, &well], |_| {}).await;
    wait_until("it is told", || !authority.lines("certificate_ends").is_empty()).await;
    let_pass(WATCH * 4).await;
    let lines = authority.lines("certificate_ends");
    assert!(
        lines.len() == 1 && lines[0].contains("leaf.pem") && lines[0].contains("\"in_days\":10"),
        "{lines:?}"
    );
}

/// The code block of the README that begins with this line, without it.
fn block(fence: &str) -> String {
    let readme = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once(&format!("```{fence}\n")).unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_devices_get_in_by_the_haproxy_of_the_readme() {
    let authority = Authority::new("old");
    let pair = authority.certify("old", &["localhost"], |_| {});
    fs::write(authority.path("both.pem"), pair.concat()).unwrap();
    let files = authority.issue("direct", &["localhost"]);
    let (proxy, mut upstream) = tls_proxy(&[&files], |settings| {
        settings.listen.address =
            ["ws://127.0.0.1:0", "wss://127.0.0.1:0"].map(|at| at.parse().unwrap()).to_vec();
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        settings.listen.proxy_protocol = true;
    })
    .await;
    let front = free_address();
    let both = authority.path("both.pem");
    let mut config = block("haproxy");
    for (from, to) in [
        ("bind :8444", format!("bind {front}")),
        ("/etc/haproxy/both.pem", both.display().to_string()),
        ("127.0.0.1:8080", proxy.address().to_string()),
    ] {
        assert!(config.contains(from), "{config}");
        config = config.replace(from, &to);
    }
    let haproxy = haproxy::Haproxy::of_config(&config, front);
    wait_until("HAProxy listens", || std::net::TcpStream::connect(haproxy.front).is_ok()).await;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-quiet",
        "-tls1",
        "-cipher",
        "ALL:@SECLEVEL=0",
        "-connect",
        &front.to_string(),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut old = command.spawn().expect("openssl is missing; `scripts/install test` installs it");
    old.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    let (_server, request) = in_time("the dial", upstream.accept()).await;
    assert_eq!(request.headers().get("x-forwarded-proto").unwrap(), "https");
    let mut said = old.stdout.take().unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = [0; 12];
        said.read_exact(&mut answer).map(|()| answer)
    });
    let answer = in_time("the answer", answer).await.unwrap();
    old.kill().unwrap();
    old.wait().unwrap();
    assert_eq!(&answer.unwrap(), b"HTTP/1.1 101");
    // Holdfast itself speaks no such version.
    let said = s_client(proxy.addresses()[1], &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]).await;
    assert!(said.contains("no peer certificate available"), "{said}");
}
