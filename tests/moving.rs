//! A session moves to another node while its old connection still stands, end to end: the client hears nothing,
//! and what comes to nothing leaves all as it was (rule R15).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{sync::Arc, time::Duration};

use holdfast::{
    config::SessionSettings,
    net::Proxy,
    session::{MoveOutcome, NodeId, SessionId},
};
use net_support::*;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const THERE: NodeId = NodeId(1);

/// Two nodes, and a client that is established at the first of them.
struct Bed {
    proxy: Arc<Proxy>,
    here: Upstream,
    there: Upstream,
    client: ClientSocket,
    old: UpstreamSocket,
    session: SessionId,
}

impl Bed {
    async fn new() -> Self {
        Self::with(SessionSettings::default()).await
    }

    async fn with(session: SessionSettings) -> Self {
        let (mut here, there) = (Upstream::start().await, Upstream::start().await);
        let proxy = Proxy::start(settings(&[here.address, there.address]), session).await.unwrap();
        let (client, old) = established(&proxy, &mut here, "t0").await;
        let belongings = proxy.survey(10).await;
        assert_eq!((belongings.len(), belongings[0].node, belongings[0].bound_by), (1, NodeId(0), None));
        Self { proxy: Arc::new(proxy), here, there, client, old, session: belongings[0].session }
    }

    /// Orders the session to the other node.
    fn order(&self) -> JoinHandle<MoveOutcome> {
        let (proxy, session) = (Arc::clone(&self.proxy), self.session);
        tokio::spawn(async move { proxy.move_session(session, THERE).await.expect("an outcome") })
    }

    /// The same, as far as that the connection which is made there has said who it is.
    async fn under_way(&mut self) -> (JoinHandle<MoveOutcome>, UpstreamSocket) {
        let order = self.order();
        let (mut new, _) = self.there.accept().await;
        assert_eq!(next_text(&mut new).await, CONNECTION);
        (order, new)
    }

    /// What the admin side tells of the session's past.
    async fn timeline(&self) -> Vec<Value> {
        let ledger = self.proxy.ledger(self.session).await.expect("it lives");
        ledger.timeline.iter().map(|chapter| json!(chapter)).collect()
    }

    async fn node(&self) -> NodeId {
        self.proxy.survey(10).await[0].node
    }
}

fn odd(mark: &str) -> String {
    json!({"message": "somethingOdd", "data": [mark]}).to_string()
}

/// What the one says, the other hears next.
async fn both_ways(client: &mut ClientSocket, node: &mut UpstreamSocket, mark: &str) {
    send(client, &odd(mark)).await;
    assert_eq!(next_text(node).await, odd(mark));
    send(node, &odd(mark)).await;
    assert_eq!(next_text(client).await, odd(mark), "the client heard nothing else");
}

async fn outcome(order: JoinHandle<MoveOutcome>) -> MoveOutcome {
    in_time("the outcome of a move", order).await.unwrap()
}

#[tokio::test]
async fn a_session_moves_and_its_client_hears_nothing() {
    let mut bed = Bed::new().await;
    let order = bed.order();
    let (mut new, _) = bed.there.accept().await;
    assert_eq!(next_text(&mut new).await, CONNECTION);
    // From here on the client's words wait for the outcome, and the old node is answered.
    let said: Vec<String> = (0..40).map(|n| odd(&n.to_string())).collect();
    for text in &said {
        send(&mut bed.client, text).await;
    }
    send(&mut bed.old, r#"{"message":"ping","data":[null]}"#).await;
    assert!(next_text(&mut bed.old).await.contains("\"pong\""));
    send(&mut new, &user_data("t1")).await;
    assert_eq!(outcome(order).await, MoveOutcome::Done);
    assert_eq!(bed.node().await, THERE);
    close_of(&mut bed.old).await;
    for text in &said {
        assert_eq!(next_text(&mut new).await, *text, "in order, and none is lost");
    }
    both_ways(&mut bed.client, &mut new, "there").await;
    assert_eq!(bed.proxy.facts().outages, 0);
    let told = bed.timeline().await;
    let [moved] = &told[..] else { panic!("one move: {told:?}") };
    assert_eq!((&moved["what"], &moved["outcome"]), (&"move".into(), &"moved".into()));
    let at = [&bed.here, &bed.there].map(|upstream| json!(upstream.address.to_string()));
    assert_eq!((&moved["from"], &moved["to"]), (&at[0], &at[1]), "{moved}");
}

#[tokio::test]
async fn a_node_that_refuses_the_session_gets_nothing_of_it() {
    let mut bed = Bed::new().await;
    let (order, mut new) = bed.under_way().await;
    send(&mut bed.client, &odd("meanwhile")).await;
    let refusal = r#"{"message":"fail","data":[{"status":"FAILED","info":"Forbidden"}]}"#;
    send(&mut new, refusal).await;
    assert_eq!(outcome(order).await, MoveOutcome::Returned("Forbidden".to_owned()));
    let told = bed.timeline().await;
    assert_eq!((&told[0]["outcome"], &told[0]["cause"]), (&"returned".into(), &"Forbidden".into()));
    close_of(&mut new).await;
    assert_eq!(next_text(&mut bed.old).await, odd("meanwhile"));
    both_ways(&mut bed.client, &mut bed.old, "here").await;
    assert_eq!(bed.node().await, NodeId(0));
}

#[tokio::test]
async fn a_node_that_dies_or_says_nothing_leaves_the_session_where_it_was() {
    let mut session = SessionSettings::default();
    session.restore.move_timeout = Duration::from_millis(500);
    let mut bed = Bed::with(session).await;
    let (order, new) = bed.under_way().await;
    drop(new);
    assert_eq!(outcome(order).await, MoveOutcome::Returned("a connection was lost meanwhile".to_owned()));
    both_ways(&mut bed.client, &mut bed.old, "once").await;
    let (order, mut silent) = bed.under_way().await;
    assert_eq!(outcome(order).await, MoveOutcome::Returned("restore.move_timeout_ms is over".to_owned()));
    close_of(&mut silent).await;
    both_ways(&mut bed.client, &mut bed.old, "twice").await;
}

#[tokio::test]
async fn a_node_that_is_not_there_touches_nothing() {
    let Bed { proxy, here: _here, there, mut client, mut old, session } = Bed::new().await;
    there.stop().await;
    let order = tokio::spawn(async move { proxy.move_session(session, THERE).await.expect("an outcome") });
    let MoveOutcome::Returned(reason) = outcome(order).await else { panic!("it moved") };
    assert!(reason.contains("the dial failed"), "{reason}");
    both_ways(&mut client, &mut old, "here").await;
}

#[tokio::test]
async fn the_old_node_may_die_while_the_new_one_is_not_proven() {
    let mut bed = Bed::new().await;
    let (order, mut new) = bed.under_way().await;
    send(&mut bed.client, &odd("meanwhile")).await;
    drop(bed.old);
    let MoveOutcome::Returned(reason) = outcome(order).await else { panic!("it moved") };
    assert!(reason.contains("the connection that was left ended"), "{reason}");
    // The way back of an ordinary outage, on the connection that there is.
    send(&mut new, &user_data("t1")).await;
    assert_eq!(next_text(&mut new).await, odd("meanwhile"));
    both_ways(&mut bed.client, &mut new, "there").await;
}

#[tokio::test]
async fn what_binds_a_session_is_named() {
    let mut bed = Bed::new().await;
    let publish =
        json!({"message": "publishStream", "data": [{"mediaSessionId": "a", "name": "cam", "sdp": "o"}]});
    send(&mut bed.client, &publish.to_string()).await;
    next_text(&mut bed.old).await;
    let belongings = bed.proxy.survey(10).await.remove(0);
    assert_eq!((belongings.bound_by, &*belongings.publishes), (Some("direct media"), &["cam".into()][..]));
    assert_eq!(outcome(bed.order()).await, MoveOutcome::Refused("direct media"));
    both_ways(&mut bed.client, &mut bed.old, "here").await;
}

#[tokio::test]
async fn a_client_that_leaves_meanwhile_leaves_both_nodes() {
    let mut bed = Bed::new().await;
    let (order, mut new) = bed.under_way().await;
    bed.client.close(None).await.unwrap();
    assert_eq!(outcome(order).await, MoveOutcome::Returned("the session ended".to_owned()));
    close_of(&mut new).await;
    close_of(&mut bed.old).await;
    wait_until("nothing is left of it", || bed.proxy.facts().places_taken == 0).await;
}

#[tokio::test]
async fn a_forced_session_comes_back_on_the_node_it_was_sent_to() {
    let mut bed = Bed::new().await;
    bed.proxy.force_move(bed.session, THERE);
    close_of(&mut bed.old).await;
    let (mut new, _) = bed.there.accept().await;
    assert_eq!(next_text(&mut new).await, CONNECTION);
    send(&mut new, &user_data("t1")).await;
    both_ways(&mut bed.client, &mut new, "there").await;
    assert_eq!(bed.node().await, THERE);
}

#[tokio::test]
async fn a_session_goes_where_the_stream_is_that_its_client_asks_for() {
    let mut bed = Bed::new().await;
    let (order, mut publisher) = bed.under_way().await;
    send(&mut publisher, &user_data("t1")).await;
    assert_eq!(outcome(order).await, MoveOutcome::Done);
    let publish =
        json!({"message": "publishStream", "data": [{"mediaSessionId": "p", "name": "cam", "sdp": "o"}]});
    send(&mut bed.client, &publish.to_string()).await;
    next_text(&mut publisher).await;
    let fields = json!({"mediaSessionId": "p", "name": "cam", "published": true, "status": "PUBLISHING"});
    let runs = json!({"message": "notifyStreamStatusEvent", "data": [fields]}).to_string();
    send(&mut publisher, &runs).await;
    assert_eq!(next_text(&mut bed.client).await, runs);
    let (mut player, mut old) = established(&bed.proxy, &mut bed.here, "t2").await;
    let fields = json!({"mediaSessionId": "v", "name": "cam", "mediaProvider": "MSE", "sdp": "o"});
    let play = json!({"message": "playStream", "data": [fields]}).to_string();
    send(&mut player, &play).await;
    let (mut new, _) = bed.there.accept().await;
    assert_eq!(next_text(&mut new).await, CONNECTION);
    send(&mut new, &user_data("t3")).await;
    assert_eq!(next_text(&mut new).await, play);
    close_of(&mut old).await;
    both_ways(&mut player, &mut new, "there").await;
}
