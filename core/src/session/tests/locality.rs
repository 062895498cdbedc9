//! A session goes to the node where the stream runs that its client asks for (rule R16).

use super::*;

const THERE: NodeId = NodeId(1);

/// A session whose client is about to ask for a stream that another publishes on the other node.
fn bed(change: impl FnOnce(&mut SessionSettings)) -> Bed {
    let registry = Arc::new(Registry::default());
    let mut publisher = Bed::member(2, &registry, |_| {});
    publisher.session = publisher.session.with_node(THERE);
    let publisher = publisher.established().publishing("a", "cam");
    assert_eq!(registry.names().get("cam").holder.map(|holder| holder.node), Some(THERE));
    drop(publisher);
    Bed::member(1, &registry, change).established()
}

fn play(bed: &mut Bed, id: &str, name: &str) {
    bed.client("playStream", json!({"mediaSessionId": id, "name": name, "mediaProvider": "MSE", "sdp": "o"}));
}

fn not_found(bed: &mut Bed, id: &str) {
    bed.server("notifyStreamStatusEvent", status(id, "cam", "FAILED", Some("Stream not found")));
}

fn elsewhere(bed: &Bed) -> usize {
    let is = |event: &&Event| matches!(event, Event::StreamElsewhere { node: THERE, .. });
    bed.events.iter().filter(is).count()
}

#[test]
fn a_session_without_streams_goes_where_the_stream_is() {
    for verb in ["playStream", "publishStream"] {
        let mut bed = bed(|_| {});
        bed.client(verb, publish("p", "cam"));
        bed.client("somethingOdd", json!({"n": 1}));
        assert_eq!((bed.beside.as_slice(), bed.to_upstream.len()), ([(Epoch(1), THERE)].as_slice(), 0));
        bed.beside_opens();
        bed.server("getUserData", json!({"authToken": "T9", "status": "ESTABLISHED"}));
        let said: Vec<_> =
            bed.to_upstream.iter().map(|message| message["message"].as_str().unwrap()).collect();
        assert_eq!(said, ["connection", verb, "somethingOdd"]);
        assert_eq!(
            (bed.leads, bed.to_client.len(), bed.moved.len()),
            (Epoch(1), 0, 0),
            "nobody has ordered it"
        );
        assert_eq!(bed.upstream_close, [(Epoch(0), Close::NoCode)]);
        assert_eq!(bed.session.belongings().node, THERE);
    }
}

#[test]
fn a_stream_that_cannot_be_followed_is_asked_for_where_the_session_is() {
    let fails: [fn(&mut Bed); 4] = [
        |bed| bed.feed(Input::DialFailed(Epoch(1), DialError::Refused(503))),
        |bed| bed.pass(5_000),
        |bed| {
            bed.beside_opens();
            bed.server("fail", json!({"status": "FAILED", "info": "Forbidden"}));
        },
        // Somebody calls meanwhile.
        |bed| {
            bed.server("notifyIncomingCall", json!({"callId": "c", "status": "RING"}));
            bed.beside_opens();
        },
    ];
    for fail in fails {
        let mut bed = bed(|_| {});
        play(&mut bed, "p", "cam");
        fail(&mut bed);
        assert_eq!((bed.leads, bed.upstream_got("playStream").len(), bed.beside.len()), (Epoch(0), 1, 1));
        not_found(&mut bed, "p");
        assert_eq!(bed.statuses(), ["p FAILED Stream not found"]);
        assert_eq!(elsewhere(&bed), 1, "the log hears why");
    }
}

#[test]
fn a_session_that_is_bound_or_has_streams_stays_and_the_log_hears_why_it_is_refused() {
    let mut playing = bed(|_| {}).playing_mse("q", "other");
    play(&mut playing, "p", "cam");
    assert_eq!((playing.beside.len(), playing.upstream_got("playStream").len()), (0, 1));
    not_found(&mut playing, "p");
    assert_eq!((elsewhere(&playing), playing.statuses().len()), (1, 1));
    let mut talking = bed(|_| {});
    talking.client("call", json!({"callId": "c"}));
    play(&mut talking, "p", "cam");
    assert!(talking.beside.is_empty());
}

#[test]
fn nobody_follows_what_is_here_restored_or_not_ours_or_where_it_is_switched_off() {
    let mut off = bed(|settings| settings.locality = false);
    play(&mut off, "p", "cam");
    assert!(off.beside.is_empty());
    not_found(&mut off, "p");
    assert_eq!(elsewhere(&off), 0);
    let mut unknown = bed(|_| {});
    play(&mut unknown, "p", "nobody's");
    assert!(unknown.beside.is_empty());
    let mut here = bed(|_| {});
    here.session = here.session.with_node(THERE);
    play(&mut here, "p", "cam");
    assert!(here.beside.is_empty());
    let mut restored = bed(|_| {});
    let holder = restored.registry.names().get("cam").holder.unwrap();
    restored.registry.names().hold("cam", crate::session::Holder { restoring: true, ..holder }, restored.now);
    play(&mut restored, "p", "cam");
    assert!(restored.beside.is_empty());
}

#[test]
fn a_stream_is_followed_again_after_another_word() {
    let mut bed = bed(|_| {});
    play(&mut bed, "p", "cam");
    bed.feed(Input::DialFailed(Epoch(1), DialError::Refused(503)));
    not_found(&mut bed, "p");
    play(&mut bed, "q", "cam");
    assert_eq!(bed.beside, [(Epoch(1), THERE), (Epoch(2), THERE)]);
}
