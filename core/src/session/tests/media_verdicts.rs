//! What is made of the media of anchored streams: published video that does not come, key frames that
//! are long in coming, client legs that do not stand or cannot be revived.

use std::time::Duration;

use super::*;
use crate::{
    media::Fact,
    session::Identity,
    settings::{AppSettings, CheckBitrate, RestoreMode},
};

const NEVER: Fact = Fact::NoVideo { never_sent: true, had_h264: true };
const PAUSE: Fact = Fact::NoVideo { never_sent: false, had_h264: true };

impl Bed {
    /// A session of a client with this handshake in a process with others.
    fn anchored_member(id: u64, registry: &Arc<Registry>, handshake: &str, connection: Value) -> Self {
        let mut bed = Self::member(id, registry, |_| {});
        let identity = Identity::default().and(handshake.as_bytes());
        bed.session = bed.session.with_media().with_identity(identity);
        bed.client("connection", connection);
        bed.server("getUserData", json!({"authToken": format!("T{id}"), "status": "ESTABLISHED"}));
        bed.clear();
        bed
    }

    /// A publish that runs on the server, and has its answer, before its client's media path stands.
    fn publishing_unconnected() -> Self {
        let mut bed = Self::anchored();
        bed.client("publishStream", publish("a", "cam"));
        bed.offer();
        bed.server_all("setRemoteSDP", json!(["a", "answer", true]));
        bed.fact(Fact::ClientAnswer { sdp: "our answer".to_owned() });
        bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
        bed
    }

    /// A publish of Firefox that runs.
    fn publishing_from_firefox() -> Self {
        let mut bed = Self::anchored();
        let mut request = publish("a", "cam");
        let origin = "o=mozilla...THIS_IS_SDPARTA-99.0 4211 0 IN IP4 0.0.0.0\r\n";
        request["sdp"] =
            json!(request["sdp"].as_str().unwrap().replace("v=0\r\n", &format!("v=0\r\n{origin}")));
        bed.client("publishStream", request);
        bed.offer();
        bed.fact(Fact::ClientConnected);
        bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
        bed.clear();
        bed
    }

    /// An anchored publish whose upstream was lost and is back: the workers have made a new offer.
    fn offered_again() -> Self {
        let mut bed = Self::anchored();
        bed.anchored_publish("a");
        bed.lose();
        bed.reconnect();
        bed.offer();
        bed
    }

    /// Publishes; whether without H264.
    fn publishes_without_h264(&mut self, id: &str, name: &str) -> bool {
        self.client("publishStream", publish(id, name));
        let Some(MediaCommand::Open { refuse_h264, .. }) = self.media.last() else {
            panic!("{:?}", self.media)
        };
        *refuse_h264
    }

    /// A publish that was answered H264 ended without having sent video.
    fn after_h264_in_vain() -> Self {
        let mut bed = Self::anchored();
        bed.anchored_publish("a");
        bed.fact(NEVER);
        bed.stop("a");
        bed
    }

    fn stop(&mut self, id: &str) {
        self.unpublish(id, "cam");
        self.server("notifyStreamStatusEvent", status(id, "cam", "UNPUBLISHED", None));
    }

    fn told_no_video(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::NoVideo { .. })).count()
    }
}

#[test]
fn a_publisher_that_sends_no_video_is_told_in_the_log_and_never_failed() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.fact(NEVER);
    bed.pass_in_health(120_000);
    assert!(bed.statuses().is_empty(), "{:?}", bed.statuses());
    assert_eq!(bed.told_no_video(), 1);
    bed.fact(Fact::VideoBack);
    assert!(bed.events.iter().any(|event| matches!(event, Event::VideoBack { .. })));
    bed.stop("a");
    assert!(!bed.publishes_without_h264("b", "cam"), "it did send video");
}

#[test]
fn after_h264_in_vain_the_next_publish_goes_without() {
    let mut bed = Bed::after_h264_in_vain();
    assert!(bed.publishes_without_h264("b", "another name"), "of the same session");
}

#[test]
fn a_pause_or_the_browsers_own_fallback_is_not_h264_in_vain() {
    for fact in [PAUSE, Fact::CodecChanged { epoch: Epoch(0), codec: "VP8".to_owned() }] {
        let mut bed = Bed::anchored();
        bed.anchored_publish("a");
        bed.fact(fact);
        bed.unpublish("a", "cam");
        assert!(!bed.publishes_without_h264("b", "cam"));
    }
}

#[test]
fn without_vp8_a_client_keeps_its_h264() {
    let mut bed = Bed::after_h264_in_vain();
    let mut request = publish("b", "cam");
    request["sdp"] = json!("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=rtpmap:102 H264/90000\r\n");
    bed.client("publishStream", request);
    assert!(matches!(bed.media.last(), Some(MediaCommand::Open { refuse_h264: false, .. })));
}

#[test]
fn a_stream_that_runs_with_h264_keeps_it_when_another_had_it_in_vain() {
    let mut bed = Bed::anchored();
    bed.anchored_publish("a");
    bed.client("publishStream", publish("b", "screen"));
    bed.feed(Input::Media(StreamKey::of_first_session(2), NEVER));
    bed.unpublish("b", "screen");
    bed.feed(Input::ClientActivity);
    bed.lose();
    bed.reconnect();
    assert!(
        bed.media.iter().any(|command| matches!(
            command,
            MediaCommand::Attach { key, refuse_h264: false, .. } if *key == StreamKey::of_first_session(1)
        )),
        "{:?}",
        bed.media
    );
}

#[test]
fn when_it_is_the_same_without_h264_that_was_not_the_reason() {
    let mut bed = Bed::after_h264_in_vain();
    assert!(bed.publishes_without_h264("b", "cam"));
    let second = StreamKey::of_first_session(2);
    bed.feed(Input::Media(second, Fact::NoVideo { never_sent: true, had_h264: false }));
    bed.unpublish("b", "cam");
    assert!(!bed.publishes_without_h264("c", "other"));
}

#[test]
fn a_page_that_is_loaded_again_is_known_by_name_and_client_for_a_minute() {
    let with = |token: &str| {
        let mut connection = connection();
        connection["authToken"] = json!(token);
        connection
    };
    let cases = [
        ("the same client", "page", with("2"), "cam", 59_000, true),
        ("too late", "page", with("2"), "cam", 61_000, false),
        ("another name", "page", with("2"), "other", 1_000, false),
        ("another browser", "elsewhere", with("2"), "cam", 1_000, false),
        ("another user", "page", json!({"appKey": "defaultApp", "custom": "x"}), "cam", 1_000, false),
    ];
    for (what, handshake, connection, name, after_ms, expected) in cases {
        let registry = Arc::new(Registry::default());
        let mut first = Bed::anchored_member(1, &registry, "page", with("1"));
        first.client("publishStream", publish("a", "cam"));
        first.fact(NEVER);
        first.feed(Input::ClientClosed(None));
        let mut second = Bed::anchored_member(2, &registry, handshake, connection);
        second.pass_in_health(after_ms);
        assert_eq!(second.publishes_without_h264("b", name), expected, "{what}");
    }
}

#[test]
fn the_check_can_be_the_older_one_the_vendors_or_none_also_per_application() {
    let check = |global, app: Option<CheckBitrate>, facts: Vec<Fact>| {
        let mut bed = Bed::anchored_with(|settings| {
            settings.video.check_bitrate = global;
            let exception = AppSettings { check_bitrate: app, ..AppSettings::default() };
            settings.apps.insert("defaultApp".to_owned(), exception);
        });
        bed.anchored_publish("a");
        for fact in facts {
            bed.fact(fact);
        }
        let failed = bed.statuses();
        if !failed.is_empty() {
            assert_eq!(failed, ["a FAILED Failed by RTP activity"]);
            assert_eq!(bed.upstream_got("unPublishStream").len(), 1);
        }
        (failed.len(), bed.told_no_video())
    };
    let table = [
        (CheckBitrate::On, (0, 1), (0, 1)),
        (CheckBitrate::NeverSent, (1, 1), (0, 1)),
        (CheckBitrate::Strict, (1, 1), (1, 1)),
        (CheckBitrate::Off, (0, 0), (0, 0)),
    ];
    for (setting, never, pause) in table {
        for (global, app) in [(setting, None), (CheckBitrate::Strict, Some(setting))] {
            assert_eq!(check(global, app, vec![NEVER]), never, "{setting:?}: never sent");
            assert_eq!(check(global, app, vec![PAUSE]), pause, "{setting:?}: paused");
        }
    }
}

#[test]
fn failed_for_no_video_goes_without_h264_next_time() {
    let mut bed = Bed::anchored_with(|settings| settings.video.check_bitrate = CheckBitrate::NeverSent);
    bed.anchored_publish("a");
    bed.fact(NEVER);
    assert_eq!(bed.statuses(), ["a FAILED Failed by RTP activity"]);
    assert!(bed.publishes_without_h264("b", "cam"));
}

#[test]
fn packets_without_a_key_frame_are_life_and_nothing_is_asked_again() {
    let mut bed = Bed::offered_again();
    let id = bed.last_upstream_id("publishStream");
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    let before = bed.media.len();
    for _ in 0..15 {
        let epoch = *bed.dials.last().unwrap();
        bed.fact(Fact::Flowing { epoch, key_frame: false, complete: false });
        bed.pass_in_health(1_000);
    }
    assert_eq!(bed.media.len(), before, "{:?}", bed.media);
    assert!(bed.upstream_got("unPublishStream").is_empty());
    assert!(bed.restored() > 0, "it lives: that is proof enough after a while");
    bed.flowing();
    assert_eq!(bed.restored(), 1);
    assert!(bed.statuses().is_empty());
}

#[test]
fn life_of_a_replay_that_failed_says_nothing_of_the_next() {
    let mut bed = Bed::offered_again();
    let epoch = *bed.dials.last().unwrap();
    bed.fact(Fact::Flowing { epoch, key_frame: false, complete: false });
    bed.fact(Fact::UpstreamFailed { epoch, reason: "gone".to_owned() });
    bed.pass(1_000);
    bed.offer();
    bed.pass_in_health(9_000);
    assert_eq!(bed.restored(), 0);
    bed.pass_in_health(2_000);
    assert_eq!(bed.restored(), 0, "the second replay showed no life");
}

#[test]
fn publishing_waits_for_the_clients_own_media_path() {
    let mut bed = Bed::publishing_unconnected();
    bed.server("notifyVideoFormat", json!({"mediaSessionId": "a", "streamerVideoWidth": 640}));
    assert!(bed.statuses().is_empty() && bed.client_got("notifyVideoFormat").is_empty());
    bed.fact(Fact::ClientConnected);
    assert_eq!(bed.statuses(), ["a PUBLISHING -"]);
    assert_eq!(bed.to_client.last().unwrap()["message"], "notifyVideoFormat", "in order behind it");
    bed.server("notifyVideoFormat", json!({"mediaSessionId": "a", "streamerVideoWidth": 320}));
    assert_eq!(bed.client_got("notifyVideoFormat").len(), 2);
}

#[test]
fn a_client_whose_media_path_never_stands_hears_failed_alone() {
    let mut bed = Bed::publishing_unconnected();
    bed.fact(Fact::ClientGone { reason: "nothing came".to_owned() });
    bed.pass_in_health(2_000);
    assert_eq!(bed.statuses(), ["a FAILED Failed by ICE timeout"]);
    assert_eq!(bed.upstream_got("unPublishStream").len(), 1);
}

#[test]
fn an_end_that_comes_before_it_is_all_the_client_hears() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    bed.server("notifyStreamStatusEvent", status("a", "cam", "PUBLISHING", None));
    bed.server("notifyStreamStatusEvent", status("a", "cam", "FAILED", Some("Restricted access")));
    bed.fact(Fact::ClientConnected);
    assert_eq!(bed.statuses(), ["a FAILED Restricted access"]);
}

#[test]
fn the_word_of_an_upstream_that_is_gone_is_not_told_later() {
    let mut bed = Bed::publishing_unconnected();
    bed.lose();
    bed.fact(Fact::ClientConnected);
    assert!(bed.statuses().is_empty());
    bed.reconnect();
    bed.offer();
    let id = bed.last_upstream_id("publishStream");
    bed.server("notifyStreamStatusEvent", status(&id, "cam", "PUBLISHING", None));
    assert_eq!(bed.statuses(), ["a PUBLISHING -"], "that of the next one is");
}

#[test]
fn what_is_withheld_is_bounded() {
    let mut bed = Bed::anchored();
    bed.client("publishStream", publish("a", "cam"));
    bed.offer();
    let mut word = status("a", "cam", "PUBLISHING", None);
    word["more"] = json!("z".repeat(100_000));
    bed.server("notifyStreamStatusEvent", word);
    bed.server("notifyVideoFormat", json!({"mediaSessionId": "a", "x": "y".repeat(100_000)}));
    for _ in 0..100 {
        bed.server("notifyVideoFormat", json!({"mediaSessionId": "a", "x": "y".repeat(2_000)}));
    }
    assert!(bed.session.kept_bytes() < 64 * 1024, "{}", bed.session.kept_bytes());
    bed.fact(Fact::ClientConnected);
    assert_eq!(bed.statuses(), ["a PUBLISHING -"]);
    assert_eq!(bed.client_got("notifyVideoFormat").len(), 15, "16 with the status");
}

fn silent(tries: u32) -> Fact {
    Fact::ClientSilent { tries, silence: Duration::from_secs(5) * tries }
}

#[test]
fn firefox_is_not_revived_but_told_when_it_is_heard_again() {
    let mut bed = Bed::publishing_from_firefox();
    let revived = |bed: &Bed| bed.media.iter().any(|one| matches!(one, MediaCommand::Revive { .. }));
    for tries in 1..=5 {
        bed.pass(5_000);
        bed.server("ping", Value::Null);
        bed.fact(silent(tries));
        if tries == 4 {
            bed.feed(Input::ClientActivity);
        }
    }
    assert!(!revived(&bed), "it would take them for an offer and wait for an answer");
    assert!(bed.statuses().is_empty(), "after 20 s its ICE still lives");
    bed.pass(2_500);
    assert!(bed.statuses().is_empty(), "nobody is there to be told");
    bed.feed(Input::ClientActivity);
    assert_eq!(bed.statuses(), ["a FAILED Failed by ICE keep alive"]);
    assert_eq!(bed.upstream_got("unPublishStream").len(), 1);
}

#[test]
fn firefox_that_is_heard_by_its_media_goes_on() {
    let mut bed = Bed::publishing_from_firefox();
    for tries in 1..=6 {
        bed.pass(5_000);
        bed.fact(silent(tries));
    }
    bed.fact(Fact::ClientRevived { silence: Duration::from_secs(31) });
    bed.feed(Input::ClientActivity);
    assert!(bed.statuses().is_empty());
}

/// Nothing was left out of its offer: the server's word on its codecs is the first.
#[test]
fn after_h264_in_vain_a_direct_publish_is_still_retried_without_it() {
    let mut bed = Bed::anchored_with(|settings| {
        let direct = AppSettings { restore_mode: Some(RestoreMode::Notify), ..AppSettings::default() };
        settings.apps.insert("direct".to_owned(), direct);
    });
    bed.anchored_publish("a");
    bed.fact(NEVER);
    bed.stop("a");
    bed.client("connection", json!({"appKey": "direct"}));
    bed.server("getUserData", json!({"authToken": "T1", "status": "ESTABLISHED"}));
    bed.clear();
    bed.client("publishStream", publish("b", "cam"));
    assert_eq!(bed.upstream_got("publishStream")[0]["data"][0], publish("b", "cam"));
    bed.server("notifyStreamStatusEvent", status("b", "cam", "FAILED", Some("No common codecs")));
    assert!(bed.statuses().is_empty(), "{:?}", bed.statuses());
    let offer = bed.upstream_got("publishStream")[1]["data"][0]["sdp"].to_string();
    assert!(!offer.contains("H264") && offer.contains("VP8"), "{offer}");
}
