//! A fault inside the anchor ends the stream it is in, and a worker that ends is there again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use holdfast::{
    media::{Fact, Fault, MediaHandle, MediaHealth},
    simulator::media::AnswerOptions,
};

use media_support::{Anchored, anchor, flowing, pair, pool, server, wait_until};

fn counter(handle: &MediaHandle, name: &str) -> u64 {
    handle.counters()[name].as_u64().unwrap()
}

async fn broken(stream: &mut Anchored) -> String {
    stream.expect(|fact| if let Fact::Broken { reason } = fact { Some(reason) } else { None }).await
}

#[tokio::test]
async fn a_step_that_panics_ends_its_stream_and_no_other() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    let (_other, mut victim) = pair(&handle, &pool, &server, "m", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    wait_until("all addresses of the server", || counter(&handle, "upstream_addresses") >= 4).await;
    let addresses = counter(&handle, "upstream_addresses");
    handle.break_on_purpose(victim.key, Fault::Step);
    assert!(broken(&mut victim).await.contains("a panic at"));
    assert!(victim.facts.recv().await.is_none(), "no facts follow");
    wait_until("the end of what it held", || {
        counter(&handle, "streams") == 3 && counter(&handle, "upstream_addresses") < addresses
    })
    .await;
    assert_eq!((handle.streams(), counter(&handle, "streams_broken")), (3, 1));
    assert_eq!(handle.health(), MediaHealth { workers: 1, workers_alive: 1, worker_restarts: 0 });
    let before = player.client.stats().video.packets_received;
    let stats = player.until("the others go on", |s| s.video.packets_received > before + 60).await;
    assert_eq!(stats.video.missing, 0, "{stats:?}");
}

#[tokio::test]
async fn a_worker_that_ends_is_there_again_on_its_ports() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (mut publisher, mut player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    let address = handle.addresses()[0];
    for round in 1..=2 {
        handle.break_on_purpose(player.key, Fault::Worker);
        for stream in [&mut publisher, &mut player] {
            assert!(broken(stream).await.contains("worker ended"));
        }
        wait_until("the next worker", || {
            handle.health() == MediaHealth { workers: 1, workers_alive: 1, worker_restarts: round }
        })
        .await;
        assert_eq!((handle.streams(), handle.addresses()[0]), (0, address));
        TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))).unwrap();
        let name = format!("n{round}");
        (publisher, player) = pair(&handle, &pool, &server, &name, &AnswerOptions::default()).await;
        player.until("media of new streams", flowing).await;
    }
    assert_eq!(counter(&handle, "streams_broken"), 4, "what was counted is not forgotten");
    assert_eq!(counter(&handle, "streams_opened"), 6);
    assert_eq!(counter(&handle, "workers_alive"), 1);
}
