//! What takes time: how long a silent client, a kept session and the name of a lost publisher are kept.

use std::time::{Duration, Instant};

use super::{
    Probe,
    greeting::{Established, establish},
    messages::Wishes,
    resume,
    session::Session,
    stream::Stream,
    streams::publisher,
};

/// What is left for cleaning up before the end of a run.
const RESERVE: Duration = Duration::from_secs(4);
/// Between two tries to take a name, at first and at most.
const TRY_INTERVAL: Duration = Duration::from_millis(250);
const TRY_INTERVAL_MAX: Duration = Duration::from_millis(2_500);
/// How long after a loss its stream is looked for: the server has to see the loss first.
const LOSS_SEEN: Duration = Duration::from_millis(300);

/// Leaves pings unanswered until the server ends the session.
pub(super) async fn missed_pongs(probe: &Probe) {
    let mark = probe.mark();
    let Ok(Established { session, .. }) =
        establish(probe, &Wishes { mark: &mark, ..Wishes::default() }).await
    else {
        return probe.findings.miss("missed_pongs", "no session to be silent in");
    };
    session.set_answers_pings(false);
    let begun = Instant::now();
    let left = probe.deadline.saturating_duration_since(begun).saturating_sub(RESERVE);
    let end = session.end(left).await;
    let pings = session.look(|heard| heard.times("ping").len());
    let waited = begun.elapsed().as_secs();
    match end {
        Some((end, _)) if pings > 0 => {
            let pings = u64::try_from(pings).unwrap_or(u64::MAX);
            probe.findings.measure("missed_pongs", pings, format!("ended after {waited} s"));
            probe.findings.see_with("missed_pongs_end", end.position(), format!("by {}", end.text()));
        }
        Some((end, _)) => {
            let why = format!("the server ended it after {waited} s by {} without a ping", end.text());
            probe.findings.miss("missed_pongs", why);
        }
        None if pings == 0 => probe.findings.miss("missed_pongs", "the server sends no `ping`"),
        None => {
            probe.findings.miss("missed_pongs", format!("not ended after {pings} pings in {waited} s"));
        }
    }
    session.set_answers_pings(true);
    session.close().await;
}

/// Leaves a kept session and comes back to it after a while, and after a longer one.
pub(super) async fn kept(probe: &Probe) {
    const KEY: &str = "keep_alive_linger_ms";
    if !["same_token", "new_token"].iter().any(|position| probe.findings.is("keep_alive_resume", position)) {
        return probe.findings.miss(KEY, "no session was resumed");
    }
    let mark = probe.mark();
    let wishes = Wishes { keep_alive: Some(true), mark: &mark, ..Wishes::default() };
    let Ok(Established { mut session, token: Some(mut token), .. }) = establish(probe, &wishes).await else {
        return probe.findings.miss(KEY, "no session that is kept");
    };
    let mut longest = None;
    for after in probe.settings.kept_looks {
        session.reset().await;
        let left = Instant::now();
        let time_is_up = probe.deadline.checked_sub(RESERVE).unwrap_or(probe.deadline);
        tokio::time::sleep_until((left + after).min(time_is_up).into()).await;
        let away = left.elapsed();
        let Ok((back, _)) = resume::come_back(probe, &token).await else {
            return match longest {
                Some(longest) => probe.findings.measure_time(KEY, longest, "or more"),
                None => probe.findings.miss(KEY, "nobody could come back"),
            };
        };
        let resumed = resume::is_resumed(&back, &token, &mark);
        token = back.token.clone().unwrap_or(token);
        session = back.session;
        if !resumed {
            let detail = format!("no more after {} ms", away.as_millis());
            probe.findings.measure_time(KEY, longest.unwrap_or_default(), detail);
            longest = None;
            break;
        }
        longest = Some(away);
    }
    if let Some(longest) = longest {
        probe.findings.measure_time(KEY, longest, "or more");
    }
    session.close().await;
    resume::end(probe, Some(&token)).await;
}

/// How a publisher goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Reset,
    Close,
}

/// Loses a publisher in two ways and sees how long its name stays taken.
pub(super) async fn names(probe: &Probe, name: &str) {
    let other = format!("{name}-2");
    tokio::join!(
        taken(probe, name, Loss::Reset, "name_after_loss_ms"),
        taken(probe, &other, Loss::Close, "name_after_close_ms"),
    );
}

async fn session(probe: &Probe) -> Option<Session> {
    let mark = probe.mark();
    let wishes = Wishes { mark: &mark, ..Wishes::default() };
    establish(probe, &wishes).await.ok().map(|established| established.session)
}

async fn taken(probe: &Probe, name: &str, loss: Loss, key: &'static str) {
    let (Some(first), Some(second)) = (session(probe).await, session(probe).await) else {
        return probe.findings.miss(key, "no sessions for it");
    };
    let Some(client) = publisher(probe).await else {
        return probe.findings.miss(key, "no media can be made here");
    };
    let stream = Stream::start(probe, &first, (true, name, "WebRTC"), client.offer(), Some(&client)).await;
    if !stream.is_accepted() {
        probe.findings.miss(key, format!("the publish of {name} was not accepted"));
        first.close().await;
        return second.close().await;
    }
    match loss {
        Loss::Reset => first.reset().await,
        Loss::Close => first.close().await,
    }
    let lost = Instant::now();
    drop(client);
    let plays = if loss == Loss::Reset { plays(probe, &second, name).await } else { None };
    let refused = take(probe, &second, name, key, lost).await;
    if loss == Loss::Reset {
        match (plays, refused) {
            (Some(true), Some(true)) => probe.findings.see("streams_after_loss", "go_on"),
            (Some(_), _) => probe.findings.see("streams_after_loss", "end"),
            (None, _) => probe.findings.miss("streams_after_loss", "the server did not answer a play of it"),
        }
    }
    second.close().await;
}

/// Whether a name can be played a moment after its publisher was lost.
async fn plays(probe: &Probe, session: &Session, name: &str) -> Option<bool> {
    tokio::time::sleep(LOSS_SEEN).await;
    let client = probe.play_offer().await?;
    let stream = Stream::start(probe, session, (false, name, "WebRTC"), client.offer(), None).await;
    let accepted = stream.is_accepted();
    if !accepted && stream.refused.is_none() {
        return None;
    }
    let _ = stream.stop(probe, session).await;
    Some(accepted)
}

/// Publishes a name again and again until it is free; whether it was taken at first.
async fn take(
    probe: &Probe,
    session: &Session,
    name: &str,
    key: &'static str,
    lost: Instant,
) -> Option<bool> {
    let client = publisher(probe).await?;
    let mut interval = TRY_INTERVAL;
    let mut tries = 0_u32;
    loop {
        let tried = Instant::now();
        let stream = Stream::start(probe, session, (true, name, "WebRTC"), client.offer(), None).await;
        if stream.is_accepted() {
            let _ = stream.stop(probe, session).await;
            let took = if tries == 0 { Duration::ZERO } else { tried.saturating_duration_since(lost) };
            let detail =
                if tries == 0 { "the first try had it".to_owned() } else { format!("{tries} tries before") };
            probe.findings.measure_time(key, took, detail);
            return Some(tries > 0);
        }
        let info = stream.refusal().and_then(|(_, info)| info).map(str::to_owned);
        if stream.refused.is_none() || session.ended().is_some() {
            probe.findings.miss(key, "the server did not answer a publish of it");
            return None;
        }
        tries += 1;
        if probe.deadline.saturating_duration_since(Instant::now()) < RESERVE + interval {
            let after = lost.elapsed().as_secs();
            let info = info.unwrap_or_default();
            probe.findings.miss(key, format!("still refused after {after} s: {info}"));
            return Some(true);
        }
        tokio::time::sleep(interval).await;
        interval = (interval * 2).min(TRY_INTERVAL_MAX);
    }
}
