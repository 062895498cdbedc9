//! What two upstreams ask of a publisher that moves from the one to the other: each is sent again what it
//! misses, key frame requests of both are one, and the estimate that counts is that of the leg that leads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use std::time::Instant;

use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool},
    media::{Fact, MediaHandle},
    simulator::media::{AnswerOptions, Media, MediaSettings as ServerSettings, NetworkConditions},
};

use media_support::{Anchored, anchor, counter, odd_server, pool, settings, wait_until};

fn any() -> AnswerOptions {
    AnswerOptions::default()
}

const LOSS: NetworkConditions = NetworkConditions { loss_percent: 3.0, jitter_ms: 0, silent: false };

#[tokio::test]
async fn each_server_of_a_publisher_that_moves_is_sent_again_what_it_misses() {
    let (handle, pool) = (anchor(), pool());
    let server = |seed| Media::start(ServerSettings { network: LOSS, seed, ..ServerSettings::default() });
    let (old, new) = (server(5).unwrap(), server(6).unwrap());
    let answer = AnswerOptions { without_repair: true, ..any() };
    let mut publisher =
        Anchored::start(&handle, &pool, &old, "n", ClientOptions::publish(), answer.clone()).await;
    assert!(publisher.proof().await);
    let ids = [publisher.id(), {
        publisher.attach_beside();
        publisher.id()
    }];
    publisher.attach_to(&new, answer).await;
    assert!(publisher.proof().await);
    let track = |server: &Media, id: &str| server.counters().streams[id].video.clone();
    let before = [track(&old, &ids[0]), track(&new, &ids[1])];
    wait_until("packets at both, and questions of both", || {
        let now = [track(&old, &ids[0]), track(&new, &ids[1])];
        now.iter().zip(&before).all(|(now, before)| now.packets > before.packets + 500 && now.nacks > 0)
    })
    .await;
    let now = [track(&old, &ids[0]), track(&new, &ids[1])];
    assert_ne!(now[0].ssrc, now[1].ssrc, "each has its own source");
    // What 3 % of a few hundred packets leave when they are sent again: next to nothing is missing.
    let sent = publisher.client.stats().video.packets_sent;
    assert!(now[0].packets * 100 > sent * 98, "{} of {sent} arrived", now[0].packets);
}

/// What a REMB carries has a mantissa of 18 bits.
fn is_about(estimate: Option<u64>, bits: u64) -> bool {
    estimate.is_some_and(|e| e.abs_diff(bits) < bits / 1000 + 1)
}

/// A publisher that moves and gives the new server no key frame for a while: both have what it sends.
async fn at_both(handle: &MediaHandle, pool: &ClientPool, old: &Media, new: &Media) -> Anchored {
    let options = ClientOptions { answers_key_frame_requests: false, ..ClientOptions::publish() };
    let options = ClientOptions { key_frame_interval: 300, ..options };
    let mut publisher = Anchored::start(handle, pool, old, "n", options, any()).await;
    assert!(publisher.proof().await);
    publisher.attach_beside();
    publisher.attach_to(new, any()).await;
    let epoch = publisher.epoch;
    let stands = |f| matches!(f, Fact::UpstreamConnected { epoch: e } if e == epoch).then_some(());
    publisher.expect(stands).await;
    publisher
}

#[tokio::test]
async fn a_publisher_hears_the_estimate_of_the_leg_that_leads() {
    let (handle, pool) = (anchor(), pool());
    let (old, new) = (odd_server(0), odd_server(1));
    let mut publisher = at_both(&handle, &pool, &old, &new).await;
    old.request_bitrate("n", 300_000);
    publisher.until("the old server's estimate", |s| is_about(s.estimate_bps, 300_000)).await;
    assert!(publisher.proof().await);
    new.request_bitrate("n", 450_000);
    publisher.until("the new server's estimate", |s| is_about(s.estimate_bps, 450_000)).await;
    let addresses = counter(&handle, "upstream_addresses");
    publisher.come_back();
    wait_until("the end of the new leg", || counter(&handle, "upstream_addresses") < addresses).await;
    old.request_bitrate("n", 200_000);
    publisher.until("the old server's again", |s| is_about(s.estimate_bps, 200_000)).await;
}

#[tokio::test]
async fn two_servers_that_want_a_key_frame_ask_a_publisher_no_more_often_than_one() {
    let (handle, pool) = (anchor(), pool());
    let (old, new) = (odd_server(0), odd_server(1));
    let publisher = at_both(&handle, &pool, &old, &new).await;
    let retry = settings().key_frame_retry;
    let (start, before) = (Instant::now(), publisher.client.stats().key_frame_requests);
    // The new leg waits for one, and the old server asks all the time.
    wait_until("some requests", || {
        old.request_key_frame("n");
        publisher.client.stats().key_frame_requests >= before + 6
    })
    .await;
    let requests = publisher.client.stats().key_frame_requests - before;
    let paces = start.elapsed().as_secs_f64() / retry.as_secs_f64();
    assert!((requests as f64) < paces + 2.0, "{requests} in {paces} times the pause between two");
}
