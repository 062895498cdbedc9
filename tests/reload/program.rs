//! The program as a proxy with a configuration file of its own, which the test writes anew.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use holdfast::{
    load::{LoadSettings, Scenario},
    simulator::Simulator,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::net_support::{clients::Clients, *};

pub(crate) const TOKEN: &str = "a-token-of-a-test-0123456789";
pub(crate) const OTHER_TOKEN: &str = "another-token-of-a-test-9876";

/// A proxy with its configuration in a folder of its own.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
    pub(crate) admin: SocketAddr,
    pub(crate) lines: Arc<Mutex<Vec<Value>>>,
}

impl Program {
    pub(crate) fn start(name: &str, config: &str) -> Self {
        Self::with(name, &["--media=direct"], config)
    }

    /// The same with other flags.
    pub(crate) fn with(name: &str, flags: &[&str], config: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-reload-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let admin = free_address();
        fs::write(folder.join("admin.token"), TOKEN).unwrap();
        let mut program =
            Self { child: Command::new("true").spawn().unwrap(), folder, admin, lines: Arc::default() };
        program.child.wait().unwrap();
        program.write(config);
        program.child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--log-format=json"])
            .args(flags)
            .arg("--config")
            .arg(program.config())
            .env_remove("HOLDFAST_ADMIN_TOKEN")
            .env_remove("HOLDFAST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let reader = BufReader::new(program.child.stderr.take().unwrap());
        let lines = Arc::clone(&program.lines);
        std::thread::spawn(move || {
            for line in reader.lines() {
                lines.lock().push(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        program
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("holdfast.toml")
    }

    /// The file as it is written with its admin side; others see it whole or not at all.
    pub(crate) fn write(&self, config: &str) {
        let admin = format!(
            "\n[admin]\nlisten = \"{}\"\nsocket = \"off\"\ntoken_file = \"{}\"\n",
            self.admin,
            self.folder.join("admin.token").display()
        );
        let beside = self.folder.join("beside");
        fs::write(&beside, config.to_owned() + &admin).unwrap();
        fs::rename(beside, self.config()).unwrap();
    }

    /// Waits for the nth line of this event.
    pub(crate) async fn line(&self, event: &str, nth: usize) -> Value {
        let find = || self.lines.lock().iter().filter(|line| line["event"] == event).nth(nth).cloned();
        wait_until(event, || find().is_some()).await;
        find().unwrap()
    }

    /// Where it listens, when it does.
    pub(crate) async fn listening(&self) -> Vec<SocketAddr> {
        let at = |line: &Value| line["address"].as_str().map(|address| address.parse().unwrap());
        let all = || {
            let lines = self.lines.lock();
            lines.iter().filter(|line| line["message"] == "listening").filter_map(at).collect::<Vec<_>>()
        };
        wait_until("it listens", || !all().is_empty()).await;
        all()
    }

    pub(crate) async fn command(&self, words: &[&str], token: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(words).arg(format!("--admin={}", self.admin)).env("HOLDFAST_ADMIN_TOKEN", token);
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// `holdfast reload`, which is to be accepted.
    pub(crate) async fn reload(&self, config: &str) -> Value {
        self.write(config);
        let (code, out, err) = self.command(&["reload", "--json"], TOKEN).await;
        assert_eq!(code, 0, "{err}{out}");
        serde_json::from_str(&out).unwrap()
    }

    /// The same, which is to be refused for this.
    pub(crate) async fn refused(&self, config: &str, why: &[&str]) {
        self.write(config);
        let (code, out, err) = self.command(&["reload"], TOKEN).await;
        assert_eq!((code, &*out), (78, ""), "{err}");
        for part in why {
            assert!(err.contains(part), "no `{part}` in {err}");
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let answer = raw_exchange(self.admin, request.as_bytes()).await;
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = raw_exchange(self.admin, b"GET /metrics HTTP/1.0\r\n\r\n").await;
        let line = answer.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn changes(report: &Value) -> Vec<String> {
    let told = report["changes"].as_array().unwrap().iter();
    let words = told.map(|one| {
        let word = |key: &str| one[key].as_str().unwrap().to_owned();
        format!("{} {} {}", word("object"), word("name"), word("change"))
    });
    words.collect()
}

/// Listeners and nodes, and what comes after.
pub(crate) fn config(listen: &[SocketAddr], nodes: &[(&str, SocketAddr)], more: &str) -> String {
    let listen: Vec<String> = listen.iter().map(|address| format!("\"{address}\"")).collect();
    let nodes: Vec<String> = nodes.iter().map(|(name, at)| format!("\"{name}=ws://{at}\"")).collect();
    format!(
        "[listen]\naddress = [{}]\n[upstream]\nurl = [{}]\nprobe_interval_ms = 50\n{more}",
        listen.join(", "),
        nodes.join(", ")
    )
}

pub(crate) async fn clients(at: SocketAddr, sessions: usize) -> Clients {
    let settings = LoadSettings {
        scenario: Scenario::Idle,
        sessions,
        ramp_per_s: 500,
        hold: Duration::from_secs(600),
        ..LoadSettings::new(format!("ws://{at}").parse().unwrap())
    };
    let mut clients = Clients::start(settings);
    let sessions = u64::try_from(sessions).unwrap();
    clients.until("all clients", |now| now.open == sessions).await;
    clients
}

pub(crate) fn sessions(node: &Simulator) -> u64 {
    node.summary()["now"]["sessions"].as_u64().unwrap()
}
