//! Streams whose media ends at our workers.

use super::*;
use crate::{
    media::{Fact, StreamStats},
    session::StreamKey,
};

pub(super) const KEY: StreamKey = StreamKey::of_first_session(1);

impl Bed {
    pub(super) fn anchored() -> Self {
        Self::anchored_with(|_| {})
    }

    pub(super) fn anchored_with(change: impl FnOnce(&mut SessionSettings)) -> Self {
        let mut bed = Self::with(change);
        bed.session = bed.session.with_media();
        bed.established()
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.feed(Input::Media(KEY, fact));
    }

    pub(super) fn offer(&mut self) {
        let epoch = self.leads;
        self.fact(Fact::UpstreamOffer { epoch, sdp: "our offer".to_owned() });
    }

    /// A publish that runs, with its answer given.
    pub(super) fn anchored_publish(&mut self, id: &str) {
        self.client("publishStream", publish(id, "cam"));
        assert!(matches!(self.media.last(), Some(MediaCommand::Open { key: KEY, .. })));
        assert!(self.upstream_got("publishStream").is_empty(), "not before the workers' offer");
        self.offer();
        assert_eq!(self.upstream_got("publishStream")[0]["data"][0]["sdp"], "our offer");
        self.server_all("setRemoteSDP", json!([id, "server's answer", true]));
        assert!(matches!(self.media.last(), Some(MediaCommand::UpstreamAnswer { .. })));
        self.fact(Fact::ClientAnswer { sdp: "our answer".to_owned() });
        self.fact(Fact::ClientConnected);
        self.server("notifyStreamStatusEvent", status(id, "cam", "PUBLISHING", None));
        assert_eq!(self.client_got("setRemoteSDP")[0]["data"], json!([id, "our answer", true]));
        assert_eq!(self.statuses(), [format!("{id} PUBLISHING -")]);
        self.clear();
    }

    pub(super) fn flowing(&mut self) {
        let epoch = self.leads;
        self.fact(Fact::Flowing { epoch, key_frame: true, complete: true });
    }
}

#[test]
fn an_outage_is_not_seen_by_the_client_and_the_proof_is_media() {
    for proof_first in [false, true] {
        let mut bed = Bed::anchored();
        bed.anchored_publish("a");
        bed.lose();
        assert!(matches!(bed.media.last(), Some(MediaCommand::Detach { .. })));
        bed.pass(1_000);
        bed.reconnect();
        assert!(matches!(bed.media.last(), Some(MediaCommand::Attach { narrow: true, .. })));
        bed.offer();
        let id = bed.last_upstream_id("publishStream");
        assert_ne!(id, "a");
        bed.server_all("setRemoteSDP", json!([id, "new answer", true]));
        if proof_first {
            bed.flowing();
        }
        bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
        assert_eq!(bed.restored() > 0, proof_first, "a word is no proof");
        if !proof_first {
            bed.flowing();
        }
        assert!(bed.restored() > 0);
        bed.pass_in_health(30_000);
        assert!(bed.to_client.iter().all(|message| message["message"] == "ping"), "{:?}", bed.to_client);
    }
}

#[test]
fn a_replay_without_media_is_tried_again_and_then_reported() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.lose();
    bed.reconnect();
    let mut replays = 0;
    for _ in 0..80 {
        if matches!(bed.media.pop(), Some(MediaCommand::Attach { .. })) {
            bed.offer();
            replays += 1;
            let id = bed.last_upstream_id("publishStream");
            bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
        }
        bed.pass_in_health(1_000);
    }
    assert!(replays > 1, "{replays} replays");
    assert_eq!(bed.upstream_got("unPublishStream").len(), replays, "each try is taken back");
    assert_eq!(bed.statuses(), ["a FAILED Stopped by session disconnect"]);
}

#[test]
fn a_stop_takes_the_legs_down() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.unpublish("a", "cam");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", None));
    assert_eq!(bed.statuses(), ["a UNPUBLISHED -"]);
    assert!(matches!(bed.media.last(), Some(MediaCommand::Close { key: KEY })));
}

#[test]
fn what_cannot_be_anchored_goes_direct() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.fact(Fact::Unanchorable { reason: "no audio, no video".to_owned() });
    assert_eq!(bed.upstream_got("publishStream")[0]["data"][0], publish("a", "cam"));
    bed.server_all("setRemoteSDP", json!(["a", "answer", true]));
    assert_eq!(bed.client_got("setRemoteSDP").len(), 1);
}

#[test]
fn a_refused_codec_is_left_out_of_the_next_offer() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("No common codecs")));
    assert!(matches!(bed.media.last(), Some(MediaCommand::Attach { refuse_h264: true, .. })));
    assert!(bed.statuses().is_empty());
}

#[test]
fn a_changed_codec_is_published_anew() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.fact(Fact::CodecChanged { epoch: Epoch(0), codec: "VP8".to_owned() });
    assert_eq!(bed.upstream_got("unPublishStream").len(), 1);
    assert!(matches!(bed.media.last(), Some(MediaCommand::Attach { narrow: true, .. })));
    bed.offer();
    assert_ne!(bed.last_upstream_id("publishStream"), "a");
    bed.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", None));
    bed.flowing();
    assert!(bed.statuses().is_empty());
}

#[test]
fn a_silent_client_gets_new_credentials() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.fact(Fact::ClientSilent { tries: 1, silence: std::time::Duration::from_secs(5) });
    assert!(matches!(bed.media.last(), Some(MediaCommand::Revive { .. })));
    bed.fact(Fact::NewClientCredentials { sdp: "new".to_owned() });
    assert_eq!(bed.client_got("setRemoteSDP")[0]["data"], json!(["a", "new", false]));
    bed.fact(Fact::ClientGone { reason: "silent".to_owned() });
    bed.pass(1_100);
    assert_eq!(bed.statuses(), ["a FAILED Failed by ICE keep alive"]);
}

#[test]
fn a_stream_that_broke_in_the_workers_is_failed_at_once() {
    let broken = || Fact::Broken { reason: "a panic".to_owned() };
    for in_outage in [false, true] {
        let mut bed = Bed::anchored();
        bed.anchored_publish("a");
        if in_outage {
            bed.lose();
        }
        bed.fact(broken());
        if in_outage {
            bed.pass(6_000);
        }
        assert_eq!(bed.statuses(), ["a FAILED Failed by ICE keep alive"], "in an outage: {in_outage}");
        bed.fact(broken());
        assert_eq!(bed.statuses().len(), 1, "once");
    }
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.fact(broken());
    assert_eq!(bed.statuses(), ["a FAILED Failed by ICE keep alive"], "before it had an offer");
}

#[test]
fn a_client_that_goes_away_takes_its_legs_along() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.feed(Input::ClientClosed(None));
    assert!(matches!(bed.media.last(), Some(MediaCommand::Close { key: KEY })));
}

#[test]
fn an_answer_the_workers_cannot_use_goes_direct() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    bed.server_all("setRemoteSDP", json!(["a", "TCP alone", true]));
    bed.fact(Fact::UpstreamFailed { epoch: Epoch(0), reason: "TCP alone".to_owned() });
    assert!(matches!(bed.media.last(), Some(MediaCommand::Close { key: KEY })));
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
    let id = bed.last_upstream_id("publishStream");
    assert_eq!(bed.upstream_got("publishStream")[1]["data"][0]["sdp"], publish("a", "cam")["sdp"]);
    bed.server_all("setRemoteSDP", json!([id, "TCP alone", true]));
    assert_eq!(bed.client_got("setRemoteSDP")[0]["data"], json!(["a", "TCP alone", true]));
}

#[test]
fn a_stream_that_goes_direct_waits_for_no_media_path_of_ours() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    assert!(bed.statuses().is_empty(), "the client's media path does not stand");
    bed.fact(Fact::UpstreamFailed { epoch: Epoch(0), reason: "TCP alone".to_owned() });
    let id = bed.last_upstream_id("publishStream");
    bed.server_all("setRemoteSDP", json!([id, "TCP alone", true]));
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    assert_eq!(bed.client_got("setRemoteSDP")[0]["data"], json!(["a", "TCP alone", true]));
    assert_eq!(bed.statuses(), ["a PUBLISHING -"]);
}

#[test]
fn a_missing_socket_is_a_failure_and_never_direct_media() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    bed.server_all("setRemoteSDP", json!(["a", "server's answer", true]));
    bed.fact(Fact::OutOfSockets { epoch: Epoch(0), reason: "no socket".to_owned() });
    assert!(matches!(bed.media.last(), Some(MediaCommand::Close { key: KEY })));
    assert_eq!(bed.last_upstream_id("unPublishStream"), "a");
    assert_eq!(bed.statuses(), ["a FAILED Session not ready"]);
    assert!(bed.client_got("setRemoteSDP").is_empty());
    assert_eq!(bed.upstream_got("publishStream").len(), 1, "it is not asked again with the client's offer");
}

#[test]
fn a_socket_that_is_missing_in_a_restore_is_waited_for() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.fact(Fact::OutOfSockets { epoch: Epoch(0), reason: "no socket".to_owned() });
    bed.pass(5_000);
    assert!(bed.statuses().is_empty(), "it is tried again");
    assert!(matches!(bed.media.last(), Some(MediaCommand::Attach { .. })));
}

#[test]
fn a_stop_whose_media_ends_before_its_request_comes_is_a_stop() {
    for in_outage in [false, true] {
        let mut bed = Bed::anchored();
        bed.anchored_publish("a");
        if in_outage {
            bed.lose();
        }
        bed.fact(Fact::ClientGone { reason: "closed".to_owned() });
        bed.pass(50);
        bed.unpublish("a", "cam");
        if !in_outage {
            bed.pass(2_000);
            bed.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", Some("Stopped by user")));
        }
        assert_eq!(bed.statuses(), ["a UNPUBLISHED Stopped by user"]);
    }
}

#[test]
fn what_the_workers_count_is_shown_and_told() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    let numbers = |gaps_ms: &[u64], gaps| {
        let numbers = StreamStats { gaps, gaps_ms: gaps_ms.to_vec(), ..StreamStats::default() };
        Fact::Stats(Box::new(numbers))
    };
    bed.fact(numbers(&[], 0));
    bed.fact(numbers(&[250, 400], 2));
    bed.fact(numbers(&[250, 400], 2));
    let gaps = |bed: &Bed| {
        let gap = |event: &Event| match event {
            Event::MediaGap { gap, .. } => Some(gap.as_millis()),
            _ => None,
        };
        bed.events.iter().filter_map(gap).collect::<Vec<_>>()
    };
    assert_eq!(gaps(&bed), [250, 400], "each once");
    bed.fact(numbers(&[400, 700], 3));
    assert_eq!(gaps(&bed), [250, 400, 700]);
    let shown = bed.session.describe();
    assert_eq!(shown.streams[0].numbers.as_ref().map(|n| n.gaps), Some(3));
    bed.client("unPublishStream", publish("a", "cam"));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "UNPUBLISHED", None));
    assert!(bed.events.iter().any(|event| matches!(event, Event::MediaSummary { .. })), "told at the end");
}
