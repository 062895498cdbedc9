//! Nodes by name: what is shown of them, where clients go when an operator drains one or takes it out, and
//! that the log and the counts tell each change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{path::Path, time::Duration};

use holdfast::{
    config::{Config, HashBy, NetSettings, NodeSettings, Overrides, Policy},
    net::{NodeStatus, Proxy, Wish, WishRefused},
    telemetry::LogCapture,
};
use net_support::*;

/// Nodes `a`, `b`, ... at these upstreams.
fn named(upstreams: &[&Upstream]) -> NetSettings {
    let names = ["a", "b", "c"];
    let mut settings = settings(&[]);
    settings.upstream.url = upstreams
        .iter()
        .zip(names)
        .map(|(upstream, name)| format!("{name}=ws://{}", upstream.address).parse().unwrap())
        .collect();
    settings
}

fn node(proxy: &Proxy, name: &str) -> NodeStatus {
    proxy.nodes().into_iter().find(|node| node.name == name).unwrap()
}

async fn is(proxy: &Proxy, name: &str, state: &str) {
    wait_until(&format!("{name} is {state}"), || node(proxy, name).state == state).await;
}

#[tokio::test]
async fn new_sessions_pass_by_a_node_that_is_drained_and_those_there_stay() {
    let (mut first, mut second) = (Upstream::start().await, Upstream::start().await);
    let proxy = start(named(&[&first, &second])).await;
    let (mut client, mut server) = established(&proxy, &mut first, "t").await;
    assert_eq!((node(&proxy, "a").sessions, node(&proxy, "b").sessions), (1, 0));
    proxy.wish("a", Wish::Drain, false).unwrap();
    let shown = node(&proxy, "a");
    assert_eq!((&*shown.state, &*shown.wish, &*shown.reason_kind), ("draining", "drain", "operator"));
    let _other = established(&proxy, &mut second, "u").await;
    assert_eq!((node(&proxy, "a").sessions, node(&proxy, "b").sessions), (1, 1));
    send(&mut server, r#"{"message":"x","data":[1]}"#).await;
    assert!(next_text(&mut client).await.contains("\"x\""), "nothing happens to who is there");
    proxy.wish("a", Wish::InUse, false).unwrap();
    let _third = established(&proxy, &mut first, "v").await;
    drop((client, server));
    wait_until("the seat is free", || node(&proxy, "a").sessions == 1).await;
}

#[tokio::test]
async fn the_last_node_is_taken_out_only_by_force() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let proxy = start(named(&[&first, &second])).await;
    assert_eq!(proxy.wish("x", Wish::Drain, true), Err(WishRefused::NoSuchNode));
    proxy.wish("a", Wish::Maintenance, false).unwrap();
    assert_eq!(proxy.wish("b", Wish::Drain, false), Err(WishRefused::LastUsable));
    assert_eq!(node(&proxy, "b").state, "up");
    // What is out of use already may be put to another one.
    proxy.wish("a", Wish::Drain, false).unwrap();
    proxy.wish("b", Wish::Drain, true).unwrap();
    assert_eq!(node(&proxy, "b").state, "draining");
}

#[tokio::test]
async fn a_node_that_is_drained_serves_where_there_is_no_other() {
    let mut only = Upstream::start().await;
    let proxy = start(named(&[&only])).await;
    proxy.wish("a", Wish::Drain, true).unwrap();
    let _pair = established(&proxy, &mut only, "t").await;
}

#[tokio::test]
async fn who_comes_while_all_are_in_maintenance_is_held_until_one_is_in_use() {
    let mut only = Upstream::start().await;
    let proxy = start(named(&[&only])).await;
    let (_client, server) = established(&proxy, &mut only, "t").await;
    proxy.wish("a", Wish::Maintenance, true).unwrap();
    let dials = only.dials.load(std::sync::atomic::Ordering::SeqCst);
    drop(server);
    let address = proxy.address();
    let held = tokio::spawn(async move { try_connect(address, "/", &[]).await });
    wait_until("a client is held", || proxy.facts().held == 1).await;
    wait_until("the session has lost its node", || proxy.facts().outages == 1).await;
    let_pass(Duration::from_millis(600)).await;
    assert_eq!(only.dials.load(std::sync::atomic::Ordering::SeqCst), dials, "nothing goes there");
    proxy.wish("a", Wish::InUse, false).unwrap();
    is(&proxy, "a", "up").await;
    let one = only.accept().await;
    let other = only.accept().await;
    held.await.unwrap().unwrap();
    drop((one, other));
}

#[tokio::test]
async fn each_change_is_a_line_and_is_counted() {
    let capture = LogCapture::new();
    // The other tests of this process are heard as well, so these nodes have names of their own.
    capture.everywhere().unwrap();
    let (first, mut second) = (Upstream::start().await, Upstream::start().await);
    let mut settings = named(&[&first, &second]);
    settings.upstream.url[0].name = Some("told".parse().unwrap());
    let proxy = start(settings).await;
    let address = first.stop().await;
    let _pair = established(&proxy, &mut second, "t").await;
    is(&proxy, "told", "down").await;
    assert!(node(&proxy, "told").reason.contains("refused"), "{}", node(&proxy, "told").reason);
    let _first = Upstream::with(address, std::sync::Arc::new(|_, response| Ok(response))).await;
    is(&proxy, "told", "up").await;
    proxy.wish("told", Wish::Drain, false).unwrap();
    proxy.wish("told", Wish::Maintenance, false).unwrap();
    for (event, from) in
        [("node_down", "up"), ("node_up", "down"), ("node_draining", "up"), ("node_maintenance", "draining")]
    {
        let mut lines = capture.lines_with(&format!("\"event\":\"{event}\""));
        lines.retain(|line| line.contains("\"node\":\"told\""));
        assert_eq!(lines.len(), 1, "{event}: {lines:#?}");
        assert!(lines[0].contains(&format!("\"from\":\"{from}\"")), "{lines:?}");
    }
    let shown = node(&proxy, "told");
    let counted: Vec<_> =
        shown.transitions.iter().map(|step| (&*step.from, &*step.to, &*step.reason, step.count)).collect();
    let expected = [
        ("up", "down", "unreachable", 1),
        ("up", "draining", "operator", 1),
        ("down", "up", "answered", 1),
        ("draining", "maintenance", "operator", 1),
    ];
    assert_eq!(counted, expected);
    let (a, b) = (shown.dials, node(&proxy, "b").dials);
    assert_eq!((a.accepted, a.unreachable, b.accepted, b.unreachable), (0, 1, 1, 0));
    assert_eq!(b.buckets.iter().sum::<u64>(), 1);
    assert!(b.p99_ms.is_some_and(|ms| ms > 0.0) && b.sum_us > 0, "{b:?}");
}

/// How many sessions each node has.
fn spread(proxy: &Proxy) -> Vec<usize> {
    proxy.nodes().iter().map(|node| node.sessions).collect()
}

#[tokio::test]
async fn sessions_are_spread_by_their_number_and_the_weights() {
    let nodes = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let mut settings = named(&[&nodes[0], &nodes[1], &nodes[2]]);
    settings.upstream.policy = Policy::LeastSessions;
    let mut heavy = NodeSettings::of(&settings.upstream.url.pop().unwrap());
    heavy.weight = 2;
    settings.upstream.node.push(heavy);
    let proxy = start(settings).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(connect(proxy.address()).await);
    }
    assert_eq!(spread(&proxy), [3, 3, 6]);
    clients.truncate(0);
    wait_until("all seats are free", || spread(&proxy) == [0, 0, 0]).await;
}

#[tokio::test]
async fn a_client_has_its_node_by_hash_and_another_only_while_that_is_gone() {
    let nodes = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let mut settings = named(&[&nodes[0], &nodes[1], &nodes[2]]);
    (settings.upstream.policy, settings.upstream.hash_by) = (Policy::Hash, HashBy::Target);
    let proxy = start(settings).await;
    let home = async |target: &str| {
        let before = proxy.nodes();
        let client = try_connect(proxy.address(), target, &[]).await.unwrap();
        let after = proxy.nodes();
        let grown =
            before.iter().zip(&after).find(|(before, after)| before.dials.accepted < after.dials.accepted);
        drop(client);
        grown.unwrap().1.name.clone()
    };
    let mut homes = std::collections::BTreeMap::new();
    for room in 0..24 {
        let target = format!("/?room={room}");
        let first = home(&target).await;
        assert_eq!(home(&target).await, first, "{target}");
        homes.insert(target, first);
    }
    for name in ["a", "b", "c"] {
        assert!(homes.values().any(|home| home == name), "{homes:?}");
    }
    proxy.wish("b", Wish::Drain, false).unwrap();
    for (target, before) in &homes {
        let now = home(target).await;
        assert!(now != "b" && (now == *before || before == "b"), "{target}: {before}, then {now}");
    }
}

#[tokio::test]
async fn sessions_that_lose_their_node_go_to_one_and_the_same() {
    let (first, second, third) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let mut settings = named(&[&first, &second, &third]);
    settings.upstream.policy = Policy::LeastSessions;
    let proxy = start(settings).await;
    proxy.wish("b", Wish::Drain, false).unwrap();
    proxy.wish("c", Wish::Drain, false).unwrap();
    let mut first = first;
    let mut pairs = Vec::new();
    for token in 0..6 {
        pairs.push(established(&proxy, &mut first, &format!("t{token}")).await);
    }
    proxy.wish("b", Wish::InUse, false).unwrap();
    proxy.wish("c", Wish::InUse, false).unwrap();
    let _ = first.stop().await;
    let _clients: Vec<_> = pairs.into_iter().map(|(client, server)| (client, drop(server)).0).collect();
    wait_until("they are elsewhere", || spread(&proxy).iter().skip(1).sum::<usize>() == 6).await;
    let spread = spread(&proxy);
    assert!(spread[1] == 6 || spread[2] == 6, "a publisher and its players stay together: {spread:?}");
}

#[tokio::test]
async fn backups_are_used_where_no_other_node_is_up() {
    let (mut spare, mut first) = (Upstream::start().await, Upstream::start().await);
    let text = format!(
        "[[upstream.node]]\nname = \"spare\"\nurl = \"ws://{}\"\nbackup = true\n\
         [[upstream.node]]\nname = \"first\"\nurl = \"ws://{}\"\n\
         [[pool.edge.node]]\nname = \"edge\"\nurl = \"ws://127.0.0.1:9\"\n",
        spare.address, first.address
    );
    let config = Config::parse(&text, Path::new("some.toml"), &Overrides::default()).unwrap();
    assert!(config.warnings().iter().any(|warning| warning.contains("pool edge")), "{:?}", config.warnings());
    let mut net = config.net;
    net.listen.address = vec!["127.0.0.1:0".parse().unwrap()];
    let proxy = start(net).await;
    let shown: Vec<_> = proxy.nodes().into_iter().map(|node| (node.name, node.pool, node.backup)).collect();
    let expected = [("spare", "default", true), ("first", "default", false), ("edge", "edge", false)];
    assert_eq!(shown, expected.map(|(name, pool, backup)| (name.to_owned(), pool.to_owned(), backup)));
    let _pair = established(&proxy, &mut first, "t").await;
    proxy.wish("first", Wish::Drain, false).unwrap();
    let _pair = established(&proxy, &mut spare, "u").await;
}
