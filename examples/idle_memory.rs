//! What an idle session costs: starts the proxy in a process of its own, opens sessions through
//! it, and prints the growth of its memory (PSS) per session.
//!
//! `cargo run --release --example idle_memory -- [SESSIONS] [silent|connection|publish]`

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream::FuturesUnordered};
use holdfast::{
    config::{NetSettings, SessionSettings},
    limits,
    net::Proxy,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// With an error of any kind: it ends the measurement.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PROXY: &str = "HOLDFAST_IDLE_MEMORY_UPSTREAM";

fn small() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0))
}

#[tokio::main]
async fn main() -> Result<()> {
    match env::var(PROXY) {
        Ok(upstream) => proxy(&upstream).await,
        Err(_) => measure().await,
    }
}

async fn proxy(upstream: &str) -> Result<()> {
    let mut settings = NetSettings::default();
    settings.listen.address = vec!["127.0.0.1:0".parse()?];
    settings.listen.idle_before_first_message = Duration::ZERO;
    settings.upstream.url = vec![upstream.parse()?];
    let proxy = Proxy::start(settings, SessionSettings::default()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", proxy.address())?;
    out.flush()?;
    std::future::pending().await
}

fn pss_bytes(process: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).ok_or("no Pss")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()? * 1024)
}

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure() -> Result<()> {
    limits::raise_open_files();
    let mut arguments = env::args().skip(1);
    let sessions: usize = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let kind = arguments.next().unwrap_or_else(|| "publish".to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = listener.local_addr()?;
    tokio::spawn(serve(listener));
    let mut child = Kill(
        Command::new(env::current_exe()?)
            .env(PROXY, format!("ws://{upstream}"))
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse()?;
    // The first ones pay for what there is only one of.
    let first = open(address, 200, &kind, 0).await?;
    sleep(Duration::from_secs(2)).await;
    let before = pss_bytes(child.0.id())?;
    let rest = open(address, sessions, &kind, 200).await?;
    sleep(Duration::from_secs(10)).await;
    let after = pss_bytes(child.0.id())?;
    if rest.len() != sessions {
        return Err("not all sessions were opened".into());
    }
    let each = after.saturating_sub(before) / sessions as u64;
    println!("{sessions} sessions, {kind}: {each} bytes each ({before} -> {after})");
    drop(first);
    Ok(())
}

async fn open(
    address: SocketAddr,
    count: usize,
    kind: &str,
    first: usize,
) -> Result<Vec<tokio::task::JoinHandle<()>>> {
    let mut open = Vec::new();
    let mut running = FuturesUnordered::new();
    for index in first..first + count {
        running.push(session(address, index, kind));
        if running.len() >= 32 {
            open.extend(running.next().await.transpose()?);
        }
    }
    while let Some(one) = running.next().await {
        open.push(one?);
    }
    Ok(open)
}

async fn session(address: SocketAddr, index: usize, kind: &str) -> Result<tokio::task::JoinHandle<()>> {
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = client_async_with_config(format!("ws://{address}/"), stream, small()).await?;
    if kind != "silent" {
        let connection = format!(
            r#"{{"message":"connection","data":[{{"appKey":"defaultApp","mediaProviders":["WebRTC","MSE"],"clientVersion":"2.0","clientOSVersion":"5.0 (X11; Linux x86_64) AppleWebKit/537.36","clientBrowserVersion":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36","msePacketizationVersion":2,"custom":{{"token":"{index}"}}}}]}}"#
        );
        socket.send(Message::text(connection)).await?;
        expect(&mut socket, "getUserData").await?;
    }
    if kind == "publish" {
        let sdp = offer(index);
        let publish = format!(
            r#"{{"message":"publishStream","data":[{{"mediaSessionId":"{index:08x}-0000-4000-8000-000000000000","name":"stream-{index}","published":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"sdp":"{sdp}"}}]}}"#
        );
        socket.send(Message::text(publish)).await?;
        expect(&mut socket, "PUBLISHING").await?;
    }
    Ok(tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.to_text().is_ok_and(|text| text.contains("\"ping\"")) {
                let _ = socket.send(Message::text(r#"{"message":"pong","data":[null]}"#)).await;
            }
        }
    }))
}

async fn expect(socket: &mut WebSocketStream<TcpStream>, part: &str) -> Result<()> {
    loop {
        let message = socket.next().await.ok_or("the end")??;
        if message.to_text()?.contains(part) {
            return Ok(());
        }
    }
}

/// About the size and shape of a browser's offer.
fn offer(index: usize) -> String {
    let mut sdp = format!("v=0\\r\\no=- {index} 2 IN IP4 127.0.0.1\\r\\ns=-\\r\\nt=0 0\\r\\n");
    for line in 0..110 {
        sdp.push_str(&format!("a=rtpmap:{line} codec-{line}/90000\\r\\na=fmtp:{line} level=1\\r\\n"));
    }
    sdp
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut socket) = accept_async_with_config(stream, small()).await else { return };
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                let answer = answer(text.as_str());
                if let Some(answer) = answer
                    && socket.send(Message::text(answer)).await.is_err()
                {
                    return;
                }
            }
        });
    }
}

fn answer(text: &str) -> Option<String> {
    if text.contains("\"connection\"") {
        return Some(
            r#"{"message":"getUserData","data":[{"authToken":"0123456789abcdef","status":"ESTABLISHED"}]}"#
                .to_owned(),
        );
    }
    let id = text.split("\"mediaSessionId\":\"").nth(1)?.split('"').next()?;
    let name = text.split("\"name\":\"").nth(1)?.split('"').next()?;
    Some(format!(
        r#"{{"message":"notifyStreamStatusEvent","data":[{{"mediaSessionId":"{id}","name":"{name}","status":"PUBLISHING"}}]}}"#
    ))
}
