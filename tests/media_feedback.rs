//! Feedback across the anchor: bandwidth estimates reach whoever sends, and lost packets are sent
//! again on each leg, with RTX and without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats, PoolSettings},
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings, NetworkConditions},
};

use media_support::{Anchored, anchor, assert_continuous, flowing, pair, pool, server, wait_until};

/// What a REMB carries has a mantissa of 18 bits.
fn is_about(estimate: Option<u64>, bits: u64) -> bool {
    estimate.is_some_and(|e| e.abs_diff(bits) < bits / 1000 + 1)
}

#[tokio::test]
async fn the_servers_estimate_reaches_the_publisher_also_after_a_restart() {
    let (handle, pool, mut server) = (anchor(), pool(), server());
    let (mut publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    for bits in [300_000, 150_000] {
        server.request_bitrate("n", bits);
        publisher.until("the estimate", |s| is_about(s.estimate_bps, bits)).await;
    }
    drop(server);
    server = Media::start(ServerSettings::default()).unwrap();
    publisher.restore(&server, AnswerOptions::default()).await;
    assert!(publisher.proof().await);
    server.request_bitrate("n", 450_000);
    publisher.until("the new server's estimate", |s| is_about(s.estimate_bps, 450_000)).await;
}

#[tokio::test]
async fn the_players_estimate_reaches_the_server() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) = pair(&handle, &pool, &server, "n", &AnswerOptions::default()).await;
    player.until("media", flowing).await;
    for bits in [800_000, 200_000] {
        player.client.request_bitrate(bits);
        let id = player.id();
        wait_until("the estimate at the server", || {
            is_about(server.counters().streams[&id].video.estimate_bps, bits)
        })
        .await;
    }
}

/// Enough of it that a hole in one packet of a hundred shows.
async fn plenty(player: &Anchored) -> ClientStats {
    player.until("a good deal of media", |s| s.video.packets_received > 500).await
}

/// Each packet is lost with 3 %, and what is missing at the end is what nobody sent again in time.
fn assert_repaired(stats: &ClientStats, what: &str) {
    let missing = stats.video.missing as f64 / stats.video.packets_received as f64;
    assert!(stats.video.late > 3, "{what}: packets came again: {stats:#?}");
    assert!(missing < 0.012, "{what}: {stats:#?}");
    assert_continuous(stats, what);
}

const LOSS: NetworkConditions = NetworkConditions { loss_percent: 3.0, jitter_ms: 0, silent: false };

#[tokio::test]
async fn a_client_without_rtx_loses_nothing_on_its_leg() {
    let plain = |options: ClientOptions| ClientOptions { repair: false, ..options };
    let lossy =
        || ClientPool::start(PoolSettings { network: LOSS, seed: 3, ..PoolSettings::default() }).unwrap();
    let (handle, server) = (anchor(), server());
    for (name, up, down) in [("up", lossy(), pool()), ("down", pool(), lossy())] {
        let options = plain(ClientOptions::publish());
        let mut publisher =
            Anchored::start(&handle, &up, &server, name, options, AnswerOptions::default()).await;
        assert!(publisher.proof().await);
        let options = plain(ClientOptions::play());
        let mut player =
            Anchored::start(&handle, &down, &server, name, options, AnswerOptions::default()).await;
        assert!(player.proof().await);
        assert!(!publisher.client.offer().contains("rtx") && !player.client.offer().contains("rtx"));
        assert_repaired(&plenty(&player).await, name);
    }
}

#[tokio::test]
async fn a_server_without_rtx_loses_nothing_on_either_leg() {
    let server =
        Media::start(ServerSettings { network: LOSS, seed: 5, ..ServerSettings::default() }).unwrap();
    let (handle, pool) = (anchor(), pool());
    let answer = AnswerOptions { without_repair: true, ..AnswerOptions::default() };
    let (publisher, player) = pair(&handle, &pool, &server, "n", &answer).await;
    let id = publisher.id();
    let stats = plenty(&player).await;
    let asked = server.counters().streams[&id].video.nacks;
    assert!(asked > 0, "the server asked for packets again");
    // Two lossy ways, each repaired.
    let missing = stats.video.missing as f64 / stats.video.packets_received as f64;
    assert!(missing < 0.02, "{stats:#?}");
    assert_continuous(&stats, "no RTX at the server");
}
