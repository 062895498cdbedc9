//! The log never stands in the way of sessions, and no password gets into it or into an error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use net_support::{
    running::{Running, status},
    *,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast");
const PASSWORD: &str = "hunter2";

/// A proxy whose stderr is a pipe that nobody reads.
struct Unread {
    process: Running,
    address: std::net::SocketAddr,
    admin: std::net::SocketAddr,
}

impl Unread {
    async fn start(name: &str, upstream: std::net::SocketAddr) -> Self {
        let (address, admin) = (free_address(), free_address());
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        let text = format!(
            "[listen]\naddress = [\"{address}\"]\n[upstream]\nurl = [\"ws://{upstream}\"]\n\
             [media]\nmode = \"direct\"\n[admin]\nlisten = \"{admin}\"\n\
             [log]\nformat = \"json\"\nlevel = \"trace\"\nqueue_bytes_max = 4096\nflush_ms_max = 200\n"
        );
        let process = Running::with_settings(&config, &text, address).await;
        Self { process, address, admin }
    }

    fn status(&self) -> Value {
        status(self.admin)
    }
}

/// More lines than the pipe (64 KiB) and the queue hold: each session is several.
async fn fill(proxy: &Unread, upstream: &mut Upstream) {
    let begun = Instant::now();
    while proxy.status()["log_lines_dropped"] == 0 {
        assert!(begun.elapsed() < 3 * PATIENCE, "the log is never full");
        for _ in 0..50 {
            let mut client = connect(proxy.address).await;
            let (mut server, _) = upstream.accept().await;
            send(&mut client, HELLO).await;
            assert_eq!(next_text(&mut server).await, HELLO);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_of_stderr_stalls_nobody_and_hears_what_it_missed() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Unread::start("stalled", upstream.address).await;
    let (mut client, mut server) = {
        let mut client = connect(proxy.address).await;
        let (mut server, _) = upstream.accept().await;
        send(&mut client, HELLO).await;
        assert_eq!(next_text(&mut server).await, HELLO);
        (client, server)
    };
    fill(&proxy, &mut upstream).await;
    // Old and new sessions go on, each message in time.
    for _ in 0..100 {
        send(&mut client, HELLO).await;
        assert_eq!(next_text(&mut server).await, HELLO);
    }
    let stderr = proxy.process.0.stderr.take().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        BufReader::new(stderr)
            .lines()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).expect("whole lines only"))
            .find(|line| line["event"] == "log_lines_dropped")
    });
    let told = in_time("the count of what was dropped", told).await.unwrap().expect("it is told");
    assert!(told["lines"].as_u64().unwrap() > 0, "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_a_stalled_reader() {
    let mut upstream = Upstream::start().await;
    let mut proxy = Unread::start("stalled-end", upstream.address).await;
    fill(&proxy, &mut upstream).await;
    kill_process(Pid::from_child(&proxy.process.0), Signal::TERM).unwrap();
    let begun = Instant::now();
    let mut code = None;
    wait_until("it has ended", || {
        code = proxy.process.0.try_wait().unwrap();
        code.is_some()
    })
    .await;
    assert_eq!(code.unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_password_in_an_address_is_in_no_error() {
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("password.toml");
    let config = config.to_str().unwrap();
    let urls = [
        "wss://me:hunter2@wcs:8443",
        "http://me:hunter2@wcs",
        "wss://me:hunter2@wcs:port",
        "wss://me%3Ahunter2%40wcs",
        "wss://me:hunter2 @wcs",
        "me:hunter2@wcs",
        "wss://wcs?auth=hunter2",
    ];
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut add = |arguments: &[&str]| commands.push(arguments.iter().map(|&a| a.to_owned()).collect());
    for url in urls {
        add(&["run", "--upstream", url]);
        add(&["check", &format!("--upstream={url}")]);
        add(&["check", url]);
        add(&["check", "--upstream", "ws://127.0.0.1:1", "--listen", url]);
        add(&["run", "--upstream", "ws://127.0.0.1:1", "--admin", url]);
        add(&["load", url, "--sessions=1", "--hold=0", "--connect-timeout-ms=200"]);
        let control = format!("--upstream-control={url}");
        add(&["load", "ws://127.0.0.1:1", "--scenario=storm", &control, "--connect-timeout-ms=200"]);
    }
    let told_of = |arguments: &[String]| {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(!text.contains(PASSWORD), "{arguments:?}: {text}");
        text
    };
    for arguments in &commands {
        assert!(!told_of(arguments).is_empty(), "{arguments:?}: nothing is told");
    }
    for url in urls {
        for line in ["url = [\"URL\"]", "url = [URL]", "url = \"URL\"", "urls = [\"URL\"]", "url = [\"URL\""]
        {
            fs::write(config, format!("[upstream]\n{}\n", line.replace("URL", url))).unwrap();
            let text = told_of(&["check", "--config", config].map(str::to_owned));
            assert!(text.contains("password.toml"), "{line} {url}: {text}");
        }
    }
}
