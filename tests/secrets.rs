//! Nothing secret gets into the log, at any level: canaries in everything that a client, a server
//! or an operator would not want to read there, carried through an outage and its restore.
//! A binary of its own, because it collects the log of the whole process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    io::Read as _,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use common::{
    anchor, direct,
    outage::Outage,
    page::{MSE_OFFER, Page, media_until, stream},
    pool, ports,
    server::Server,
};
use holdfast::{load::webrtc_client::ClientOptions, telemetry::LogCapture};
use serde_json::{Value, json};

fn connection() -> Value {
    json!({
        "appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"], "keepAlive": true,
        "authToken": "canary-auth-token", "custom": {"token": "canary-custom-token", "canary-custom-key": 1},
        "sipLogin": "100", "sipAuthenticationName": "canary-sip-name", "sipPassword": "canary-sip-password",
        "sipDomain": "pbx", "sipRegisterRequired": true,
    })
}

/// A session that says all of it, in good and in bad ways.
async fn talkative(address: std::net::SocketAddr, offer: &str) -> Page {
    let mut page = Page::open(address, "/ws?token=canary-url-query").await;
    page.connect(connection()).await;
    let mut publish = stream("p1", "cam", true, "WebRTC", offer);
    publish["custom"] = json!({"key": "canary-stream-custom"});
    publish["rtmpUrl"] = json!("rtmp://user:canary-rtmp-password@live.example/app");
    page.send("publishStream", publish);
    page.send("playStream", stream("m1", "cam", false, "MSE", MSE_OFFER));
    page.send_data("op", json!({"secret": "canary-data-payload"}));
    page.send(
        "sendStreamEvent",
        json!({"mediaSessionId": "p1", "type": "data", "payload": "canary-stream-data"}),
    );
    page.send("pushLogs", json!({"logs": "canary-pushed-log"}));
    page.send("unheardOf", json!({"token": "canary-unknown-verb"}));
    page.send_text(r#"{"message":"sendData","data":{"not an array":"canary-malformed"}}"#.to_owned());
    page.send_text(r#"{"message":"sendData","data":["canary-broken-json"#.to_owned());
    page
}

/// Sockets that never become sessions.
async fn bad_beginnings(address: std::net::SocketAddr) {
    for first in [
        r#"{"message":"connection","data":"canary-first-data"}"#,
        r#"{"canary-first-key":"canary-first-value"}"#,
        "canary-first-text",
    ] {
        let page = Page::open(address, "/?canary-url-query").await;
        page.send_text(first.to_owned());
        let media = Page::open(address, "/").await;
        media.send("connectMediaTransport", json!({"authToken": "canary-media-token"}));
        page.disconnect().await;
        media.disconnect().await;
    }
}

/// SDP credentials that went over the wire, which are made by the parties themselves.
fn credentials_in(page: &Page) -> Vec<String> {
    page.look(|told| {
        let sdps = told.messages.iter().filter(|heard| heard.name == "setRemoteSDP");
        sdps.flat_map(|heard| credentials(heard.data[1].as_str().unwrap())).collect()
    })
}

fn credentials(sdp: &str) -> Vec<String> {
    let secret = ["a=ice-pwd:", "a=crypto:"];
    let values = sdp.lines().filter_map(|line| secret.iter().find_map(|key| line.strip_prefix(key)));
    values.map(str::to_owned).collect()
}

/// A proxy of its own process that tells all it can, with a token in its environment.
struct Talking {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    directory: PathBuf,
}

const ADMIN_TOKEN: &str = "canary-admin-token-0123456789";

impl Talking {
    fn start(upstream: SocketAddr, journal: &Path) -> Self {
        let directory = journal.parent().unwrap().to_owned();
        let port = ports::free_port;
        let (address, admin) = (port(), port());
        let config = directory.join("holdfast.toml");
        let text = format!(
            "[listen]\naddress = [\"{address}\"]\n[upstream]\nurl = [\"ws://{upstream}\"]\n\
             [media]\nmode = \"direct\"\n[admin]\nlisten = \"{admin}\"\nsocket = \"off\"\n\
             [log]\ntarget = \"journald\"\njournald_socket = \"{}\"\nlevel = \"trace\"\n\
             [access]\ntarget = \"{}\"\n",
            journal.display(),
            directory.join("access.log").display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut talking = Self { child: Self::holdfast(&["run"], &config), address, admin, directory };
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(talking.child.try_wait().unwrap().is_none(), "it ended");
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::yield_now();
        }
        talking
    }

    fn holdfast(arguments: &[&str], config: &Path) -> Child {
        let program = env!("CARGO_BIN_EXE_holdfast");
        let mut command = std::process::Command::new(program);
        command.args(arguments).arg("--config").arg(config).env("HOLDFAST_ADMIN_TOKEN", ADMIN_TOKEN);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a command says of this proxy.
    fn told(&self, arguments: &[&str]) -> String {
        let config = self.directory.join("holdfast.toml");
        let output = Self::holdfast(arguments, &config).wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that is in a compressed archive.
fn unpacked(path: &Path) -> String {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut all = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        all.push_str(&format!("== {}\n", entry.path().unwrap().display()));
        entry.read_to_string(&mut all).unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_journal_nor_access_line_nor_dump_nor_bundle_holds_one() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("secrets");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    let entries = std::thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 262_144]);
        // One datagram from the test itself is the end.
        while let Ok(bytes) = journal.recv(&mut buffer) {
            if &buffer[..bytes] == b"end" {
                break;
            }
            all.extend_from_slice(&buffer[..bytes]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let server = Server::start(json!({})).await;
    let proxy = Talking::start(server.address, &path);
    let phone = pool().client(ClientOptions::publish()).await.unwrap();
    let talker = talkative(proxy.address, phone.offer()).await;
    bad_beginnings(proxy.address).await;
    talker.wait_status("p1", "PUBLISHING").await;
    let mut secrets = credentials(phone.offer());
    secrets.extend(credentials_in(&talker));
    assert!(secrets.len() >= 2, "{secrets:?}");
    let dump = proxy.told(&["config", "dump"]);
    let bundle = directory.join("bundle.tar.gz");
    let admin = format!("--admin={}", proxy.admin);
    let said = proxy.told(&["support-bundle", "--output", bundle.to_str().unwrap(), &admin]);
    assert!(!said.contains("not in it"), "{said}");
    talker.disconnect().await;
    let access = directory.join("access.log");
    let begun = std::time::Instant::now();
    let line = loop {
        let text = std::fs::read_to_string(&access).unwrap_or_default();
        if text.contains("defaultApp") {
            break text;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the session has its line");
        tokio::task::yield_now().await;
    };
    drop(proxy);
    UnixDatagram::unbound().unwrap().send_to(b"end", &path).unwrap();
    let journal = entries.join().unwrap();
    let bundle = unpacked(&bundle);
    for name in ["configuration.toml", "status.json", "sessions.json", "metrics.txt", "log.txt", "limits.txt"]
    {
        assert!(bundle.contains(&format!("/{name}\n")), "{name} is not in {said}");
    }
    assert!(bundle.contains("session_up") && journal.contains("HOLDFAST_EVENT=session_up"));
    for (what, text) in
        [("journal", &journal), ("access", &line), ("dump", &dump), ("bundle", &bundle), ("words", &said)]
    {
        let is_leak =
            |line: &&str| line.contains("canary") || secrets.iter().any(|secret| line.contains(&**secret));
        let leaks: Vec<&str> = text.lines().filter(is_leak).collect();
        assert!(leaks.is_empty(), "{what}: {leaks:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_log_holds_a_secret() {
    let log = LogCapture::new();
    log.everywhere().unwrap();
    let mut server = Server::start(json!({"sessions": {"resume": "new_token"}})).await;
    let (plain, anchored) = (direct(server.address).await, anchor(server.address).await);
    let pool = pool();
    let phone = pool.client(ClientOptions::publish()).await.unwrap();
    let talker = talkative(plain.address(), phone.offer()).await;
    bad_beginnings(plain.address()).await;
    let watcher = Page::establish(anchored.address()).await;
    let _camera = watcher.start_media(&pool, "p2", "screen", ClientOptions::publish()).await;
    watcher.wait_status("p2", "PUBLISHING").await;
    let screen = watcher.start_media(&pool, "v2", "screen", ClientOptions::play()).await;
    media_until(&screen, "the picture", |now| now.video.key_frames > 0).await;
    talker.wait_status("p1", "PUBLISHING").await;
    let before = screen.stats();

    Outage::Fin.strike(&mut server).await;
    server.wait_for("resumed by token", |state| state["counters"]["resumed"] != 0).await;
    Outage::Kill(Duration::from_millis(500)).strike(&mut server).await;
    media_until(&screen, "the picture goes on", |now| now.video.key_frames > before.video.key_frames).await;
    talker.wait_status("p1", "FAILED").await;
    server.switch(json!({"sessions": {"refuse": {"info": "Forbidden"}}})).await;
    Outage::Fin.strike(&mut server).await;
    talker.wait("the refusal", |told| told.ended.clone()).await;
    let mut secrets = credentials_in(&watcher);
    assert!(secrets.len() >= 2, "the answers hold credentials: {secrets:?}");
    secrets.extend(credentials_in(&talker));
    secrets.extend(credentials(phone.offer()));
    secrets.extend(["authToken"].iter().filter_map(|key| Some(talker.user_data[*key].as_str()?.to_owned())));
    assert!(plain.shutdown().await && anchored.shutdown().await);

    let text = log.text();
    for event in
        ["session_up", "upstream_lost", "restored", "stream_outcome", "session_ended", "replay_refused"]
    {
        assert!(text.contains(event), "{event} was logged, so the log was really collected");
    }
    let leaks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("canary") || secrets.iter().any(|secret| line.contains(&**secret)))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
