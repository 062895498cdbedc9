//! Many reloads under sessions and anchored media that go on the whole time. `benches/reload/reload.py` is the long one.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use holdfast::{
    load::{LoadSettings, Media, Scenario},
    simulator::{Simulator, SimulatorSettings},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::{
    net_support::{clients::Clients, *},
    program::*,
};

const RELOADS: usize = 50;
/// Half of them publish and the others play.
const STREAMS: usize = 4;
const IDLE: usize = 4;
/// Frames that may be missing of a thousand: the machine is busy, and media is UDP.
const MISSING_PERMILLE_MAX: u64 = 5;

/// Two pairs, one of which is shown, and what trusts both.
struct Pairs {
    texts: [[String; 2]; 2],
}

impl Pairs {
    fn make() -> Self {
        let make = || {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            [certificate.self_signed(&key).unwrap().pem(), key.serialize_pem()]
        };
        Self { texts: [make(), make()] }
    }

    fn show(&self, number: usize, folder: &Path) {
        for (text, name) in self.texts[number % 2].iter().zip(["c.pem", "k.pem"]) {
            fs::write(folder.join("beside"), text).unwrap();
            fs::rename(folder.join("beside"), folder.join(name)).unwrap();
        }
    }
}

/// What is in force; a reload changes one thing of it.
struct Settings {
    ws: SocketAddr,
    wss: SocketAddr,
    extra: SocketAddr,
    pairs: std::path::PathBuf,
    nodes: BTreeMap<&'static str, SocketAddr>,
}

impl Settings {
    fn text(&self, names: &[&str], with_extra: bool, more: &str) -> String {
        let extra = if with_extra { format!(", \"ws://{}\"", self.extra) } else { String::new() };
        let nodes: Vec<String> =
            names.iter().map(|name| format!("\"{name}=ws://{}\"", self.nodes[name])).collect();
        let pairs = self.pairs.display();
        format!(
            "[listen]\naddress = [\"ws://{}\", \"wss://{}\"{extra}]\ntls_cert = \"{pairs}/c.pem\"\n\
             tls_key = \"{pairs}/k.pem\"\n[upstream]\nurl = [{}]\nprobe_interval_ms = 50\n{more}",
            self.ws,
            self.wss,
            nodes.join(", ")
        )
    }

    /// The configuration of one of the reloads, and its result.
    fn nth(&self, number: usize) -> (String, &'static str) {
        let all = ["a", "b"];
        let text = match number % 10 {
            0 => self.text(&["a", "b", "c"], false, ""),
            1 => self.text(&all, false, ""),
            2 => self.text(&all, true, ""),
            3 => self.text(&all, false, &format!("[limits]\nsessions_max = {}\n", 1_000 + number)),
            4 => self.text(&all, false, "[app.loadApp]\nrestore_mode = \"notify\"\n"),
            5 => self.text(&all, false, "[log]\nlevel = \"debug\"\n"),
            // The certificate alone.
            6 => self.text(&all, false, "[log]\nlevel = \"debug\"\n"),
            7 => self.text(&all, false, "[log]\nlevel = \"debug\"\n[upstream\n"),
            // The node with the sessions goes, and comes back.
            8 => self.text(&all[1 - number / 10 % 2..][..1], false, ""),
            _ => self.text(&all, false, ""),
        };
        (text, if number % 10 == 7 { "refused" } else { "accepted" })
    }
}

async fn media_clients(at: SocketAddr) -> Clients {
    let settings = LoadSettings {
        scenario: Scenario::PublishPlay,
        media: Media::Real,
        sessions: STREAMS,
        players_per_stream: 1,
        hold: Duration::from_secs(600),
        ..LoadSettings::new(format!("ws://{at}").parse().unwrap())
    };
    let mut clients = Clients::start(settings);
    pictures_move(&mut clients).await;
    clients
}

async fn pictures_move(clients: &mut Clients) {
    let players = u64::try_from(STREAMS / 2).unwrap();
    clients.until("moving pictures", |now| now.pictures == Some((players, players))).await;
}

async fn idle_clients(at: SocketAddr, trusted: &Path) -> Clients {
    let settings = LoadSettings {
        scenario: Scenario::Idle,
        sessions: IDLE,
        ca: Some(trusted.to_owned()),
        hold: Duration::from_secs(600),
        ..LoadSettings::new(format!("wss://localhost:{}", at.port()).parse().unwrap())
    };
    let mut clients = Clients::start(settings);
    clients.until("all clients", |now| now.open == IDLE as u64).await;
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_close_nobody_and_media_flows_the_whole_time() {
    let mut nodes = BTreeMap::new();
    for name in ["a", "b", "c"] {
        let real = SimulatorSettings::default().with(&json!({"media": "real"})).unwrap();
        nodes.insert(name, Simulator::start(real).await.unwrap());
    }
    let folder = std::env::temp_dir().join(format!("holdfast-reload-pairs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let pairs = Pairs::make();
    pairs.show(0, &folder);
    let trusted = folder.join("trusted.pem");
    fs::write(&trusted, pairs.texts.each_ref().map(|pair| &*pair[0]).concat()).unwrap();
    let settings = Settings {
        ws: free_address(),
        wss: free_address(),
        extra: free_address(),
        pairs: folder.clone(),
        nodes: nodes.iter().map(|(name, node)| (*name, node.address())).collect(),
    };
    let flags = ["--media=anchor", "--media-listen=127.0.0.1:0"];
    let program = Program::with("under-media", &flags, &settings.text(&["a", "b"], false, ""));
    program.listening().await;
    let mut streams = media_clients(settings.ws).await;
    let idle = idle_clients(settings.wss, &trusted).await;

    let (mut refused, mut drained) = (0, 0);
    for number in 0..RELOADS {
        let (text, expected) = settings.nth(number);
        if number % 10 == 6 {
            pairs.show(number / 10 + 1, &folder);
        }
        program.write(&text);
        let (code, out, err) = program.command(&["reload", "--json"], TOKEN).await;
        assert_eq!(code, if expected == "refused" { 78 } else { 0 }, "reload {number}: {err}{out}");
        refused += usize::from(expected == "refused");
        if number % 10 == 8 {
            // Its sessions have to be elsewhere before it may come back.
            let names = async || program.get("/v1/nodes").await["nodes"].as_array().unwrap().len();
            in_time("the node is left", async { while names().await > 1 {} }).await;
            drained += 1;
        }
        pictures_move(&mut streams).await;
    }
    let after = program.get("/v1/reload").await;
    assert_eq!((refused, drained), (RELOADS / 10, RELOADS / 10));
    assert_eq!(program.metric("holdfast_reloads_total{result=\"refused\"}").await, refused as f64, "{after}");
    assert_eq!(program.metric("holdfast_sessions_in_outage").await, 0.0);

    let (streams, idle) = (streams.end().await, idle.end().await);
    for (summary, sessions) in [(&streams, STREAMS), (&idle, IDLE)] {
        let kept = (summary.survived, summary.lost, summary.established_again, summary.reported);
        assert_eq!(kept, (sessions as u64, 0, 0, 0), "{summary:?}");
    }
    let media = streams.media.as_ref().unwrap();
    assert_eq!((media.players, media.players_moving), (2, 2), "{media:?}");
    assert!(media.frames_received > 200, "{media:?}");
    assert!(media.frames_missing * 1_000 <= media.frames_received * MISSING_PERMILLE_MAX, "{media:?}");
    for node in nodes.values() {
        assert!(node.violations().is_empty(), "{:?}", node.violations());
    }
    fs::remove_dir_all(&folder).unwrap();
}
