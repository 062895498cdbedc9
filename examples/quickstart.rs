//! A session that survives the death of its server, in the terminal: a simulated server and the
//! proxy as processes of their own, and a client that publishes through them. `scripts/quickstart`
//! builds and starts it.
// `serde_json::Value` answers a key that is not there with null.
#![allow(clippy::indexing_slicing)]

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// How long the server stays dead.
const DEAD: Duration = Duration::from_secs(2);

/// The longest wait for anything the client waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// As much of an offer as a server needs that does not really stream.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
    a=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    a=rtpmap:111 opus/48000/2\r\n";

#[tokio::main]
async fn main() -> Result<()> {
    let told = Timeline { start: Instant::now() };
    let binary = binary()?;

    let mut server = Process::simulator(&binary, "127.0.0.1:0")?;
    told.say("server", &format!("a simulated Web Call Server listens on {}", server.address));
    let proxy = Process::proxy(&binary, server.address)?;
    told.say("proxy", &format!("holdfast listens on {}", proxy.address));

    let mut client = Client::connect(proxy.address).await?;
    client.send("connection", json!({"appKey": "defaultApp", "clientVersion": "2.0"})).await?;
    client.until(&told, |message, _| message == "getUserData").await?;
    told.say("client", "its session is ESTABLISHED");
    client.publish(&told, "first").await?;

    let address = server.address.to_string();
    drop(server);
    told.say("server", "killed (SIGKILL)");
    sleep(DEAD).await;
    server = Process::simulator(&binary, &address)?;
    told.say("server", "a new process listens on the same port");

    client.until(&told, |_, data| data["status"] == "FAILED").await?;
    told.say("client", "told that its stream failed, as a page has to be that carries its own media");
    client.publish(&told, "second").await?;
    told.say("client", "publishes again, on the same socket and in the same session: nobody reconnected");
    drop((server, proxy));
    Ok(())
}

struct Timeline {
    start: Instant,
}

impl Timeline {
    fn say(&self, who: &str, what: &str) {
        println!("{:>7.3} s  {who:<7} {what}", self.start.elapsed().as_secs_f64());
    }
}

/// The binary named on the command line, or the one that was built with this example.
fn binary() -> Result<PathBuf> {
    if let Some(path) = env::args_os().nth(1) {
        return Ok(path.into());
    }
    let example = env::current_exe()?;
    let profile = example.parent().and_then(Path::parent).context("the example has no place")?;
    Ok(profile.join("holdfast"))
}

/// A process that dies with this value.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn simulator(binary: &Path, listen: &str) -> Result<Self> {
        let mut child = Command::new(binary)
            .args([
                "simulate",
                "--set",
                "media=fake",
                "--log-level=off",
                "--control=127.0.0.1:0",
                "--listen",
                listen,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let address = first(lines, |line| line.strip_prefix("ws://").map(str::to_owned))?;
        Ok(Self { child, address })
    }

    fn proxy(binary: &Path, upstream: SocketAddr) -> Result<Self> {
        let mut child = Command::new(binary)
            .args([
                "run",
                "--listen=127.0.0.1:0",
                "--log-format=json",
                "--upstream",
                &format!("ws://{upstream}"),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut lines = BufReader::new(child.stderr.take().context("no output")?).lines();
        let address = first(lines.by_ref(), |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == "listening").then(|| line["address"].as_str().map(str::to_owned))?
        })?;
        std::thread::spawn(move || show_events(lines));
        Ok(Self { child, address })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first(
    lines: impl Iterator<Item = std::io::Result<String>>,
    find: impl Fn(&str) -> Option<String>,
) -> Result<SocketAddr> {
    for line in lines {
        if let Some(address) = find(&line?) {
            return Ok(address.parse()?);
        }
    }
    bail!("a process ended before it listened")
}

/// Prints what the proxy logs, shortened.
fn show_events(lines: impl Iterator<Item = std::io::Result<String>>) {
    for line in lines.map_while(Result::ok) {
        let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
        if line["event"].is_null() {
            continue;
        }
        let fields = ["stream", "outcome", "cause", "attempts", "outage_ms"]
            .iter()
            .filter(|name| !line[**name].is_null())
            .map(|name| format!(" {name}={}", line[*name]))
            .collect::<String>();
        println!("           proxy   {}{fields}", line["message"].as_str().unwrap_or_default());
    }
}

/// A client that speaks as much of the protocol as this needs.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn connect(proxy: SocketAddr) -> Result<Self> {
        let (socket, _) = connect_async(format!("ws://{proxy}/")).await?;
        Ok(Self { socket })
    }

    async fn send(&mut self, name: &str, data: Value) -> Result<()> {
        let text = json!({"message": name, "data": [data]}).to_string();
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Publishes a stream and waits until the server says so.
    async fn publish(&mut self, told: &Timeline, id: &str) -> Result<()> {
        let stream = json!({
            "mediaSessionId": id, "name": "demo", "published": true, "hasVideo": false,
            "hasAudio": true, "status": "PENDING", "record": false, "mediaProvider": "WebRTC",
            "sdp": OFFER, "bitrate": 0, "minBitrate": 0, "maxBitrate": 0,
        });
        self.send("publishStream", stream).await?;
        self.until(told, |_, data| data["mediaSessionId"] == id && data["status"] == "PUBLISHING").await?;
        told.say("client", "its stream is PUBLISHING");
        Ok(())
    }

    /// Reads messages and answers pings until the one that is waited for.
    async fn until(&mut self, told: &Timeline, wanted: impl Fn(&str, &Value) -> bool) -> Result<()> {
        timeout(PATIENCE, async {
            while let Some(frame) = self.socket.next().await {
                let Message::Text(text) = frame? else { continue };
                let message: Value = serde_json::from_str(text.as_str())?;
                let name = message["message"].as_str().unwrap_or_default();
                if name == "ping" {
                    told.say("client", "gets a ping");
                    self.send("pong", Value::Null).await?;
                } else if wanted(name, &message["data"][0]) {
                    return Ok(());
                }
            }
            bail!("the socket was closed")
        })
        .await
        .context("waited too long")?
    }
}
