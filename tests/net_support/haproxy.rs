//! Debian's HAProxy, and what it thinks of the servers behind it.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{free_address, in_time, let_pass};

/// HAProxy with one backend, and its statistics to ask.
pub struct Haproxy {
    child: Child,
    /// Where its clients connect.
    pub front: SocketAddr,
    stats: SocketAddr,
}

/// What it says of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `UP`, `DOWN (agent)`, `DRAIN (agent)`, `MAINT`, or a state between.
    pub status: String,
    pub weight: u32,
}

impl Haproxy {
    /// With these lines in its backend.
    pub fn start(backend: &str) -> Self {
        Self::start_as("http", "", backend)
    }

    /// In this mode, with this said of the address that it listens on, and these lines in its backend.
    pub fn start_as(mode: &str, bind: &str, backend: &str) -> Self {
        let front = free_address();
        let sections = format!(
            "defaults\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n\
             frontend front\n mode {mode}\n bind {front} {bind}\n default_backend back\n\
             backend back\n mode {mode}\n {backend}\n"
        );
        Self::of_config(&sections, front)
    }

    /// With these sections, one of which listens on `front`.
    pub fn of_config(sections: &str, front: SocketAddr) -> Self {
        let stats = free_address();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("haproxy-{}.cfg", stats.port()));
        let config = format!(
            "{sections}\nlisten stats\n mode http\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n \
             bind {stats}\n stats enable\n stats uri /\n"
        );
        fs::write(&file, config).unwrap();
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|path| PathBuf::from(path).exists())
            .expect("haproxy is missing; `scripts/install test` installs it");
        let child =
            Command::new(program).arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).spawn().unwrap();
        Self { child, front, stats }
    }

    /// What it says of the server of this name.
    pub async fn server(&self, name: &str) -> Option<Server> {
        let mut stream = TcpStream::connect(self.stats).await.ok()?;
        stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let line = text.lines().find(|line| line.starts_with(&format!("back,{name},")))?;
        let cell = |nth| line.split(',').nth(nth);
        Some(Server { status: cell(17)?.to_owned(), weight: cell(18)?.parse().ok()? })
    }

    /// Waits until it says this.
    pub async fn is(&self, name: &str, wanted: impl Fn(&Server) -> bool, what: &str) {
        in_time(what, async {
            while !self.server(name).await.as_ref().is_some_and(&wanted) {
                let_pass(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
