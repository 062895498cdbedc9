//! Sessions that belong together and come back from an outage on different nodes meet again (rule R16).

use super::*;
use crate::session::Holder;

const HERE: NodeId = NodeId(0);
const THERE: NodeId = NodeId(1);

/// A session with a play of `cam`, which ran; another session of the process publishes that.
fn player(change: impl Fn(&mut SessionSettings)) -> Bed {
    let bed = Bed::member(3, &Arc::new(Registry::default()), |settings| change(settings));
    bed.published(2, Some(HERE));
    bed.established().playing_mse("p", "cam")
}

impl Bed {
    /// The publisher is this session, and is on this node; on none as long as it is being restored.
    fn published(&self, id: u64, node: Option<NodeId>) {
        let restoring = node.is_none();
        let holder = Holder { session: SessionId(id), restoring, node: node.unwrap_or(HERE) };
        self.registry.names().hold("cam", holder, self.now);
    }

    fn publisher_is_back(&mut self, id: u64, node: NodeId) {
        self.published(id, Some(node));
        self.feed(Input::Mail(Mail::NameSettled("cam".into())));
    }

    fn loses_its_node(&mut self) {
        let epoch = self.session.upstream.epoch;
        self.feed(Input::UpstreamLost(epoch, LossCause::EndOfFile));
    }

    fn is_back_on(&mut self, node: NodeId) {
        let epoch = *self.dials.last().unwrap();
        self.feed(Input::UpstreamOpened(epoch, node));
        self.server("getUserData", json!({"authToken": format!("T{}", epoch.0), "status": "ESTABLISHED"}));
    }

    /// The last replay of this name gets this status.
    fn replay_is(&mut self, name: &str, status_word: &str, info: Option<&str>) {
        let replays = self.upstream_got("playStream");
        let of_name = |play: &&&Value| play["data"][0]["name"] == name;
        let id = replays.iter().rfind(of_name).unwrap()["data"][0]["mediaSessionId"].clone();
        self.server("notifyStreamStatusEvent", status(id.as_str().unwrap(), name, status_word, info));
    }

    fn not_found(&mut self) {
        self.replay_is("cam", "FAILED", Some("Stream not found"));
    }
}

#[test]
fn a_player_comes_back_where_its_publisher_is_already() {
    for (locality, toward) in [(true, Some(THERE)), (false, None)] {
        let mut player = player(|settings| settings.locality = locality);
        player.published(2, None);
        player.loses_its_node();
        assert_eq!(player.toward, [None], "it is not back");
        player.published(2, Some(THERE));
        let epoch = *player.dials.last().unwrap();
        player.feed(Input::DialFailed(epoch, DialError::Unreachable("refused".into())));
        player.pass(5_000);
        assert_eq!(*player.toward.last().unwrap(), toward);
    }
}

#[test]
fn a_player_that_came_back_elsewhere_goes_after_its_publisher() {
    let mut player = player(|_| {});
    player.published(2, None);
    player.loses_its_node();
    player.is_back_on(HERE);
    assert!(player.upstream_got("playStream").is_empty(), "it waits for its publisher");
    player.publisher_is_back(2, THERE);
    let dials = player.dials.len();
    player.not_found();
    assert_eq!(player.upstream_close.last().unwrap().1, Close::NoCode);
    player.pass(1_000);
    assert_eq!((player.dials.len(), *player.toward.last().unwrap()), (dials + 1, Some(THERE)));
    player.is_back_on(THERE);
    player.replay_is("cam", "PLAYING", None);
    assert_eq!((player.session.belongings().node, player.statuses().len()), (THERE, 0), "it heard nothing");
}

#[test]
fn a_publisher_that_cannot_be_reached_is_not_gone_after_for_ever() {
    let mut player = player(|settings| settings.restore.stable_after = Duration::ZERO);
    player.published(2, None);
    player.loses_its_node();
    player.is_back_on(HERE);
    player.publisher_is_back(2, THERE);
    let dials = player.dials.len();
    for _ in 0..10 {
        player.not_found();
        player.pass(100);
        if player.session.link.outage().is_some() {
            // It is let in here again, and not there.
            player.is_back_on(HERE);
        } else {
            player.pass(1_000);
        }
    }
    assert_eq!(player.dials.len() - dials, 4);
}

#[test]
fn of_two_that_play_each_other_the_later_one_goes() {
    for (other, goes) in [(2, true), (4, false)] {
        let mut player = player(|_| {});
        player
            .client("publishStream", json!({"mediaSessionId": "a", "name": "mine", "mediaProvider": "MSE"}));
        player.published(other, None);
        player.loses_its_node();
        player.is_back_on(HERE);
        player.publisher_is_back(other, THERE);
        let dials = player.dials.len();
        player.not_found();
        player.pass(1_000);
        assert_eq!(player.dials.len() > dials, goes, "{other}");
    }
}

#[test]
fn who_is_bound_or_plays_others_here_stays() {
    let stays: [fn(&mut Bed); 2] = [
        |player| player.client("call", json!({"callId": "c"})),
        |player| {
            let play = json!({"mediaSessionId": "q", "name": "other", "mediaProvider": "MSE"});
            player.client("playStream", play);
            player.replay_is("other", "PLAYING", None);
        },
    ];
    for bind in stays {
        let mut player = player(|_| {});
        player.published(2, None);
        player.loses_its_node();
        player.is_back_on(HERE);
        bind(&mut player);
        player.publisher_is_back(2, THERE);
        let dials = player.dials.len();
        player.not_found();
        player.pass(1_000);
        assert_eq!(player.dials.len(), dials);
    }
}
