//! Out of file descriptors: accepting pauses, live sessions go on, and when there are some again
//! whoever waited is served. Alone in its process, whose limit it lowers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{fs::File, time::Duration};

use net_support::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn accepting_pauses_and_sessions_go_on() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    let before = getrlimit(Resource::Nofile);
    let highest = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 + 16;
    setrlimit(Resource::Nofile, Rlimit { current: Some(highest), ..before }).unwrap();
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!all.is_empty());
    // The last one goes to the client's socket, none is left to accept it with.
    all.pop();
    let address = proxy.address();
    let late = tokio::spawn(async move { connect(address).await });
    for round in 0..10 {
        let text = format!(r#"{{"message":"unheardOf","data":[{round}]}}"#);
        send(&mut client, &text).await;
        while next_text(&mut server).await != text {}
        send(&mut server, &text).await;
        while next_text(&mut client).await != text {}
        let_pass(Duration::from_millis(30)).await;
    }
    let facts = proxy.facts();
    assert_eq!((facts.sessions, facts.handshakes), (1, 0), "the late client was accepted");
    drop(all);
    let _late = late.await.unwrap();
    upstream.accept().await;
    setrlimit(Resource::Nofile, before).unwrap();
}
