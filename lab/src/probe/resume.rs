//! `keepAlive` and tokens (protocol S7): what a token brings that somebody gave, and one that nobody gave.

use super::{
    Probe,
    greeting::{Established, NotEstablished, establish},
    messages::{MARK, UNKNOWN_TOKEN, Wishes},
};

/// Asks for a kept session, leaves it, and comes back with its token.
pub(super) async fn ask(probe: &Probe) {
    let Some((first, mark)) = first(probe).await else { return };
    let Some(token) = first.token.clone() else {
        probe.findings.miss("keep_alive_resume", "getUserData gives no token");
        first.session.close().await;
        return;
    };
    first.session.close().await;
    match come_back(probe, &token).await {
        Ok((back, other)) => {
            note(probe, &back, &token, &mark, &other);
            let newest = back.token.clone();
            back.session.close().await;
            end(probe, newest.as_deref()).await;
        }
        Err(NotEstablished::Refused { session, info }) => {
            probe.findings.see_with("keep_alive_resume", "refused", info);
            session.close().await;
        }
        Err(other) => probe.findings.miss("keep_alive_resume", other.text()),
    }
}

/// The session that is to be kept, and its mark. It brings a token that nobody gave, if the server takes that.
async fn first(probe: &Probe) -> Option<(Established, String)> {
    let mark = probe.mark();
    let wishes =
        Wishes { keep_alive: Some(true), token: Some(UNKNOWN_TOKEN), mark: &mark, ..Wishes::default() };
    match establish(probe, &wishes).await {
        Ok(established) => {
            probe.findings.see("stale_token", "new_session");
            return Some((established, mark));
        }
        Err(NotEstablished::Refused { session, info }) => {
            probe.findings.see_with("stale_token", "fail", info);
            session.close().await;
        }
        Err(NotEstablished::Ended(end)) => {
            probe.findings.see_with("stale_token", "closes", format!("by {}", end.text()));
        }
        Err(other) => probe.findings.miss("stale_token", other.text()),
    }
    match establish(probe, &Wishes { keep_alive: Some(true), mark: &mark, ..Wishes::default() }).await {
        Ok(established) => Some((established, mark)),
        Err(other) => {
            probe.findings.miss("keep_alive_resume", other.text());
            None
        }
    }
}

/// Connects with the token of a session that was left; the mark of the new connection beside it.
pub(super) async fn come_back(probe: &Probe, token: &str) -> Result<(Established, String), NotEstablished> {
    let other = probe.mark();
    let wishes = Wishes { keep_alive: Some(true), token: Some(token), mark: &other, ..Wishes::default() };
    let back = establish(probe, &wishes).await?;
    Ok((back, other))
}

/// Notes whether a session that was come back to is the same one again.
pub(super) fn note(probe: &Probe, back: &Established, token: &str, mark: &str, other: &str) {
    let same_token = back.token.as_deref() == Some(token);
    match (same_token, back.custom(MARK)) {
        (true, Some(said)) if said == mark => probe.findings.see("keep_alive_resume", "same_token"),
        // A server that takes any token that it is told gives it back as well.
        (true, _) if token != UNKNOWN_TOKEN => probe.findings.see("keep_alive_resume", "same_token"),
        (false, Some(said)) if said == mark => {
            probe.findings.see("keep_alive_resume", "new_token");
        }
        (_, Some(said)) if said == other => {
            let detail = "the fields of the new connection";
            probe.findings.see_with("keep_alive_resume", "off", detail);
        }
        _ => {
            let why = "getUserData does not say whose session it is";
            probe.findings.miss("keep_alive_resume", why);
        }
    }
}

/// Whether it is.
pub(super) fn is_resumed(back: &Established, token: &str, mark: &str) -> bool {
    back.token.as_deref() == Some(token) || back.custom(MARK) == Some(mark)
}

/// Takes the wish to be kept back, so that nothing is left behind: a server that keeps sessions may keep one that
/// was closed.
pub(super) async fn end(probe: &Probe, token: Option<&str>) {
    let Some(token) = token else { return };
    let mark = probe.mark();
    let wishes = Wishes { keep_alive: Some(false), token: Some(token), mark: &mark, ..Wishes::default() };
    if let Ok(established) = establish(probe, &wishes).await {
        established.session.close().await;
    }
}
