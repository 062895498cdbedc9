//! The end in good order: balancers are told at once, new sessions are taken for a while, those that are there
//! end one after the other or stay, and when none is left it is over. Of the process: tests/drain_self.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use holdfast::net::{LeaveCause, LeaveOrder, LeaveStage, Proxy, StayRefused};
use net_support::*;
use tokio::time::Instant;

const OPERATOR: LeaveCause<'static> = LeaveCause::Operator("token");

fn order(grace_ms: u64, stay_ms: u64, over_ms: u64) -> LeaveOrder {
    let [grace, stay, over] = [grace_ms, stay_ms, over_ms].map(Duration::from_millis);
    LeaveOrder { grace, stay, over }
}

async fn ask(proxy: &Proxy, path: &str) -> String {
    raw_exchange(proxy.address(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await
}

async fn reached(proxy: &Proxy, stage: LeaveStage) {
    wait_until(stage.as_str(), || proxy.leaving().stage >= stage).await;
}

/// The code with which a socket was closed, and when.
async fn closed(mut socket: ClientSocket) -> (Option<u16>, Instant) {
    let code = close_of(&mut socket).await.map(|close| close.code.into());
    (code, Instant::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancers_are_told_at_once_and_new_sessions_come_until_the_grace_is_over() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t1").await;
    assert!(ask(&proxy, "/readyz").await.contains(" 200 "));
    proxy.leave(order(3_000, 0, 2_000), OPERATOR);
    let refused = ask(&proxy, "/readyz").await;
    assert!(refused.contains(" 503 ") && refused.contains("draining"), "{refused}");
    assert!(ask(&proxy, "/healthz").await.contains(" 200 "));
    let newcomer = established(&proxy, &mut upstream, "t2").await;
    send(&mut client, r#"{"message":"ping","data":[]}"#).await;
    next(&mut server).await;
    assert_eq!(proxy.leaving().stage, LeaveStage::Grace, "too slow a machine for this test");
    let servers = tokio::spawn(async move {
        let mut second = newcomer.1;
        tokio::join!(close_of(&mut server), close_of(&mut second));
    });
    reached(&proxy, LeaveStage::Staying).await;
    wait_until("the port is closed", || std::net::TcpStream::connect(proxy.address()).is_err()).await;
    let ((first, _), (second, _)) = tokio::join!(closed(client), closed(newcomer.0));
    assert_eq!((first, second), (Some(1012), Some(1012)));
    assert!(in_time("the end", proxy.left()).await);
    servers.await.unwrap();
    let status = proxy.leaving();
    assert_eq!((status.stage, status.sessions_at_first, status.sessions_closed), (LeaveStage::Ended, 1, 2));
    assert_eq!((status.sessions, status.places_taken), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_held_is_held_through_the_grace_and_refused_then() {
    let proxy = start(settings(&[free_address()])).await;
    let address = proxy.address();
    let client = tokio::spawn(async move { try_connect(address, "/", &[]).await.map(drop) });
    wait_until("the client waits", || proxy.facts().held == 1).await;
    proxy.leave(order(400, 60_000, 1_000), OPERATOR);
    let_pass(Duration::from_millis(100)).await;
    assert_eq!(proxy.facts().held, 1, "it may still get a server");
    let error = client.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert!(in_time("the end: nobody is left to stay", proxy.left()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_every_kind_end_one_after_the_other() {
    const OVER_MS: u64 = 4_000;
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for index in 0..18 {
        let (client, server) = established(&proxy, &mut upstream, &format!("t{index}")).await;
        clients.push(client);
        servers.push(server);
    }
    // One that is passed through, and one that is in an outage.
    let mut passed = connect(proxy.address()).await;
    let (mut passed_server, _) = upstream.accept().await;
    send(&mut passed, HELLO).await;
    next(&mut passed_server).await;
    clients.push(passed);
    servers.push(passed_server);
    // The media socket of a player whose session is not here, and of one whose session is the last.
    let mut players = Vec::new();
    for token in ["elsewhere", "t17"] {
        let mut player = connect(proxy.address()).await;
        let (mut media, _) = upstream.accept().await;
        let message = format!(r#"{{"message":"connectMediaTransport","data":[{{"authToken":"{token}"}}]}}"#);
        send(&mut player, &message).await;
        next(&mut media).await;
        players.push(player);
        servers.push(media);
    }
    let begin = Instant::now();
    proxy.leave(order(0, 0, OVER_MS), OPERATOR);
    for mut server in servers {
        tokio::spawn(async move { close_of(&mut server).await });
    }
    let watched: Vec<_> = clients.into_iter().map(|client| tokio::spawn(closed(client))).collect();
    let players: Vec<_> = players.into_iter().map(|player| tokio::spawn(closed(player))).collect();
    let mut ends = Vec::new();
    for one in watched {
        let (code, at) = one.await.unwrap();
        assert_eq!(code, Some(1012));
        ends.push(at.duration_since(begin).as_millis());
    }
    for player in players {
        assert_eq!(player.await.unwrap().0, Some(1012));
    }
    assert!(in_time("the end", proxy.left()).await);
    assert!(begin.elapsed() < Duration::from_millis(OVER_MS + 1_000));
    ends.sort_unstable();
    // Six tenths of the time are for closing, the rest for answers: 19 sessions in 2.4 s.
    assert!(ends[0] < 500, "{ends:?}");
    assert!(ends[18] > 1_800 && ends[18] < 3_000, "{ends:?}");
    let most = ends.windows(6).map(|six| six[5] - six[0]).min().unwrap();
    assert!(most > 250, "six at once: {ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_may_stay_through_an_outage_until_they_end_by_themselves() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, server) = established(&proxy, &mut upstream, "t1").await;
    proxy.leave(order(0, 600_000, 1_000), OPERATOR);
    reached(&proxy, LeaveStage::Staying).await;
    wait_until("the port is closed", || std::net::TcpStream::connect(proxy.address()).is_err()).await;
    // Its server goes and comes back: what was promised to sessions holds as long as they stay.
    drop(server);
    let (mut server, _) = upstream.accept().await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    send(&mut server, &user_data("t2")).await;
    wait_until("the outage is over", || proxy.facts().outages == 0).await;
    send(&mut server, r#"{"message":"ping","data":[]}"#).await;
    let asked = next_text(&mut client).await;
    assert!(asked.contains("ping"), "{asked}");
    let status = proxy.leaving();
    assert_eq!((status.stage, status.sessions, status.sessions_closed), (LeaveStage::Staying, 1, 0));
    assert!(status.stage_ends_in_ms > 500_000, "{status:?}");
    client.close(None).await.unwrap();
    tokio::spawn(async move { close_of(&mut server).await });
    close_of(&mut client).await;
    assert!(in_time("the end", proxy.left()).await, "nobody was left");
    assert_eq!(proxy.leaving().sessions_closed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staying_has_an_end_and_a_signal_hastens_it() {
    for by_signal in [false, true] {
        let (proxy, mut upstream) = proxy_and_upstream().await;
        let (client, mut server) = established(&proxy, &mut upstream, "t").await;
        tokio::spawn(async move { close_of(&mut server).await });
        proxy.leave(order(0, if by_signal { 600_000 } else { 300 }, 2_000), OPERATOR);
        reached(&proxy, LeaveStage::Staying).await;
        if by_signal {
            proxy.leave_for_signal("SIGTERM");
            assert_eq!(proxy.stay(), Err(StayRefused::TooLate));
        }
        assert_eq!(closed(client).await.0, Some(1012), "by a signal: {by_signal}");
        assert!(in_time("the end", proxy.left()).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_called_off_until_the_listeners_are_closed() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    assert_eq!(proxy.stay(), Err(StayRefused::Serves));
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    for _ in 0..3 {
        proxy.leave(order(200, 0, 0), OPERATOR);
        assert!(ask(&proxy, "/readyz").await.contains(" 503 "));
        proxy.stay().unwrap();
        assert_eq!(proxy.leaving().stage, LeaveStage::Serving);
        assert!(ask(&proxy, "/readyz").await.contains(" 200 "));
    }
    let_pass(Duration::from_millis(400)).await;
    send(&mut client, r#"{"message":"ping","data":[]}"#).await;
    next(&mut server).await;
    drop(established(&proxy, &mut upstream, "another").await);
    proxy.leave(order(60_000, 0, 0), LeaveCause::Signal("SIGTERM"));
    assert_eq!(proxy.stay(), Err(StayRefused::Signal));
    // Who ordered it by a signal waits for it: an operator can only hasten it.
    let status = proxy.leave(order(600_000, 600_000, 600_000), OPERATOR);
    assert!(status.stage_ends_in_ms <= 60_000, "{status:?}");
    assert_eq!(status.by, "SIGTERM");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sessions_take_no_longer_than_few() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut watched = Vec::new();
    for index in 0..300 {
        let (client, mut server) = established(&proxy, &mut upstream, &format!("t{index}")).await;
        tokio::spawn(async move { close_of(&mut server).await });
        watched.push(tokio::spawn(closed(client)));
    }
    let begin = Instant::now();
    proxy.leave(order(0, 0, 1_000), OPERATOR);
    assert!(in_time("the end", proxy.left()).await);
    // More than one in each of the steps in which they are told.
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    assert_eq!(proxy.leaving().sessions_closed, 300);
    for one in watched {
        assert_eq!(one.await.unwrap().0, Some(1012));
    }
}
