//! Who may take over the name of a silent holder (rule R7).

use super::*;
use crate::{session::Identity, settings::Takeover};

fn handshake(user_agent: &str) -> Identity {
    Identity::of_handshake([Some(b"https://page.example".as_slice()), Some(user_agent.as_bytes())])
}

/// A session with this handshake and login, up to its `getUserData`.
fn member(id: u64, registry: &Arc<Registry>, takeover: Takeover, (user_agent, login): (&str, &str)) -> Bed {
    let mut bed = Bed::member(id, registry, |settings| settings.restore.takeover = takeover);
    bed.session = bed.session.with_identity(handshake(user_agent));
    bed.client(
        "connection",
        json!({"appKey": "a", "authToken": format!("t{id}"), "custom": {"login": login}}),
    );
    bed.server("getUserData", json!({"authToken": format!("u{id}"), "status": "ESTABLISHED"}));
    bed
}

/// Whether a newcomer gets the name of a holder whose client is silent for ten seconds.
fn taken_over(takeover: Takeover, newcomer: (&str, &str)) -> bool {
    let registry = Arc::new(Registry::default());
    let mut old = member(1, &registry, takeover, ("Browser/1", "ann")).publishing("a", "cam");
    let mut bed = member(2, &registry, takeover, newcomer);
    bed.client("publishStream", publish("b", "cam"));
    bed.server(
        "notifyStreamStatusEvent",
        status("b", "cam", "FAILED", Some("Stream name is already in use")),
    );
    let (to, mail) = bed.posts.remove(0);
    assert_eq!(to, SessionId(1));
    old.feed(Input::Mail(mail));
    old.pass(10_000);
    let (_, mail) = old.posts.remove(0);
    bed.feed(Input::Mail(mail));
    bed.pass(300);
    let ended = old.client_close == Some(Close::Abort);
    assert_eq!(bed.upstream_got("publishStream").len(), if ended { 2 } else { 1 });
    assert_eq!(
        bed.statuses().len(),
        usize::from(!ended),
        "whoever may not take over hears the server's word"
    );
    ended
}

#[test]
fn the_same_client_takes_over_from_its_dead_session() {
    assert!(taken_over(Takeover::SameClient, ("Browser/1", "ann")));
}

#[test]
fn knowing_a_name_gives_nobody_a_right_to_it() {
    assert!(!taken_over(Takeover::SameClient, ("Browser/1", "eve")), "another connection");
    assert!(!taken_over(Takeover::SameClient, ("Browser/2", "ann")), "another browser");
}

#[test]
fn the_setting_decides() {
    assert!(taken_over(Takeover::Anybody, ("Browser/2", "eve")));
    assert!(!taken_over(Takeover::Never, ("Browser/1", "ann")));
}

#[test]
fn a_stranger_gets_its_answer_at_once() {
    let registry = Arc::new(Registry::default());
    let mut old = member(1, &registry, Takeover::SameClient, ("Browser/1", "ann")).publishing("a", "cam");
    let mail = Mail::ProveAlive { name: "cam".into(), asker: SessionId(2), identity: handshake("Browser/2") };
    old.feed(Input::Mail(mail));
    assert_eq!(old.posts, [(SessionId(2), Mail::Proven { name: "cam".into(), alive: true })]);
}
