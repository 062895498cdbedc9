//! Where lines go besides stderr: the journal, files that logrotate moves away, and the access line of each session that
//! ended. Whatever takes them may fail; the proxy goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use net_support::{
    running::{Running, status},
    *,
};
use rustix::process::Signal;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");

/// An empty directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("log-targets").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A proxy of its own process.
struct Proxy {
    process: Running,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    /// With these settings besides.
    async fn start(directory: &Path, upstream: SocketAddr, settings: &str) -> Self {
        let (address, admin) = (free_address(), free_address());
        let config = directory.join("holdfast.toml");
        let text = format!(
            "[listen]\naddress = [\"{address}\"]\ntrusted_proxies = [\"127.0.0.1\"]\n\
             [upstream]\nurl = [\"wcs-a=ws://{upstream}\"]\n[media]\nmode = \"direct\"\n\
             [admin]\nlisten = \"{admin}\"\nsocket = \"off\"\n{settings}"
        );
        let process = Running::with_settings(&config, &text, address).await;
        Self { process, address, admin }
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it in order; what it wrote to stderr.
    async fn end(mut self) -> String {
        self.signal(Signal::TERM);
        let mut code = None;
        wait_until("it has ended", || {
            code = self.process.0.try_wait().unwrap();
            code.is_some()
        })
        .await;
        assert_eq!(code.unwrap().code(), Some(0));
        let mut text = String::new();
        self.process.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn status(&self) -> Value {
        status(self.admin)
    }
}

/// One session of this appKey that says something and closes with 1000.
async fn session(proxy: &Proxy, upstream: &mut Upstream, app_key: &str) {
    let forwarded = [("X-Forwarded-For", "203.0.113.77")];
    let mut client = try_connect(proxy.address, "/", &forwarded).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    let connection = serde_json::json!({"message": "connection", "data": [{"appKey": app_key,
        "mediaProviders": ["WebRTC"], "clientVersion": "2.0"}]});
    send(&mut client, &connection.to_string()).await;
    next_text(&mut server).await;
    let answer = serde_json::json!({"message": "getUserData", "data": [{"appKey": app_key, "authToken": "token",
        "status": "ESTABLISHED"}]});
    send(&mut server, &answer.to_string()).await;
    next_text(&mut client).await;
    send(&mut client, HELLO).await;
    next_text(&mut server).await;
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    client.close(Some(normal)).await.unwrap();
    close_of(&mut client).await;
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The fields of a journal entry that has no values of several lines.
fn fields(entry: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(entry).into_owned();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_gets_entries_with_fields_and_may_stall() {
    let mut upstream = Upstream::start().await;
    let directory = directory("journal");
    let path = directory.join("socket");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    let settings = format!(
        "[log]\ntarget = \"journald\"\njournald_socket = \"{}\"\nqueue_bytes_max = 4096\n",
        path.display()
    );
    let proxy = Proxy::start(&directory, upstream.address, &settings).await;
    session(&proxy, &mut upstream, "app").await;
    let mut entries = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        let bytes = journal.recv(&mut buffer).expect("the session is told");
        let entry = fields(&buffer[..bytes]);
        let is_last = entry.get("HOLDFAST_EVENT").is_some_and(|event| event == "session_ended");
        entries.push(entry);
        if is_last {
            break;
        }
    }
    let up =
        entries.iter().find(|entry| entry.get("HOLDFAST_EVENT").is_some_and(|e| e == "session_up")).unwrap();
    assert_eq!(
        (&*up["SYSLOG_IDENTIFIER"], &*up["PRIORITY"], &*up["HOLDFAST_SESSION"]),
        ("holdfast", "6", "s1")
    );
    assert_eq!((&*up["HOLDFAST_APP_KEY"], &*up["TARGET"]), ("app", "holdfast::session"));
    assert!(up["MESSAGE"].starts_with("session up app_key=app"), "{up:?}");
    // Nobody takes entries any more: sessions go on, and lines are counted.
    let mut sessions = 0;
    while proxy.status()["log_lines_dropped"] == 0 {
        session(&proxy, &mut upstream, "app").await;
        sessions += 1;
        assert!(sessions < 2_000, "the journal is never full");
    }
    journal.set_nonblocking(true).unwrap();
    let begun = std::time::Instant::now();
    let told = loop {
        match journal.recv(&mut buffer) {
            Ok(bytes) => {
                let entry = fields(&buffer[..bytes]);
                if entry.get("HOLDFAST_EVENT").is_some_and(|event| event == "log_lines_dropped") {
                    break entry;
                }
            }
            Err(_) => let_pass(Duration::from_millis(1)).await,
        }
        assert!(begun.elapsed() < PATIENCE, "it is told");
    };
    assert_eq!(told["PRIORITY"], "4");
    // It has to be able to end without a journal as well.
    drop(journal);
    fs::remove_file(&path).unwrap();
    assert_eq!(proxy.end().await, "");
}

#[test]
fn without_a_journal_or_a_directory_nothing_starts() {
    let directory = directory("nowhere");
    let config = directory.join("holdfast.toml");
    let gone = directory.join("gone/holdfast.log");
    for (settings, code, told) in [
        (format!("target = \"journald\"\njournald_socket = \"{}\"", gone.display()), 69, "no journal at"),
        (format!("target = \"file\"\nfile = \"{}\"", gone.display()), 73, "cannot write to"),
        (format!("\n[access]\ntarget = \"{}\"", gone.display()), 73, "cannot write to"),
        ("target = \"file\"".to_owned(), 64, "set log.file"),
        (
            "\n[access]\nformat = \"{clinet}\"".to_owned(),
            64,
            "`{clinet}` is no field, expected {time}, {session}, {client}",
        ),
    ] {
        fs::write(&config, format!("[upstream]\nurl = [\"ws://127.0.0.1:1\"]\n[log]\n{settings}\n")).unwrap();
        let output =
            Command::new(PROGRAM).args(["run", "--admin=off", "--config"]).arg(&config).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{settings}: {err}");
        assert!(err.contains(told), "{settings}: {err}");
        let flags = ["check", "--admin=off", "--listen=127.0.0.1:0", "--media=direct", "--config"];
        let checked = Command::new(PROGRAM).args(flags).arg(&config).output().unwrap();
        assert_eq!(
            checked.status.code(),
            Some(code),
            "{settings}: {}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_logrotate_moves_away_are_opened_anew() {
    let mut upstream = Upstream::start().await;
    let directory = directory("rotate");
    let (log, access) = (directory.join("holdfast.log"), directory.join("access.log"));
    let settings = format!(
        "[log]\ntarget = \"file\"\nfile = \"{}\"\n[access]\ntarget = \"{}\"\n",
        log.display(),
        access.display()
    );
    let proxy = Proxy::start(&directory, upstream.address, &settings).await;
    session(&proxy, &mut upstream, "before").await;
    wait_until("the first line", || text(&access).contains("before")).await;
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640);

    // The file of the package, for this directory and this process.
    let packaged = include_str!("../packaging/logrotate/holdfast");
    let kill = "systemctl kill --state=running --kill-whom=main --signal=USR1 'holdfast.servic[e]' 'holdfast@*.service'";
    assert!(packaged.contains(kill) && packaged.contains("/var/log/holdfast/"));
    let rules = packaged
        .replace("/var/log/holdfast/", &format!("{}/", directory.display()))
        .replace(kill, &format!("kill -USR1 {}", proxy.process.0.id()))
        .replace("    su holdfast holdfast\n", "")
        .replace("    delaycompress\n", "");
    let rules_file = directory.join("rules");
    fs::write(&rules_file, rules).unwrap();
    fs::set_permissions(&rules_file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let rotated = Command::new("/usr/sbin/logrotate")
        .args(["--force", "--state"])
        .arg(directory.join("state"))
        .arg(&rules_file)
        .output()
        .expect("logrotate is installed (scripts/install test)");
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    wait_until("both are opened anew", || text(&log).contains("log=\"log\"") && access.exists()).await;
    session(&proxy, &mut upstream, "after").await;
    wait_until("the next line", || text(&access).contains("after")).await;
    assert!(!text(&access).contains("before"));
    assert!(directory.join("access.log.1.gz").exists() && directory.join("holdfast.log.1.gz").exists());
    assert_eq!(proxy.end().await, "", "nothing goes to stderr");
    assert!(text(&log).contains("session ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_lines_and_nothing_else() {
    let mut upstream = Upstream::start().await;
    let directory = directory("full");
    let log = directory.join("holdfast.log");
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let settings = format!("[log]\ntarget = \"file\"\nfile = \"{}\"\n", log.display());
    let proxy = Proxy::start(&directory, upstream.address, &settings).await;
    for _ in 0..10 {
        session(&proxy, &mut upstream, "app").await;
    }
    wait_until("lines are counted", || proxy.status()["log_lines_dropped"].as_u64() > Some(10)).await;
    // There is room again.
    fs::remove_file(&log).unwrap();
    proxy.signal(Signal::USR1);
    wait_until("it is told", || text(&log).contains("log_lines_dropped")).await;
    let told = text(&log);
    let line = told.lines().find(|line| line.contains("log_lines_dropped")).unwrap();
    assert!(line.contains("No space left on device"), "{line}");
    session(&proxy, &mut upstream, "app").await;
    wait_until("lines are written", || text(&log).contains("session_ended")).await;
    assert_eq!(text(&log).matches("log_lines_dropped").count(), 1, "it is told once");
    assert_eq!(proxy.end().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_session_has_its_line_and_clients_forge_none() {
    let mut upstream = Upstream::start().await;
    let directory = directory("access");
    let access = directory.join("access.log");
    let settings = format!(
        "[access]\ntarget = \"{}\"\nformat = \"{{client}} {{node}} \\\"{{app_key}}\\\" {{client_messages}} \
         {{server_messages}} {{close_code}} {{closed_by}} {{worst_gap_ms}}\"\n",
        access.display()
    );
    let proxy = Proxy::start(&directory, upstream.address, &settings).await;
    session(&proxy, &mut upstream, "app").await;
    session(&proxy, &mut upstream, "a\" 1\n203.0.113.1 forged").await;
    wait_until("both lines", || text(&access).lines().count() >= 2).await;
    assert_eq!(
        text(&access),
        "203.0.113.77 wcs-a \"app\" 2 1 1000 client -\n\
         203.0.113.77 wcs-a \"a\\x22\\x201\u{fffd}203.0.113.1\\x20forged\" 2 1 1000 client -\n"
    );
    proxy.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_cut_in_the_log_and_the_line_and_whole_for_operators() {
    let mut upstream = Upstream::start().await;
    let directory = directory("anonymous");
    let log = directory.join("holdfast.log");
    let settings = format!(
        "[log]\ntarget = \"file\"\nfile = \"{}\"\nformat = \"json\"\nlevel = \"trace\"\nanonymise_addresses = true\n\
         [access]\ntarget = \"log\"\n",
        log.display()
    );
    let proxy = Proxy::start(&directory, upstream.address, &settings).await;
    let forwarded = [("X-Forwarded-For", "203.0.113.77")];
    let mut client = try_connect(proxy.address, "/", &forwarded).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    next_text(&mut server).await;
    // The admin side may be a moment behind the port of clients.
    let found = in_time("the admin side", async {
        loop {
            let found = http_get(proxy.admin, "/v1/sessions?client=203.0.113.77").await;
            if !found.contains(r#""starting""#) {
                return found;
            }
            let_pass(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(found.contains("203.0.113.77"), "an operator sees it whole: {found}");
    client.close(None).await.unwrap();
    session(&proxy, &mut upstream, "app").await;
    // One that is refused: its cause names nobody either.
    let refused =
        raw_exchange(proxy.address, b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.77\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    proxy.end().await;
    let lines: Vec<Value> = text(&log).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let ended = of("session_end");
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|line| line["client"] == "203.0.113.0" && line["node"] == "wcs-a"), "{ended:?}");
    assert_eq!(ended.iter().filter(|line| line["app_key"] == "app").count(), 1);
    assert!(of("connected").iter().all(|line| line["client"].as_str().unwrap().starts_with("203.0.113.0")));
    assert!(!text(&log).contains("203.0.113.77"), "{}", text(&log));
}

async fn http_get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    raw_exchange(address, request.as_bytes()).await
}
