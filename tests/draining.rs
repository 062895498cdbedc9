//! An operator takes nodes out of use and back with the commands for that, while clients are connected: their
//! sockets stay, they hear nothing, and each command exits with 0 only when its wish is fulfilled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use holdfast::{
    admin::{self, Door, Setup},
    config::{AdminSettings, Config, MediaMode, Overrides},
    load::{LoadSettings, Scenario, Summary},
    net::Proxy,
    simulator::{Simulator, SimulatorSettings},
};
use net_support::clients::Clients;
use serde_json::Value;
use tokio::{sync::watch, task::spawn_blocking};

/// A proxy before two nodes, `a` and `b`, with an admin side and clients.
struct Farm {
    nodes: Vec<Simulator>,
    proxy: Arc<Proxy>,
    admin: String,
    socket: std::path::PathBuf,
    clients: Option<Clients>,
}

impl Farm {
    async fn start(name: &str) -> Self {
        let nodes = vec![
            Simulator::start(SimulatorSettings::default()).await.unwrap(),
            Simulator::start(SimulatorSettings::default()).await.unwrap(),
        ];
        let named = ["a", "b"].iter().zip(&nodes);
        let upstream = named.map(|(name, node)| format!("{name}=ws://{}", node.address()).parse().unwrap());
        let flags = Overrides {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            upstream: upstream.collect(),
            media: Some(MediaMode::Direct),
            ..Overrides::default()
        };
        Self::with(name, nodes, Config::load(None, &flags).unwrap()).await
    }

    async fn with(name: &str, nodes: Vec<Simulator>, config: Config) -> Self {
        let proxy = Arc::new(Proxy::launch(config).await.unwrap());
        let door = Door::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let admin = format!("--admin={}", door.address().unwrap());
        let socket = std::env::temp_dir().join(format!("holdfast-{name}-{}.sock", std::process::id()));
        let doors = vec![door, Door::unix(&socket, &AdminSettings::default()).unwrap()];
        let setup = Setup { socket: Some(socket.clone()), ..Setup::default() };
        let (_, starting) = watch::channel(Some(Arc::clone(&proxy)));
        tokio::spawn(admin::serve_from_start(doors, setup, starting));
        Self { nodes, proxy, admin, socket, clients: None }
    }

    /// Clients that stay until the end.
    async fn populate(&mut self, scenario: Scenario, sessions: usize) {
        let settings = LoadSettings {
            scenario,
            sessions,
            ramp_per_s: 500,
            hold: Duration::from_secs(600),
            ..LoadSettings::new(format!("ws://{}", self.proxy.address()).parse().unwrap())
        };
        let mut clients = Clients::start(settings);
        let sessions = u64::try_from(sessions).unwrap();
        clients.until("all clients", |now| now.open == sessions).await;
        self.clients = Some(clients);
    }

    async fn command(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(words).arg(&self.admin).env_remove("HOLDFAST_ADMIN_TOKEN");
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    async fn json(&self, words: &[&str]) -> Value {
        let (code, out, err) = self.command(words).await;
        assert_eq!(code, 0, "{words:?}: {err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Sessions that the simulated servers have.
    fn sessions(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.summary()["now"]["sessions"].as_u64().unwrap()).collect()
    }

    fn state(&self, name: &str) -> (String, usize) {
        let nodes = self.proxy.nodes();
        let node = nodes.iter().find(|node| node.name == name).unwrap();
        (node.state.to_string(), node.sessions)
    }

    /// All that the clients saw.
    async fn end(mut self) -> Summary {
        let summary = self.clients.take().unwrap().end().await;
        for node in &self.nodes {
            assert!(node.violations().is_empty(), "{:?}", node.violations());
        }
        assert!(self.proxy.shutdown().await);
        std::fs::remove_file(&self.socket).unwrap();
        summary
    }
}

fn assert_unseen(summary: &Summary, sessions: u64) {
    assert_eq!((summary.survived, summary.lost), (sessions, 0), "{summary:?}");
    assert_eq!((summary.established_again, summary.reported), (0, 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_used_again_and_given_its_share() {
    let mut farm = Farm::start("emptied").await;
    farm.populate(Scenario::Idle, 40).await;
    let drained = farm.json(&["drain", "a", "--wait", "--json", "--rate", "200"]).await;
    assert_eq!((&drained["stage"], &drained["node"]), (&"done".into(), &"a".into()), "{drained}");
    assert_eq!((&drained["forced"], &drained["remaining"]), (&0.into(), &0.into()), "{drained}");
    assert_eq!(farm.state("a"), ("draining".to_owned(), 0));
    assert_eq!(farm.sessions(), [0, 40]);
    // Whoever comes now goes elsewhere, and the last node is not taken out.
    let (code, _, err) = farm.command(&["drain", "b"]).await;
    assert!(code == 1 && err.contains("no other node") && err.contains("force"), "{code}: {err}");
    let (code, out, err) = farm.command(&["undrain", "a"]).await;
    assert!(code == 0 && out.contains("in use again"), "{err}");
    assert_eq!(farm.state("a").0, "up");
    let relieved = farm.json(&["rebalance", "--wait", "--json", "--rate", "200"]).await;
    assert_eq!(relieved["relieved"][0]["node"], "b", "{relieved}");
    assert_eq!(farm.sessions(), [20, 20]);
    let (code, out, _) = farm.command(&["rebalance"]).await;
    assert!(code == 0 && out.contains("No node has more than its share"), "{out}");
    assert_unseen(&farm.end().await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_keep_to_their_rate() {
    let mut farm = Farm::start("rate").await;
    farm.populate(Scenario::Idle, 30).await;
    let on_a = farm.state("a").1;
    let began = Instant::now();
    let drained = farm.json(&["drain", "a", "--wait", "--json", "--rate", "10"]).await;
    let least = Duration::from_millis(u64::try_from(on_a.saturating_sub(2)).unwrap() * 100);
    assert!(began.elapsed() >= least, "{:?} for {on_a} at 10 per second", began.elapsed());
    assert_eq!(drained["moved"], on_a, "{drained}");
    assert_unseen(&farm.end().await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_move_unseen_is_named_and_forced_in_time() {
    let mut farm = Farm::start("forced").await;
    // Direct media goes past the proxy: nobody can take it elsewhere unseen.
    farm.populate(Scenario::Publish, 4).await;
    let (code, out, err) = farm.command(&["drain", "a"]).await;
    assert!(code == 0 && out.contains("goes on by itself"), "{err}");
    let on_a = farm.state("a").1;
    assert!(on_a > 0);
    let mut waits = Value::Null;
    while waits["stage"] != "waiting" {
        let nodes = farm.proxy.nodes();
        let node = nodes.iter().find(|node| node.name == "a").unwrap().id;
        waits = serde_json::to_value(farm.proxy.drain_status(node).unwrap()).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(waits["left"][0]["sessions"], on_a, "{waits}");
    assert!(waits["left"][0]["reason"].as_str().unwrap().contains("direct"), "{waits}");
    // Another order is for the drain that runs, and forces nobody before its time.
    let again = farm.json(&["drain", "a", "--json", "--rate", "7", "--force-after", "3600s"]).await;
    assert_eq!((&again["rate_max"], &again["forced"]), (&7.into(), &0.into()), "{again}");
    assert!(again["lasted_ms"].as_u64() >= waits["lasted_ms"].as_u64(), "{waits} {again}");
    let drained =
        farm.json(&["drain", "a", "--wait", "--json", "--rate", "100", "--force-after", "300ms"]).await;
    assert_eq!((&drained["forced"], &drained["stage"]), (&on_a.into(), &"done".into()), "{drained}");
    assert_eq!(farm.state("a").1, 0);
    let summary = farm.end().await;
    assert_eq!((summary.survived, summary.lost), (4, 0), "their sockets stay: {summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_maintenance_is_empty_and_nobody_goes_there() {
    let mut farm = Farm::start("maintenance").await;
    farm.populate(Scenario::Idle, 10).await;
    let (code, _, err) = farm.command(&["maintenance", "b", "--wait", "--rate", "100"]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(farm.state("b"), ("maintenance".to_owned(), 0));
    let (code, _, err) = farm.command(&["undrain", "no-such-node"]).await;
    assert!(code == 1 && err.contains("there is a, b"), "{code}: {err}");
    let (code, _, err) = farm.command(&["undrain", "b"]).await;
    assert_eq!(code, 0, "{err}");
    assert_unseen(&farm.end().await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_agent_wants_it_left_is_emptied_until_it_takes_that_back() {
    let with_agent = SimulatorSettings::default().with(&serde_json::json!({"agent": "127.0.0.1:0"})).unwrap();
    let nodes = vec![
        Simulator::start(with_agent).await.unwrap(),
        Simulator::start(SimulatorSettings::default()).await.unwrap(),
    ];
    let port = nodes[0].agent_address().unwrap().port();
    let config = format!(
        "[listen]\naddress = [\"127.0.0.1:0\"]\n[media]\nmode = \"direct\"\n\
         [[upstream.node]]\nname = \"a\"\nurl = \"ws://{}\"\nhealth = [{{ kind = \"agent\", port = {port}, \
         interval_ms = 100, timeout_ms = 1000, rise = 1, fall = 1 }}]\n\
         [[upstream.node]]\nname = \"b\"\nurl = \"ws://{}\"\n",
        nodes[0].address(),
        nodes[1].address()
    );
    let config = Config::parse(&config, std::path::Path::new("test.toml"), &Overrides::default()).unwrap();
    let mut farm = Farm::with("agent", nodes, config).await;
    farm.populate(Scenario::Idle, 20).await;
    assert!(farm.sessions()[0] > 0);
    for (word, state) in [("drain # upgrade", "draining"), ("maint", "maintenance")] {
        farm.nodes[0].switch(&serde_json::json!({"agent_says": word})).unwrap();
        while farm.sessions()[0] > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(farm.state("a").0, state);
        farm.nodes[0].switch(&serde_json::json!({"agent_says": "ready"})).unwrap();
        while farm.state("a").0 != "up" {
            tokio::task::yield_now().await;
        }
        farm.json(&["rebalance", "--wait", "--json", "--rate", "200"]).await;
        assert!(farm.sessions()[0] > 0, "{:?}", farm.sessions());
    }
    assert_unseen(&farm.end().await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_a_drain_may_go_away() {
    let mut farm = Farm::start("looks").await;
    farm.populate(Scenario::Idle, 40).await;
    let (node, admin) = ("a", farm.admin.clone());
    let mut looks = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["drain", node, "--wait", "--rate", "10", &admin])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while farm.state("a").0 != "draining" {
        tokio::task::yield_now().await;
    }
    let pid = rustix::process::Pid::from_child(&looks);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut looks.stderr.take().unwrap(), &mut said).unwrap();
    assert!(!looks.wait().unwrap().success() && said.contains("goes on"), "{said}");
    let drained = farm.json(&["drain", "a", "--wait", "--json", "--rate", "200"]).await;
    assert_eq!(drained["stage"], "done", "{drained}");
    assert_unseen(&farm.end().await, 40);
}
