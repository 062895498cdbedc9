//! Debian's HAProxy and the proxy ask the same agent of the same node, and come to the same opinion of it: scripts
//! that steer the one steer the other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use holdfast::{
    config::{Config, Overrides},
    net::{NodeStatus, Proxy},
};
use net_support::{
    haproxy::{Haproxy, Server},
    *,
};
use parking_lot::Mutex;
use tokio::{io::AsyncWriteExt, net::TcpListener};

/// What both are to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    Up,
    Draining,
    Maintenance,
    Down,
}

/// An agent that one of both asks.
struct Agent {
    port: u16,
    said: Arc<Mutex<String>>,
    /// How often that was heard.
    heard: Arc<AtomicUsize>,
}

impl Agent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (said, heard) = (Arc::new(Mutex::new("up".to_owned())), Arc::new(AtomicUsize::new(0)));
        let (says, counts) = (Arc::clone(&said), Arc::clone(&heard));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let line = says.lock().clone();
                let _ = stream.write_all(format!("{line}\n").as_bytes()).await;
                if *says.lock() == line {
                    counts.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { port, said, heard }
    }

    /// Says this from now on, and waits until it was heard.
    async fn say(&self, line: &str) {
        *self.said.lock() = line.to_owned();
        let before = self.heard.load(Ordering::SeqCst);
        wait_until("the agent was asked", || self.heard.load(Ordering::SeqCst) > before + 1).await;
    }
}

/// Both, with one node behind each that has an agent and is asked by TCP as well.
struct Both {
    haproxy: Haproxy,
    proxy: Proxy,
    agents: [Agent; 2],
}

impl Both {
    async fn before(node: &Upstream) -> Self {
        let address = node.address;
        let agents = [Agent::start().await, Agent::start().await];
        let [theirs, ours] = [agents[0].port, agents[1].port];
        let haproxy = Haproxy::start(&format!(
            "server a {address} weight 100 check inter 50ms fall 3 rise 2 agent-check agent-addr 127.0.0.1 \
             agent-port {theirs} agent-inter 50ms"
        ));
        let text = format!(
            "[upstream]\nslow_start_ms = 0\n[[upstream.node]]\nname = \"a\"\nurl = \"ws://{address}\"\nhealth = [\
             {{ kind = \"agent\", port = {ours}, interval_ms = 50 }}, \
             {{ kind = \"tcp\", interval_ms = 50, fall = 3, rise = 2 }}]\n"
        );
        let mut net = Config::parse(&text, Path::new("some.toml"), &Overrides::default()).unwrap().net;
        net.listen.address = vec!["127.0.0.1:0".parse().unwrap()];
        Self { haproxy, proxy: start(net).await, agents }
    }

    async fn say(&self, line: &str) {
        tokio::join!(self.agents[0].say(line), self.agents[1].say(line));
    }

    /// The agent says this from now on: both think so, and give the node this part of its weight where it is
    /// used.
    async fn think(&self, line: &str, opinion: Opinion, percent: u32) {
        self.say(line).await;
        let both = format!("{line:?}: {opinion:?} at {percent}%");
        let used = opinion == Opinion::Up;
        let of_haproxy =
            |server: &Server| of_server(server) == Some(opinion) && (!used || server.weight == percent);
        self.haproxy.is("a", of_haproxy, &format!("HAProxy: {both}")).await;
        let ours = || {
            let node = self.node();
            of_state(&node.state) == Some(opinion)
                && (!used || node.weight_percent.round() == f64::from(percent))
        };
        wait_until(&format!("the proxy: {both}"), ours).await;
    }

    fn node(&self) -> NodeStatus {
        self.proxy.nodes().swap_remove(0)
    }
}

fn of_server(server: &Server) -> Option<Opinion> {
    match server.status.split([' ', '(']).next()? {
        // No weight: nobody new goes there, and who is there stays.
        "UP" if server.weight == 0 => Some(Opinion::Draining),
        "UP" => Some(Opinion::Up),
        "DRAIN" => Some(Opinion::Draining),
        "MAINT" => Some(Opinion::Maintenance),
        "DOWN" => Some(Opinion::Down),
        _ => None,
    }
}

fn of_state(state: &str) -> Option<Opinion> {
    match state {
        "up" => Some(Opinion::Up),
        "draining" => Some(Opinion::Draining),
        "maintenance" => Some(Opinion::Maintenance),
        "down" => Some(Opinion::Down),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_words_of_an_agent_lead_to_the_same_opinion() {
    use Opinion::{Down, Draining, Maintenance, Up};
    let node = Upstream::start().await;
    let both = Both::before(&node).await;
    for (line, opinion, percent) in [
        ("up", Up, 100),
        ("75%", Up, 75),
        ("up 50%", Up, 50),
        ("100%", Up, 100),
        ("drain", Draining, 100),
        ("75%", Draining, 75),
        ("ready", Up, 75),
        ("0%", Draining, 0),
        ("100%", Up, 100),
        ("maint", Maintenance, 100),
        ("up", Maintenance, 100),
        ("ready up", Up, 100),
        ("down # disk full", Down, 100),
        ("nothing that is known", Down, 100),
        ("100%", Down, 100),
        ("up", Up, 100),
        ("stopped", Down, 100),
        ("ready", Down, 100),
        ("up", Up, 100),
        ("fail", Down, 100),
        ("ready", Down, 100),
        ("ready,up,40%", Up, 40),
        ("UP 100% maxconn:30", Up, 100),
    ] {
        both.think(line, opinion, percent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_away_under_its_agent_is_down_for_both_and_comes_back_for_both() {
    let node = Upstream::start().await;
    let both = Both::before(&node).await;
    both.think("up", Opinion::Up, 100).await;
    let address = node.stop().await;
    both.think("up", Opinion::Down, 100).await;
    let _node = Upstream::with(address, Arc::new(|_, response| Ok(response))).await;
    both.think("up", Opinion::Up, 100).await;
}

/// Agents of the vendor's examples know no `ready`: what they say when all is well takes back a drain here, where
/// HAProxy goes on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_with_a_part_of_the_weight_takes_back_a_drain_here_and_not_in_haproxy() {
    let node = Upstream::start().await;
    let both = Both::before(&node).await;
    both.think("drain", Opinion::Draining, 100).await;
    both.say("up 60%").await;
    wait_until("it is used here", || both.node().state == "up").await;
    let drained = |server: &Server| server.weight == 60 && of_server(server) == Some(Opinion::Draining);
    both.haproxy.is("a", drained, "HAProxy: drained, at 60%").await;
    both.say("up 60%").await;
    assert!(both.haproxy.server("a").await.as_ref().is_some_and(drained));
}
