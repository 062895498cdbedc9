//! Active checks: asking nodes how they are, at their interval and a little off it, so that they are not all
//! asked at once.
//!
//! Each check is a task that asks and tells the node; what follows is decided in `node/state`. A node in
//! maintenance is left alone, but for its agent, which may end that.

mod agent;
mod http;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

pub(crate) use agent::AgentReport;
pub use http::Figures;
pub(crate) use http::Heard;

use super::{
    node::{Node, state::Input},
    pool::Pool,
};
use crate::{
    config::{CheckKind, CheckSettings},
    ids::NodeId,
};

/// Where the vendor has its page of figures, and where its agent listens.
const HTTP_PORT: u16 = 8081;
const HTTP_PATH: &str = "/?action=stat";
const AGENT_PORT: u16 = 9707;
/// Longest time until the first check, that a proxy that starts soon knows its nodes.
const FIRST_MAX: Duration = Duration::from_millis(250);

/// Starts the checks of a node.
pub(super) fn start(pool: &Arc<Pool>, node: &Node) {
    for (nth, check) in node.checks.iter().enumerate() {
        let asked = run(Arc::downgrade(pool), node.id, nth, check.clone());
        // Its end must not wait for an interval, which may be an hour.
        tokio::spawn(node.checking.clone().run_until_cancelled_owned(asked));
    }
}

/// Asks for as long as the node is there.
async fn run(pool: Weak<Pool>, id: NodeId, nth: usize, check: CheckSettings) {
    sleep(check.interval().min(FIRST_MAX).mul_f64(rand::random())).await;
    let mut misses = 0;
    loop {
        {
            let Some(pool) = pool.upgrade() else { return };
            let Some(node) = pool.node(id) else { return };
            if node.takes_probes() || check.kind == CheckKind::Agent {
                ask(&pool, &node, (nth, &check), &mut misses).await;
            }
        }
        // A fifth more or less.
        sleep(check.interval().mul_f64(0.8 + 0.4 * rand::random::<f64>())).await;
    }
}

async fn ask(pool: &Arc<Pool>, node: &Arc<Node>, (nth, check): (usize, &CheckSettings), misses: &mut u32) {
    match check.kind {
        CheckKind::Off => {}
        CheckKind::Websocket => match in_time(check, pool.probe_once(node, check.path.as_deref())).await {
            Ok(()) => *misses = 0,
            Err(why) => {
                *misses = misses.saturating_add(1);
                if *misses >= check.fall() {
                    pool.tell(node, Input::Missed(&why));
                }
            }
        },
        CheckKind::Tcp => {
            let result = in_time(check, connect(node, check.port)).await;
            tell(pool, node, nth, result.map(drop));
        }
        CheckKind::Http => {
            let asked = in_time(check, async {
                let stream = connect(node, Some(check.port.unwrap_or(HTTP_PORT))).await?;
                let (url, path) = (node.address.url(), check.path.as_deref().unwrap_or(HTTP_PATH));
                http::get(stream, &url.authority_of_port(check.port.unwrap_or(HTTP_PORT)), path).await
            });
            let result = asked.await;
            if let Ok(figures) = &result {
                node.heard(*figures);
            }
            tell(pool, node, nth, result.map(drop));
        }
        CheckKind::Agent => {
            // An agent that does not answer says nothing: that is for other checks.
            if let Ok(report) = in_time(check, ask_agent(node, check.port)).await {
                pool.tell(node, Input::Agent(nth, &report));
            }
        }
    }
}

fn tell(pool: &Arc<Pool>, node: &Arc<Node>, nth: usize, result: Result<(), String>) {
    let kind = node.checks.get(nth).map_or("", |check| check.kind.as_str());
    let result = result.map_err(|why| format!("check by {kind}: {why}"));
    pool.tell(node, Input::Check(nth, result.as_ref().copied().map_err(String::as_str)));
}

async fn in_time<T>(
    check: &CheckSettings,
    asked: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let limit = check.timeout();
    let late = || Err(format!("no answer to its check within {} ms", limit.as_millis()));
    timeout(limit, asked).await.unwrap_or_else(|_| late())
}

/// Connects to a port of the node; `None` is its own.
async fn connect(node: &Node, port: Option<u16>) -> Result<TcpStream, String> {
    let mut failure = "the name has no address".to_owned();
    for mut address in node.address.addresses().await? {
        address.set_port(port.unwrap_or(address.port()));
        match connect_to(node, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = format!("port {}: {error}", address.port()),
        }
    }
    Err(failure)
}

/// Where sessions go, connections begin as theirs do; on other ports of the node nobody expects that.
async fn connect_to(node: &Node, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    if address.port() == node.address.url().port() {
        stream.write_all(&node.address.own_header()?).await?;
    }
    Ok(stream)
}

async fn ask_agent(node: &Node, port: Option<u16>) -> Result<AgentReport, String> {
    let mut stream = connect(node, Some(port.unwrap_or(AGENT_PORT))).await?;
    let mut said = Vec::new();
    while said.len() < agent::LINE_BYTES_MAX && !said.contains(&b'\n') {
        let mut piece = [0; agent::LINE_BYTES_MAX];
        let read = stream.read(&mut piece).await.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        said.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    said.truncate(agent::LINE_BYTES_MAX);
    Ok(AgentReport::read(&String::from_utf8_lossy(&said)))
}
