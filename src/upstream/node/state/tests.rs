//! The state of a node, step by step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

impl Default for Rules {
    fn default() -> Self {
        Self {
            rise: 1,
            checks: vec![(2, 3), (1, 1)],
            eject_after: 5,
            eject: Duration::from_secs(10),
            eject_max: Duration::from_secs(300),
            slow_start: Duration::from_secs(30),
            media_legs_min: 2,
            media_retry: Duration::from_secs(30),
        }
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// A node, and the time that goes on by a millisecond with each input.
struct Bed {
    node: Machine,
    now_ms: u64,
}

impl Bed {
    fn with(rules: Rules) -> Self {
        Self { node: Machine::new(rules, at(0)), now_ms: 0 }
    }

    fn new() -> Self {
        Self::with(Rules::default())
    }

    /// The state after this.
    fn then(&mut self, input: Input<'_>) -> NodeState {
        self.now_ms += 1;
        self.node.handle(input, at(self.now_ms));
        self.node.state()
    }

    fn after(&mut self, time: Duration) -> NodeState {
        self.now_ms += u64::try_from(time.as_millis()).unwrap();
        self.then(Input::Tick)
    }

    fn agent(&mut self, line: &str) -> NodeState {
        self.then(Input::Agent(1, &AgentReport::read(line)))
    }

    fn why(&self) -> (&str, &str) {
        (self.node.reason().kind.as_str(), &self.node.reason().text)
    }

    fn part_percent(&self) -> u32 {
        (self.node.part(at(self.now_ms)) * 100.0).round() as u32
    }
}

#[test]
fn a_node_of_which_nothing_was_heard_says_so_until_it_answers() {
    let mut bed = Bed::new();
    assert_eq!(bed.why(), ("new", "nothing was heard of it yet"));
    assert_eq!(bed.then(Input::Answered), NodeState::Up);
    assert_eq!(bed.why(), ("answered", "it answered"));
    assert!(bed.node.steps().is_empty(), "that is no change");
}

#[test]
fn a_dial_that_fails_takes_a_node_down_and_an_answer_brings_it_back() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::Unreachable("refused")), NodeState::Down);
    assert_eq!(bed.why(), ("unreachable", "refused"));
    assert_eq!(bed.then(Input::Unreachable("another")), NodeState::Down);
    assert_eq!(bed.why(), ("unreachable", "refused"), "that is no news");
    assert_eq!(bed.node.lasted(at(5)), Duration::from_millis(4));
    assert_eq!(bed.then(Input::Answered), NodeState::Up);
    let down = (NodeState::Up, NodeState::Down, ReasonKind::Unreachable);
    assert_eq!((bed.node.steps()[&down], bed.node.steps().len()), (1, 2));
}

#[test]
fn what_was_asked_before_the_last_news_does_not_turn_it() {
    let mut node = Machine::new(Rules::default(), at(0));
    let mut after = |input: Input<'_>, asked: u64, now: u64| {
        node.handle_dated(input, at(asked), at(now));
        node.state()
    };
    assert_eq!(after(Input::Unreachable("reset"), 1, 10), NodeState::Down);
    for late in [Input::Answered, Input::Accepted, Input::Refused] {
        assert_eq!(after(late, 9, 12), NodeState::Down, "it died while this was on its way");
    }
    assert_eq!(after(Input::Answered, 13, 14), NodeState::Up);
    assert_eq!(after(Input::Unreachable("late"), 12, 15), NodeState::Up, "it was not back then");
    assert_eq!(after(Input::Unreachable("refused"), 14, 16), NodeState::Down);
}

#[test]
fn doubt_makes_a_node_suspect_and_what_is_down_stays_down() {
    for doubt in [Input::Overtaken, Input::Silent, Input::Missed("late")] {
        let mut bed = Bed::new();
        assert_eq!(bed.then(doubt), NodeState::Suspect);
        assert_eq!(bed.then(Input::Answered), NodeState::Up, "a probe has decided");
        assert_eq!(bed.then(doubt), NodeState::Suspect);
        assert_eq!(bed.then(Input::Unreachable("no answer")), NodeState::Down);
        assert_eq!(bed.then(doubt), NodeState::Down);
    }
}

#[test]
fn doubts_that_prove_wrong_again_and_again_are_not_believed_for_a_while() {
    let mut bed = Bed::new();
    let mut believed = 0;
    for _ in 0..100 {
        believed += u32::from(bed.then(Input::Silent) == NodeState::Suspect);
        bed.then(Input::Answered);
    }
    assert_eq!(believed, WRONG_DOUBTS_MAX);
    bed.after(WRONG_DOUBTS_PAUSE);
    assert_eq!(bed.then(Input::Silent), NodeState::Suspect);
}

#[test]
fn where_more_than_one_answer_is_wanted_the_way_up_is_over_suspect() {
    let mut bed = Bed::with(Rules { rise: 3, ..Rules::default() });
    bed.then(Input::Unreachable("refused"));
    assert_eq!(bed.then(Input::Answered), NodeState::Suspect);
    assert_eq!(bed.node.reach(), Verdict::Doubtful, "who waits may go there");
    assert_eq!(bed.then(Input::Unreachable("refused")), NodeState::Down);
    let states: Vec<NodeState> = (0..3).map(|_| bed.then(Input::Answered)).collect();
    assert_eq!(states, [NodeState::Suspect, NodeState::Suspect, NodeState::Up]);
}

#[test]
fn checks_are_believed_after_their_counts_and_dials_do_not_speak_for_them() {
    let mut bed = Bed::new();
    let states: Vec<NodeState> = (0..3).map(|_| bed.then(Input::Check(0, Err("503")))).collect();
    assert_eq!(states, [NodeState::Suspect, NodeState::Suspect, NodeState::Down]);
    assert_eq!(bed.why(), ("check", "503"));
    assert_eq!(bed.then(Input::Answered), NodeState::Down);
    assert_eq!(bed.node.reach(), Verdict::Well);
    assert_eq!(bed.then(Input::Check(0, Ok(()))), NodeState::Suspect);
    assert_eq!(bed.then(Input::Check(0, Ok(()))), NodeState::Up);
    assert_eq!(bed.then(Input::Check(9, Err("there is no such check"))), NodeState::Up);
}

#[test]
fn the_worst_news_counts_and_its_reason_is_told() {
    let mut bed = Bed::new();
    bed.then(Input::Check(0, Err("page gone")));
    assert_eq!(bed.why(), ("check", "page gone"));
    bed.then(Input::Unreachable("refused"));
    assert_eq!(bed.why(), ("unreachable", "refused"));
    bed.then(Input::Answered);
    assert_eq!((bed.node.state(), bed.why()), (NodeState::Suspect, ("check", "page gone")));
}

#[test]
fn a_wish_goes_before_health_and_health_goes_on_beneath_it() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::Wish(Wish::Drain)), NodeState::Draining);
    assert_eq!(bed.then(Input::Unreachable("refused")), NodeState::Draining);
    assert_eq!(bed.node.reach(), Verdict::Gone);
    assert_eq!(bed.then(Input::Wish(Wish::InUse)), NodeState::Down);
    assert_eq!(bed.why(), ("unreachable", "refused"));
}

#[test]
fn a_node_that_is_removed_is_left_whatever_is_wished_of_it_and_is_as_before_when_it_returns() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::Listed(false)), NodeState::Draining);
    assert_eq!(bed.why(), ("removed", "it is no longer in the configuration"));
    assert_eq!(bed.then(Input::Wish(Wish::InUse)), NodeState::Draining);
    assert_eq!(bed.agent("ready"), NodeState::Draining);
    assert_eq!(bed.then(Input::Wish(Wish::Maintenance)), NodeState::Maintenance);
    assert_eq!(bed.then(Input::Wish(Wish::Drain)), NodeState::Draining);
    assert_eq!(bed.then(Input::Listed(true)), NodeState::Draining, "an operator drains it");
    assert_eq!(bed.why().0, "operator");
    bed.then(Input::Wish(Wish::InUse));
    assert_eq!(bed.then(Input::Answered), NodeState::Up);
}

#[test]
fn other_checks_begin_anew_and_those_that_are_the_same_are_believed_as_before() {
    let mut bed = Bed::new();
    for _ in 0..3 {
        bed.then(Input::Check(0, Err("503")));
    }
    let now = at(bed.now_ms);
    bed.node.set_rules(rules_with_eject_after(9), false, now);
    assert_eq!(bed.node.state(), NodeState::Down);
    bed.node.set_rules(rules_with_eject_after(9), true, now);
    assert_eq!(bed.node.state(), NodeState::Up);
}

fn rules_with_eject_after(eject_after: u32) -> Rules {
    Rules { eject_after, ..Rules::default() }
}

#[test]
fn a_node_that_leaves_maintenance_is_looked_at_first() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::Wish(Wish::Maintenance)), NodeState::Maintenance);
    assert_eq!(bed.then(Input::Wish(Wish::InUse)), NodeState::Suspect);
    assert_eq!(bed.then(Input::Answered), NodeState::Up);
}

#[test]
fn an_agent_takes_back_what_it_asked_for_and_nothing_else() {
    for (line, state) in
        [("drain", NodeState::Draining), ("maint", NodeState::Maintenance), ("0%", NodeState::Draining)]
    {
        let mut bed = Bed::new();
        assert_eq!(bed.agent(line), state);
        assert_eq!(bed.node.reason().kind, ReasonKind::Agent);
        assert_eq!(bed.agent("up"), state, "{line}: that speaks of health alone");
        bed.agent("up 100%");
        assert_eq!(bed.then(Input::Answered), NodeState::Up, "{line}");
        bed.agent(line);
        bed.then(Input::Wish(Wish::Drain));
        bed.agent("ready 100%");
        assert_eq!((bed.node.state(), bed.why().0), (NodeState::Draining, "operator"), "{line}");
    }
}

#[test]
fn an_operator_overrules_the_agent_until_it_says_something_else() {
    let mut bed = Bed::new();
    bed.agent("drain");
    assert_eq!(bed.then(Input::Wish(Wish::InUse)), NodeState::Up);
    assert_eq!(bed.agent("drain"), NodeState::Up, "it says what it said");
    assert_eq!(bed.agent("maint"), NodeState::Maintenance);
    assert_eq!(bed.then(Input::Wish(Wish::Drain)), NodeState::Draining, "the operator goes first");
}

#[test]
fn a_node_that_closes_its_sessions_goes_away_until_it_is_back() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::ClosedGoingAway(SessionId(1), 5)), NodeState::Up, "one may be sent away");
    assert_eq!(bed.then(Input::ClosedGoingAway(SessionId(2), 4)), NodeState::Draining);
    assert_eq!(bed.why(), ("leaving", "it closes its sessions as a server that goes away"));
    assert_eq!(bed.then(Input::Answered), NodeState::Draining, "it still listens");
    assert_eq!(bed.then(Input::Unreachable("refused")), NodeState::Draining);
    assert_eq!(bed.then(Input::Answered), NodeState::Up);
    assert_eq!(bed.part_percent(), 10, "as one that was down");
    // One that never goes is used again.
    bed.then(Input::ClosedGoingAway(SessionId(1), 0));
    assert_eq!(bed.after(Duration::from_secs(59)), NodeState::Draining);
    assert_eq!(bed.after(Duration::from_secs(1)), NodeState::Up);
}

#[test]
fn what_is_wished_goes_before_what_a_node_seems_to_do() {
    let mut bed = Bed::new();
    bed.then(Input::ClosedGoingAway(SessionId(1), 0));
    assert_eq!(bed.agent("drain"), NodeState::Draining);
    assert_eq!(bed.why().0, "agent");
    bed.agent("ready");
    assert_eq!((bed.node.state(), bed.why().0), (NodeState::Draining, "leaving"));
    assert_eq!(bed.then(Input::Wish(Wish::InUse)), NodeState::Up, "an operator knows better");
    bed.then(Input::Wish(Wish::Drain));
    bed.then(Input::ClosedGoingAway(SessionId(1), 0));
    assert_eq!(bed.why().0, "operator");
}

#[test]
fn an_agent_that_says_down_is_believed_at_once_and_weights_are_parts() {
    let mut bed = Bed::new();
    assert_eq!(bed.agent("down # disk full"), NodeState::Down);
    assert_eq!(bed.why(), ("check", "its agent says down: disk full"));
    assert_eq!(bed.agent("up"), NodeState::Up);
    bed.after(Duration::from_secs(60));
    assert_eq!(bed.agent("75%"), NodeState::Up);
    assert_eq!(bed.part_percent(), 75);
}

#[test]
fn a_node_that_refuses_clients_in_a_row_is_put_behind_the_others_for_a_while() {
    let mut bed = Bed::new();
    for _ in 0..4 {
        assert_eq!(bed.then(Input::Refused), NodeState::Up);
    }
    assert!(!bed.node.wants_ejection());
    assert_eq!(bed.then(Input::Refused), NodeState::Up, "the pool has to bear it");
    assert!(bed.node.wants_ejection());
    assert_eq!(bed.then(Input::Eject), NodeState::Suspect);
    assert_eq!(bed.why(), ("refusals", "it refuses clients"));
    assert_eq!(bed.then(Input::Answered), NodeState::Suspect, "it answers all the time");
    assert_eq!(bed.after(Duration::from_secs(10)), NodeState::Up);
}

#[test]
fn a_node_that_comes_and_goes_is_put_behind_the_others() {
    let mut bed = Bed::new();
    for _ in 0..3 {
        assert!(!bed.node.wants_ejection());
        bed.then(Input::Unreachable("refused"));
        bed.then(Input::Answered);
    }
    assert!(bed.node.wants_ejection());
    assert_eq!(bed.then(Input::Eject), NodeState::Suspect);
    assert_eq!(bed.why(), ("flapping", "it came and went"));
}

#[test]
fn a_node_that_was_down_gets_its_weight_back_slowly() {
    let mut bed = Bed::new();
    assert_eq!(bed.part_percent(), 100, "one that was always there has all of it");
    bed.then(Input::Overtaken);
    bed.then(Input::Answered);
    assert_eq!(bed.part_percent(), 100, "so has one that was only doubted");
    bed.then(Input::Unreachable("refused"));
    bed.then(Input::Answered);
    assert_eq!(bed.part_percent(), 10);
    bed.after(Duration::from_secs(15));
    assert_eq!(bed.part_percent(), 50);
    bed.after(Duration::from_secs(60));
    assert_eq!(bed.part_percent(), 100);
}

#[test]
fn media_stands_beside_the_state() {
    let mut bed = Bed::new();
    assert_eq!(bed.then(Input::MediaSilent(2)), NodeState::Up);
    assert_eq!(bed.node.media(), MediaState::NoMedia);
    bed.then(Input::Unreachable("refused"));
    assert_eq!(bed.then(Input::MediaFlows), NodeState::Down);
    assert_eq!(bed.node.media(), MediaState::Healthy);
}
