//! The server behind what is loaded: killed and started again at set moments, so that the time to
//! restore can be counted from the moment it listens.
//!
//! Only what it started itself is ever killed.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    error::UpstreamError,
    settings::{Outages, Upstream},
};
use crate::simulator::ControlPort;

/// How long a started server may take until it listens.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether it listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long one look may take.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// A simulated server comes back by itself so long after it should have been told to, in case
/// nobody is left to tell it.
const RETURN_MARGIN: Duration = Duration::from_secs(30);

/// Where the latest outage stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outage {
    pub(super) killed: Option<Instant>,
    /// When the server listened again; `None` while it is away.
    pub(super) listening: Option<Instant>,
}

impl Outage {
    pub(super) const fn is_down(&self) -> bool {
        self.killed.is_some() && self.listening.is_none()
    }
}

/// The server under control.
pub(super) enum Control {
    Command { command: String, listens: String, child: Option<Child> },
    Simulator { port: ControlPort },
}

impl Control {
    /// Starts the server, if it is ours to start, and waits until it listens.
    pub(super) async fn start(upstream: &Upstream) -> Result<Self, UpstreamError> {
        let mut control = match upstream {
            Upstream::Command { command, listens } => {
                if timeout(LOOK_TIME_MAX, TcpStream::connect(listens)).await.is_ok_and(|found| found.is_ok())
                {
                    return Err(UpstreamError::AddressInUse(listens.clone()));
                }
                Self::Command { command: command.clone(), listens: listens.clone(), child: None }
            }
            Upstream::Control(url) => {
                let authority = url.authority().filter(|_| url.scheme_str() == Some("http"));
                let authority = authority.ok_or_else(|| UpstreamError::NotAControlPort(url.clone()))?;
                Self::Simulator { port: ControlPort::at(authority) }
            }
        };
        // The simulated server is told as well: it may be away, and a wrong address shows at once.
        control.bring_back().await?;
        Ok(control)
    }

    /// Makes all outages, one after the other, and tells where each stands.
    pub(super) async fn storm(
        &mut self,
        plan: &Outages,
        tell: &watch::Sender<Outage>,
        mut note: impl FnMut(Duration),
    ) -> Result<(), UpstreamError> {
        sleep(plan.after).await;
        for number in 1..=plan.count {
            let killed = Instant::now();
            self.kill(plan.down).await?;
            tell.send_replace(Outage { killed: Some(killed), listening: None });
            sleep(plan.down).await;
            self.bring_back().await?;
            let listening = Instant::now();
            tell.send_replace(Outage { killed: Some(killed), listening: Some(listening) });
            note(listening - killed);
            if number < plan.count {
                sleep((killed + plan.every).saturating_duration_since(listening)).await;
            }
        }
        Ok(())
    }

    /// Leaves the world as it was: a command ended, a simulated server listening.
    pub(super) async fn finish(mut self) {
        if matches!(self, Self::Simulator { .. }) {
            // If it is gone by now, that is as good.
            let _ = self.bring_back().await;
        }
    }

    async fn kill(&mut self, down: Duration) -> Result<(), UpstreamError> {
        match self {
            Self::Command { child, .. } => {
                if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                    return Err(UpstreamError::Ended(status));
                }
                let Some(child) = child.take() else { return Ok(()) };
                let ended = tokio::task::spawn_blocking(move || end(child)).await;
                Ok(ended.map_err(io::Error::other)??)
            }
            Self::Simulator { port } => {
                let down_ms = u64::try_from((down + RETURN_MARGIN).as_millis()).unwrap_or(u64::MAX);
                let fault = json!({"fault": "restart", "down_ms": down_ms});
                order(port, &fault).await
            }
        }
    }

    async fn bring_back(&mut self) -> Result<(), UpstreamError> {
        match self {
            Self::Simulator { port } => order(port, &json!({"fault": "listen"})).await,
            Self::Command { command, listens, child } => {
                let child = child.insert(spawn(command)?);
                let deadline = Instant::now() + START_TIME_MAX;
                loop {
                    let look = timeout(LOOK_TIME_MAX, TcpStream::connect(listens.as_str())).await;
                    if matches!(look, Ok(Ok(_))) {
                        return Ok(());
                    }
                    if let Some(status) = child.try_wait()? {
                        return Err(UpstreamError::EndedAtStart(status));
                    }
                    if Instant::now() >= deadline {
                        let listens = listens.clone();
                        return Err(UpstreamError::DoesNotListen { listens, waited: START_TIME_MAX });
                    }
                    sleep(LOOK_INTERVAL).await;
                }
            }
        }
    }
}

async fn order(port: &ControlPort, fault: &Value) -> Result<(), UpstreamError> {
    let done = port.post("/fault", fault).await;
    done.map_err(|source| UpstreamError::Control { port: port.clone(), source })
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Self::Command { child, .. } = self
            && let Some(child) = child.take()
        {
            // It may have ended already; then there is nothing to kill.
            let _ = end(child);
        }
    }
}

/// In a process group of its own, so that all of it can be killed, and Ctrl-C leaves it to us.
fn spawn(command: &str) -> io::Result<Child> {
    // stdout is for the summary.
    Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Kills the child and what it started in its group, as `kill -9` does. The child is not waited for
/// before, so its id cannot belong to another process.
fn end(mut child: Child) -> io::Result<()> {
    kill_process_group(Pid::from_child(&child), Signal::KILL)?;
    child.wait().map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Far less than the life of what is killed, far more than a kill takes.
    const END_TIME_MAX: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_cannot_be_controlled_is_told() {
        let command = |command: &str, listens: &str| Upstream::Command {
            command: command.to_owned(),
            listens: listens.to_owned(),
        };
        // A port of loopback that refuses: nobody may bind below 1024 but root, and 1 is unused.
        let error = Control::start(&command("exit 3", "127.0.0.1:1")).await.err().unwrap().to_string();
        assert!(error.contains("ended at its start") && error.contains('3'), "{error}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listens = taken.local_addr().unwrap().to_string();
        let error = Control::start(&command("sleep 60", &listens)).await.err().unwrap().to_string();
        assert!(error.contains("already"), "{error}");
        let control = Upstream::Control("http://127.0.0.1:1".parse().unwrap());
        let error = Control::start(&control).await.err().unwrap().to_string();
        assert!(error.contains("control port 127.0.0.1:1"), "{error}");
        assert!(Control::start(&Upstream::Control("ws://127.0.0.1:1".parse().unwrap())).await.is_err());
    }

    #[test]
    fn a_kill_reaches_what_the_command_started() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let grandchild = format!("/proc/{}/stat", line.trim());
        assert!(std::path::Path::new(&grandchild).exists(), "it runs before it is killed");
        end(child).unwrap();
        // Its end is the end of the pipe it had inherited; its entry in /proc may stay a while longer.
        let (ended, end_of_pipe) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut rest = String::new();
            ended.send(std::io::Read::read_to_string(&mut output, &mut rest))
        });
        let read = end_of_pipe.recv_timeout(END_TIME_MAX);
        assert!(read.is_ok(), "what the command started still runs after {END_TIME_MAX:?}");
        read.unwrap().unwrap();
    }
}
