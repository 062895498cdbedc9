//! `holdfast simulate` as a process: it can be killed as `kill -9` does, and comes back on its port.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::ports::free_port;

/// An event that the server noted.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Which start of the process; counted here.
    #[serde(skip)]
    pub life: usize,
    pub at_ms: u64,
    pub session: Option<u64>,
    pub what: String,
    pub name: String,
    pub id: String,
    pub detail: String,
}

/// The process, its addresses, and what its earlier lives left.
pub struct Server {
    child: Option<Child>,
    pub address: SocketAddr,
    control: SocketAddr,
    arguments: Vec<String>,
    past: Vec<Entry>,
    past_violations: Vec<Value>,
    lives: usize,
}

impl Server {
    /// Starts it with these changes to its settings. Pings come fast unless they say otherwise.
    pub async fn start(changes: Value) -> Self {
        let mut arguments = vec!["--set=pings.interval_ms=200".to_owned()];
        for (key, value) in changes.as_object().unwrap() {
            arguments.push(format!("--set={key}={value}"));
        }
        let mut server = Self {
            child: None,
            address: free_port(),
            control: free_port(),
            arguments,
            past: Vec::new(),
            past_violations: Vec::new(),
            lives: 0,
        };
        server.start_again().await;
        server
    }

    /// Without media: answers that lead nowhere.
    pub async fn fake(mut changes: Value) -> Self {
        changes["media"] = json!("fake");
        Self::start(changes).await
    }

    /// Its HTTP control port.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// Another value of a section of the settings for the next start.
    pub fn set(&mut self, section: &str, value: &Value) {
        let prefix = format!("--set={section}=");
        self.arguments.retain(|argument| !argument.starts_with(&prefix));
        self.arguments.push(format!("{prefix}{value}"));
    }

    /// Starts the process and waits until it listens.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .arg("simulate")
            .arg(format!("--listen={}", self.address))
            .arg(format!("--control={}", self.control))
            .arg("--log-level=error")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        self.lives += 1;
        let listening = tokio::task::spawn_blocking(move || {
            output.lines().any(|line| line.unwrap().starts_with("control "))
        });
        assert!(listening.await.unwrap(), "the simulated server ended at its start");
    }

    /// Kills it as `kill -9` does. What it noted until now is kept.
    pub async fn kill(&mut self) {
        let journal = self.journal_of_this_life().await;
        self.past.extend(journal);
        self.past_violations.extend(self.violations_of_this_life().await);
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }

    pub async fn fault(&self, fault: Value) -> Value {
        self.request("POST", "/fault", &fault.to_string()).await
    }

    pub async fn switch(&self, changes: Value) {
        self.request("POST", "/switch", &changes.to_string()).await;
    }

    pub async fn state(&self) -> Value {
        self.request("GET", "/state", "").await
    }

    /// The counters alone.
    pub async fn summary(&self) -> Value {
        self.request("GET", "/summary", "").await
    }

    /// All it noted, over all its lives, oldest first.
    pub async fn journal(&self) -> Vec<Entry> {
        let mut all = self.past.clone();
        if self.child.is_some() {
            all.extend(self.journal_of_this_life().await);
        }
        all
    }

    async fn journal_of_this_life(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            serde_json::from_value(self.request("GET", "/journal", "").await).unwrap();
        for entry in &mut entries {
            entry.life = self.lives;
        }
        entries
    }

    /// What clients did wrong, over all its lives.
    pub async fn violations(&self) -> Vec<Value> {
        let mut all = self.past_violations.clone();
        all.extend(self.violations_of_this_life().await);
        all
    }

    async fn violations_of_this_life(&self) -> Vec<Value> {
        self.request("GET", "/violations", "").await["list"].as_array().unwrap().clone()
    }

    /// Waits until the state satisfies the condition.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            let state = self.state().await;
            if condition(&state) {
                return state;
            }
            assert!(tokio::time::Instant::now() < deadline, "in vain: {what}: {state:#}");
            super::let_pass(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Value {
        ask(self.control, method, path, body).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One HTTP request whose answer is JSON.
pub async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}
