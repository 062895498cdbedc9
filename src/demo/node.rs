//! A server of the demo: a simulated one, as a process of its own, so that killing it is real.

use std::{
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{task::spawn_blocking, time::timeout};

use super::DemoError;
use crate::simulator::{ControlError, ControlPort};

/// How long the simulated server may take to start.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// The process and where it listens; the ports stay the same when it is started again.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: &'static str,
    child: Option<Child>,
    pub(super) address: SocketAddr,
    control: SocketAddr,
}

impl Node {
    /// Starts a simulated server on free ports of loopback.
    pub(super) async fn start(name: &'static str) -> Result<Self, DemoError> {
        let (address, control) = (free_port()?, free_port()?);
        let mut node = Self { name, child: None, address, control };
        node.start_again().await?;
        Ok(node)
    }

    /// Starts the process, if it does not run, and waits until it listens; false: it runs.
    pub(super) async fn start_again(&mut self) -> Result<bool, DemoError> {
        if self.child.is_some() {
            return Ok(false);
        }
        let mut child = Command::new(std::env::current_exe()?)
            .arg("simulate")
            .args(["--listen", &self.address.to_string(), "--control", &self.control.to_string()])
            .args(["--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take();
        self.child = Some(child);
        let output = output.ok_or(DemoError::ServerEnded)?;
        let listening = spawn_blocking(move || wait_until_it_listens(output));
        let listening = timeout(START_TIME_MAX, listening).await;
        listening.map_err(|_| DemoError::ServerSilent)?.map_err(io::Error::other)??;
        Ok(true)
    }

    /// Kills it as `kill -9` does.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks the running server for a fault or a switch.
    pub(super) async fn control(&self, path: &str, order: &Value) -> Result<(), ControlError> {
        ControlPort::at(self.control).post(path, order).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.kill();
    }
}

fn wait_until_it_listens(output: ChildStdout) -> Result<(), DemoError> {
    for line in BufReader::new(output).lines() {
        if line?.starts_with("control ") {
            return Ok(());
        }
    }
    Err(DemoError::ServerEnded)
}

/// A port of loopback that is free now.
pub(super) fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
