//! Streams that are relayed here move with their session (rule R15).

use super::{anchor::KEY, *};
use crate::{
    media::Fact,
    session::{Holder, StreamKey},
};

const THERE: NodeId = NodeId(1);
const IN_USE: &str = "Stream name is already in use";

impl Bed {
    /// A publish that runs, in a session that is ordered to the other node and was taken there.
    fn moving_publish(change: impl FnOnce(&mut SessionSettings)) -> Self {
        let mut bed = Self::anchored_with(change);
        bed.anchored_publish("a");
        bed.sets_out();
        bed
    }

    fn moving_play() -> Self {
        let mut bed = Self::anchored();
        bed.client("playStream", json!({"mediaSessionId": "a", "name": "cam", "sdp": "v=0\r\n"}));
        bed.offer();
        bed.server_all("setRemoteSDP", json!(["a", "server's answer", true]));
        bed.fact(Fact::ClientAnswer { sdp: "our answer".to_owned() });
        bed.fact(Fact::ClientConnected);
        bed.server("notifyStreamStatusEvent", status("a", "cam", "PLAYING", None));
        bed.clear();
        bed.sets_out();
        bed
    }

    fn sets_out(&mut self) {
        self.media.clear();
        self.feed(Input::Move { to: THERE });
        self.beside_opens();
        self.server("getUserData", json!({"authToken": "T9", "status": "ESTABLISHED"}));
        assert!(
            matches!(self.media[..], [MediaCommand::Attach { key: KEY, beside: true, .. }]),
            "{:?}",
            self.media
        );
        self.media.clear();
    }

    /// The other node takes the stream: under which id it has it.
    fn taken(&mut self, verb: &str, word: &str) -> String {
        self.offer();
        let id = self.last_upstream_id(verb);
        self.server_all("setRemoteSDP", json!([id, "new answer", true]));
        self.server("notifyStreamStatusEvent", status(&id, "cam", word, None));
        assert!(self.moved.is_empty(), "a word is no proof");
        id
    }

    fn proven(&mut self) -> String {
        let id = self.taken("publishStream", "PUBLISHING");
        self.flowing();
        assert_eq!(self.moved, [MoveOutcome::Done]);
        id
    }

    fn refused(&mut self, info: &str) {
        self.offer();
        let id = self.last_upstream_id("publishStream");
        self.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some(info)));
    }

    /// It is where it was, and what it has runs under the id that it had.
    fn is_back(&mut self, reason: &str) {
        assert_eq!(self.moved, [MoveOutcome::Returned(reason.to_owned())]);
        assert_eq!((self.leads, self.upstream_close.last()), (Epoch(0), Some(&(Epoch(1), Close::NoCode))));
        assert_eq!(self.orders("return"), 1);
        assert_eq!(self.holder(), Some(Holder { session: SessionId(1), restoring: false, node: NodeId(0) }));
        self.clear();
        self.unpublish("a", "cam");
        assert_eq!(self.last_upstream_id("unPublishStream"), "a");
        self.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", None));
        assert_eq!(self.statuses(), ["a UNPUBLISHED -"], "the client heard nothing else");
    }

    fn holder(&self) -> Option<Holder> {
        self.registry.names().get("cam").holder
    }

    fn orders(&self, which: &str) -> usize {
        let is = |order: &&MediaCommand| match order {
            MediaCommand::LetGo { .. } => which == "let go",
            MediaCommand::Return { .. } => which == "return",
            MediaCommand::Detach { .. } => which == "detach",
            MediaCommand::Close { .. } => which == "close",
            _ => false,
        };
        self.media.iter().filter(is).count()
    }

    fn streams(&self) -> usize {
        self.session.streams.table.len()
    }
}

#[test]
fn a_publish_moves_and_what_it_left_stands_until_it_is_let_go() {
    let mut bed = Bed::moving_publish(|_| {});
    assert_eq!(bed.holder(), Some(Holder { session: SessionId(1), restoring: true, node: THERE }));
    let id = bed.proven();
    assert_ne!(id, "a", "an id that no upstream has seen");
    assert_eq!(bed.holder(), Some(Holder { session: SessionId(1), restoring: false, node: THERE }));
    assert_eq!((bed.to_client.len(), bed.upstream_close.len(), bed.restored()), (0, 0, 0));
    // Players that have not moved yet: the old node is answered, and its words concern nobody.
    bed.says_on(Epoch(0), "ping", json!([null]));
    bed.says_on(Epoch(0), "notifyStreamStatusEvent", json!([status("a", "cam", "FAILED", None)]));
    assert_eq!((bed.to_left.len(), bed.to_client.len(), bed.orders("let go")), (1, 0, 0));
    bed.feed(Input::LetGo);
    assert_eq!(
        (bed.upstream_close.as_slice(), bed.orders("let go")),
        ([(Epoch(0), Close::NoCode)].as_slice(), 1)
    );
    bed.feed(Input::LetGo);
    assert_eq!((bed.upstream_close.len(), bed.to_client.len(), bed.session.is_ended()), (1, 0, false));
}

#[test]
fn what_is_left_is_let_go_after_its_time() {
    let mut bed = Bed::moving_publish(|settings| settings.restore.move_hold = Duration::from_millis(300));
    bed.proven();
    assert_eq!(bed.session.belongings().bound_by, Some("moving"), "one at a time");
    bed.pass(299);
    assert!(bed.upstream_close.is_empty());
    bed.pass(1);
    assert_eq!(
        (bed.upstream_close.as_slice(), bed.orders("let go")),
        ([(Epoch(0), Close::NoCode)].as_slice(), 1)
    );
    assert_eq!(bed.session.belongings().bound_by, None);
    let mut at_once = Bed::moving_publish(|settings| settings.restore.move_hold = Duration::ZERO);
    at_once.proven();
    assert_eq!((at_once.upstream_close.len(), at_once.orders("let go")), (1, 1));
}

#[test]
fn what_is_left_is_held_as_long_as_somebody_says_so() {
    let mut bed = Bed::moving_publish(|settings| settings.restore.move_hold = Duration::from_millis(300));
    bed.proven();
    for _ in 0..10 {
        bed.pass(200);
        bed.feed(Input::Hold);
    }
    bed.pass(299);
    assert!(bed.upstream_close.is_empty());
    bed.pass(1);
    assert_eq!((bed.upstream_close.len(), bed.orders("let go")), (1, 1));
    bed.feed(Input::Hold);
    bed.pass(1_000);
    assert_eq!(bed.upstream_close.len(), 1, "there is nothing to hold");
}

#[test]
fn a_play_lets_go_as_soon_as_its_picture_comes_from_the_other_node() {
    let mut bed = Bed::moving_play();
    bed.taken("playStream", "PLAYING");
    bed.flowing();
    assert_eq!((bed.moved.as_slice(), bed.orders("let go")), ([MoveOutcome::Done].as_slice(), 1));
    assert_eq!(
        (bed.upstream_close.as_slice(), bed.to_client.len()),
        ([(Epoch(0), Close::NoCode)].as_slice(), 0)
    );
}

#[test]
fn a_node_that_refuses_a_stream_refuses_the_move() {
    let mut bed = Bed::moving_publish(|_| {});
    bed.refused(IN_USE);
    bed.is_back(IN_USE);
    let mut fails = Bed::moving_publish(|_| {});
    fails.offer();
    let id = fails.last_upstream_id("publishStream");
    let fields = json!({"status": "FAILED", "info": "odd", "apiMethod": "StreamStatusEvent", "id": id});
    fails.server("fail", fields);
    fails.is_back("odd");
}

#[test]
fn whatever_goes_wrong_with_its_media_leaves_a_stream_where_it_was() {
    let epoch = Epoch(1);
    let why = || "no way there".to_owned();
    let facts = [Fact::UpstreamFailed { epoch, reason: why() }, Fact::OutOfSockets { epoch, reason: why() }];
    for fact in facts {
        let mut bed = Bed::moving_publish(|_| {});
        bed.taken("publishStream", "PUBLISHING");
        bed.fact(fact);
        bed.is_back("no way there");
    }
    let mut late = Bed::moving_publish(|_| {});
    late.taken("publishStream", "PUBLISHING");
    late.fact(Fact::Flowing { epoch, key_frame: false, complete: false });
    late.pass(5_000);
    late.is_back("restore.move_timeout_ms is over");
    let mut lost = Bed::moving_publish(|_| {});
    lost.taken("publishStream", "PUBLISHING");
    lost.lose();
    lost.is_back("a connection was lost meanwhile");
}

#[test]
fn what_happens_to_the_clients_media_meanwhile_happens_where_the_session_was() {
    let mut broken = Bed::moving_publish(|_| {});
    broken.fact(Fact::Broken { reason: "a fault".to_owned() });
    assert_eq!((broken.leads, broken.orders("return"), broken.orders("close")), (Epoch(0), 1, 1));
    assert_eq!(broken.last_upstream_id("unPublishStream"), "a");
    assert_eq!((broken.statuses().len(), broken.streams()), (1, 0));
    let mut codec = Bed::moving_publish(|_| {});
    codec.taken("publishStream", "PUBLISHING");
    codec.fact(Fact::CodecChanged { epoch: Epoch(1), codec: "VP8".to_owned() });
    assert!(matches!(codec.media.last(), Some(MediaCommand::Attach { epoch: Epoch(0), beside: false, .. })));
    let mut gone = Bed::moving_publish(|_| {});
    gone.fact(Fact::ClientGone { reason: "closed".to_owned() });
    assert_eq!((gone.leads, gone.statuses().len()), (Epoch(0), 0), "its stop may be on its way");
    gone.pass(5_000);
    assert_eq!(gone.statuses().len(), 1);
}

#[test]
fn the_last_words_of_a_stream_at_the_old_node_count_only_if_it_stays() {
    for made in [true, false] {
        let mut bed = Bed::moving_publish(|_| {});
        let over = status("a", "cam", "FAILED", Some("Stopped by rest /terminate"));
        bed.says_on(Epoch(0), "notifyStreamStatusEvent", json!([over]));
        assert!(bed.statuses().is_empty());
        if made {
            bed.proven();
        } else {
            bed.refused(IN_USE);
        }
        bed.pass(400);
        assert_eq!(bed.statuses().len(), usize::from(!made));
    }
}

#[test]
fn a_client_that_stops_a_stream_meanwhile_stops_it_where_it_was() {
    let mut bed = Bed::moving_publish(|_| {});
    bed.client("somethingOdd", json!({"n": 1}));
    bed.taken("publishStream", "PUBLISHING");
    bed.clear();
    bed.unpublish("a", "cam");
    assert_eq!((bed.leads, bed.upstream_got("somethingOdd").len()), (Epoch(0), 1));
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", None));
    assert_eq!((bed.statuses().as_slice(), bed.streams()), (["a UNPUBLISHED -".to_owned()].as_slice(), 0));
}

#[test]
fn a_stop_after_the_move_stops_it_on_both_nodes() {
    let mut bed = Bed::moving_publish(|_| {});
    let id = bed.proven();
    bed.clear();
    bed.unpublish("a", "cam");
    assert_eq!((bed.last_upstream_id("unPublishStream"), bed.orders("let go")), (id.clone(), 1));
    let left = &bed.to_left[0];
    assert_eq!(
        (&left["message"], &left["data"][0]["mediaSessionId"]),
        (&json!("unPublishStream"), &json!("a"))
    );
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "UNPUBLISHED", None));
    assert_eq!(bed.statuses(), ["a UNPUBLISHED -"]);
    // One that the new node ends for good is over on the old one as well.
    let mut ended = Bed::moving_publish(|_| {});
    let id = ended.proven();
    ended.server("notifyStreamStatusEvent", status(&id, "cam", "FAILED", Some("Restricted access")));
    ended.pass(400);
    assert_eq!((ended.statuses().len(), ended.to_left.len()), (1, 1));
}

#[test]
fn the_loss_of_the_old_node_makes_an_unproven_stream_one_that_is_being_restored() {
    let mut bed = Bed::moving_publish(|_| {});
    bed.taken("publishStream", "PUBLISHING");
    bed.feed(Input::UpstreamLost(Epoch(0), LossCause::Reset));
    assert_eq!((bed.orders("let go"), bed.orders("detach"), bed.leads), (1, 0, Epoch(1)));
    assert_eq!(bed.holder().map(|holder| holder.restoring), Some(true));
    assert_eq!((bed.restored(), bed.moved.len()), (0, 1));
    bed.flowing();
    assert_eq!((bed.restored(), bed.to_client.len()), (1, 0));
    // What is made stays made.
    let mut made = Bed::moving_publish(|_| {});
    made.proven();
    made.feed(Input::UpstreamLost(Epoch(0), LossCause::Reset));
    assert_eq!((made.orders("let go"), made.moved.len(), made.leads), (1, 1, Epoch(1)));
    assert!(made.dials.is_empty() && made.to_client.is_empty());
}

#[test]
fn an_outage_after_the_move_is_one_like_any_other() {
    let mut bed = Bed::moving_publish(|_| {});
    bed.proven();
    bed.pass_in_health(5_000);
    bed.clear();
    bed.lose();
    assert_eq!(
        (bed.upstream_close.as_slice(), bed.orders("let go")),
        ([(Epoch(0), Close::NoCode)].as_slice(), 1)
    );
    bed.pass(1_000);
    assert_eq!(bed.dials, [Epoch(2)]);
    bed.reconnect();
    assert!(matches!(bed.media.last(), Some(MediaCommand::Attach { epoch: Epoch(2), beside: false, .. })));
}

#[test]
fn players_of_a_stream_that_moves_wait_for_it_and_others_are_left_alone() {
    let mut publisher = Bed::moving_publish(|_| {});
    let registry = Arc::clone(&publisher.registry);
    // One whose own move is under way asks for the stream at the other node when it is there.
    let mut player = Bed::member(2, &registry, |_| {});
    player.session = player.session.with_media();
    let mut player = player.established();
    let key = StreamKey { session: SessionId(2), number: 1 };
    player.client("playStream", json!({"mediaSessionId": "p", "name": "cam", "sdp": "v=0\r\n"}));
    player.feed(Input::Media(key, Fact::UpstreamOffer { epoch: Epoch(0), sdp: "o".to_owned() }));
    assert_eq!(player.upstream_got("playStream").len(), 1, "whoever does not move plays where it is");
    player.feed(Input::Media(key, Fact::ClientAnswer { sdp: "our answer".to_owned() }));
    player.feed(Input::Media(key, Fact::ClientConnected));
    player.server("notifyStreamStatusEvent", status("p", "cam", "PLAYING", None));
    player.clear();
    player.feed(Input::Move { to: THERE });
    player.beside_opens();
    player.server("getUserData", json!({"authToken": "T9", "status": "ESTABLISHED"}));
    assert!(!player.media.iter().any(|order| matches!(order, MediaCommand::Attach { .. })), "it waits");
    publisher.proven();
    let (to, mail) = publisher.posts.pop().unwrap();
    assert_eq!(to, SessionId(2));
    player.feed(Input::Mail(mail));
    assert!(matches!(player.media.last(), Some(MediaCommand::Attach { beside: true, .. })));
    player.feed(Input::Media(key, Fact::UpstreamOffer { epoch: Epoch(1), sdp: "o".to_owned() }));
    player.feed(Input::Media(key, Fact::Flowing { epoch: Epoch(1), key_frame: true, complete: true }));
    assert_eq!((player.moved.as_slice(), player.to_client.len()), ([MoveOutcome::Done].as_slice(), 0));
}

#[test]
fn what_a_recording_or_a_push_does_is_not_doubled_unless_it_may_be() {
    for (may, field) in [(false, "record"), (false, "rtmpUrl"), (true, "record")] {
        let mut bed = Bed::anchored_with(|settings| settings.restore.move_effects = may);
        let mut request = publish("a", "cam");
        request[field] = if field == "record" { json!(true) } else { json!("rtmp://elsewhere/live") };
        bed.client("publishStream", request);
        bed.offer();
        bed.server_all("setRemoteSDP", json!(["a", "server's answer", true]));
        bed.fact(Fact::ClientAnswer { sdp: "our answer".to_owned() });
        assert_eq!(
            bed.session.belongings().bound_by,
            Some(if may { "unsettled stream" } else { "recording or push" })
        );
        bed.fact(Fact::ClientConnected);
        bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
        assert_eq!(bed.session.belongings().bound_by, (!may).then_some("recording or push"));
    }
}

#[test]
fn mutes_are_repeated_at_the_other_node() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.client("sendStreamEvent", json!({"mediaSessionId": "a", "type": "audioMuted"}));
    bed.clear();
    bed.sets_out();
    let id = bed.proven();
    let event = &bed.upstream_got("sendStreamEvent")[0]["data"][0];
    assert_eq!((&event["mediaSessionId"], &event["type"]), (&json!(id), &json!("audioMuted")));
}
