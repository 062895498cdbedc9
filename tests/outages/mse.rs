//! MSE players: their media passes through a WebSocket of its own, which is spliced at a message
//! boundary (protocol S2.9). Playback goes on without a callback.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    common::{
        checks::{assert_intents_once, assert_no_violation},
        direct,
        outage::{OUTAGES, Outage},
        page::{MSE_OFFER, Page, stream},
        server::Server,
    },
    side_by_side,
};

/// What a fake MSE record tells: its number.
fn number(record: &[u8]) -> u32 {
    // 1 byte type, 4 timestamp, 4 length, then 5 of the tag, 8 of the process, 4 of the number.
    assert_eq!((record.len(), record[0]), (9 + 17, 9), "a whole record: {record:?}");
    u32::from_be_bytes(record[22..26].try_into().unwrap())
}

fn token(user_data: &Value) -> &str {
    user_data["authToken"].as_str().unwrap()
}

/// A page that plays by MSE, with its media socket.
struct Player {
    page: Page,
    socket: Page,
}

impl Player {
    async fn start(address: std::net::SocketAddr, provider: &str) -> Self {
        let page = Page::establish(address).await;
        page.send("playStream", stream("m1", "cam", false, provider, MSE_OFFER));
        page.wait_status("m1", "PLAYING").await;
        let socket = Page::open(address, "/").await;
        socket.send("connectMediaTransport", json!({"authToken": token(&page.user_data)}));
        socket.wait("the first records", |told| (told.binary.len() > 10).then_some(())).await;
        Self { page, socket }
    }

    /// Numbers of the records received, cut where they begin anew.
    fn runs(&self) -> Vec<Vec<u32>> {
        let numbers: Vec<u32> =
            self.socket.look(|told| told.binary.iter().map(|record| number(record)).collect());
        let mut runs: Vec<Vec<u32>> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some(run) if number != 0 => run.push(number),
                _ => runs.push(vec![number]),
            }
        }
        runs
    }
}

async fn playback_goes_on(outage: Outage) {
    let mut server = Server::fake(json!({"pings": {"interval_ms": 200, "missed_max": 7}})).await;
    let proxy = direct(server.address).await;
    let what = format!("{outage:?}");
    let publisher = Page::establish(proxy.address()).await;
    publisher.publishing("p1", "cam").await;
    let player = Player::start(proxy.address(), "MSE").await;
    outage.strike(&mut server).await;
    publisher.wait_status("p1", "FAILED").await;
    publisher.publishing("p2", "cam").await;
    crate::common::wait_until(&format!("{what}: records after the splice"), || {
        player.runs().len() >= 2 && player.runs().last().is_some_and(|run| run.len() > 10)
    })
    .await;
    assert!(player.page.is_open() && player.socket.is_open(), "{what}: {}", player.page.summary());
    assert_eq!(player.page.statuses("m1"), ["PLAYING"], "{what}: {}", player.page.summary());
    assert_eq!(player.page.remote_sdps("m1"), 1, "{what}: a second one would open a second socket");
    assert_eq!(player.page.session_callbacks(), 2, "{what}");
    for run in player.runs() {
        let in_order: Vec<u32> = (0..u32::try_from(run.len()).unwrap()).collect();
        assert_eq!(run, in_order, "{what}: every record of each server, whole and in order");
    }
    assert_intents_once(&server.journal().await, &what);
    assert_no_violation(&server, &what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_each_outage_the_frames_go_on_without_a_callback() {
    let outages = OUTAGES.iter().filter(|outage| !matches!(outage, Outage::Close(1012)));
    side_by_side(outages.map(|outage| playback_goes_on(*outage))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_socket_alone_that_breaks_is_spliced_too() {
    let server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let publisher = Page::establish(proxy.address()).await;
    publisher.publishing("p1", "cam").await;
    let player = Player::start(proxy.address(), "MSE").await;
    server.fault(json!({"fault": "drop", "whom": {"media": true}})).await;
    crate::common::wait_until("records after the splice", || {
        player.runs().len() == 2 && player.runs()[1].len() > 10
    })
    .await;
    assert_eq!(player.page.statuses("m1"), ["PLAYING"], "{}", player.page.summary());
    assert_eq!(publisher.statuses("p1"), ["PUBLISHING"], "the others are not touched");
    assert_no_violation(&server, "media socket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_straight_at_the_server_playback_ends() {
    let mut server = Server::fake(json!({})).await;
    let publisher = Page::establish(server.address).await;
    publisher.publishing("p1", "cam").await;
    let player = Player::start(server.address, "MSE").await;
    Outage::Kill(Duration::from_millis(300)).strike(&mut server).await;
    player.socket.wait("the end of the media socket", |told| told.ended.clone()).await;
    player.page.wait("the end of the session", |told| told.ended.clone()).await;
    assert_eq!(player.runs().len(), 1);
}
