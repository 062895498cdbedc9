//! The program itself as a proxy, for commands that watch one.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

/// A proxy of its own process, which ends with the test. Nobody listens where its upstream is.
pub struct Running(Child);

impl Running {
    pub fn start(listen: SocketAddr, admin: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--media=direct", "--upstream=lonely=ws://127.0.0.1:9"])
            .args([format!("--listen={listen}"), format!("--admin={admin}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("listening")), "it starts");
        thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
