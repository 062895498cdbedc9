//! What must hold at the server after every outage.

use std::collections::BTreeMap;

use super::server::{Entry, Server};

/// Nobody broke the protocol: no reused id, no stop of nothing or of another's stream, no second
/// `connection` on a socket.
pub async fn assert_no_violation(server: &Server, what: &str) {
    let violations = server.violations().await;
    assert!(violations.is_empty(), "{what}: {violations:#?}");
}

pub fn count(journal: &[Entry], what: &str) -> usize {
    journal.iter().filter(|entry| entry.what == what).count()
}

/// In each session each name was asked for at most once, but for those that were refused.
pub fn assert_intents_once(journal: &[Entry], what: &str) {
    let mut asked: BTreeMap<(usize, u64, &str, &str), i32> = BTreeMap::new();
    for entry in journal {
        let Some(session) = entry.session else { continue };
        match &*entry.what {
            "publish" | "play" => {
                *asked.entry((entry.life, session, &entry.what, &entry.name)).or_default() += 1;
            }
            // The client stopped or lost it, or the server did not take it: it may be asked for again.
            "refused" => {
                for verb in ["publish", "play"] {
                    if let Some(count) = asked.get_mut(&(entry.life, session, verb, &entry.name)) {
                        *count -= 1;
                    }
                }
            }
            _ => {}
        }
    }
    let twice: Vec<_> = asked.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{what}: asked for more than once: {twice:?}\n{journal:#?}");
}
