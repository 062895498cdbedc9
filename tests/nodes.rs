//! Nodes by name: what is shown of them, where clients go when an operator drains one or takes it out, and
//! that the log and the counts tell each change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::result_large_err)]

mod net_support;

use std::{path::Path, time::Duration};

use holdfast::{
    config::{Config, NetSettings, Overrides},
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
