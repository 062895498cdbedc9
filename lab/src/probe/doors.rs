//! Who is let in and who is not: refused connections, media sockets, the room application.

use std::time::Duration;

use serde_json::json;

use super::{
    Probe,
    error::End,
    greeting::{NotEstablished, establish},
    messages::{UNKNOWN_APP_KEY, UNKNOWN_TOKEN, Wishes},
    session::Session,
};

/// How long a refused socket is watched for its end.
const REFUSED_WATCH: Duration = Duration::from_millis(1_500);
/// How long a media socket is watched for its end.
const MEDIA_WATCH: Duration = Duration::from_millis(800);
/// How long the room application may take.
const ROOM_TIME_MAX: Duration = Duration::from_secs(2);

/// Asks for an application that no server has.
pub(super) async fn refusal(probe: &Probe) {
    let mark = probe.mark();
    let wishes = Wishes { app_key: Some(UNKNOWN_APP_KEY), mark: &mark, ..Wishes::default() };
    match establish(probe, &wishes).await {
        Ok(established) => {
            let why = "the server takes an appKey that it cannot know, so nothing was refused";
            probe.findings.miss("connect_refusal", why);
            probe.findings.miss("connect_refusal_info", why);
            established.session.close().await;
        }
        Err(NotEstablished::Refused { session, info }) => refused(probe, session, &info).await,
        Err(NotEstablished::Ended(end)) => {
            let detail = format!("without `fail`, by {}", end.text());
            probe.findings.see_with("connect_refusal", "closes", detail);
            probe.findings.miss("connect_refusal_info", "the server says none");
        }
        Err(other) => probe.findings.miss("connect_refusal", other.text()),
    }
}

/// What follows on a `fail`.
pub(super) async fn refused(probe: &Probe, session: Session, info: &str) {
    probe.findings.see("connect_refusal_info", info);
    match session.end(probe.limit(REFUSED_WATCH)).await {
        Some((end, _)) => {
            probe.findings.see_with("connect_refusal", "closes", format!("by {}", end.text()));
        }
        None => {
            let watched = format!("watched for {} ms", REFUSED_WATCH.as_millis());
            probe.findings.see_with("connect_refusal", "stays_open", watched);
        }
    }
    session.close().await;
}

/// Opens media sockets with the token of a session and with one that nobody gave (protocol S2.9).
pub(super) async fn media_sockets(probe: &Probe, token: Option<&str>) {
    match token {
        None => probe.findings.miss("media_socket", "getUserData gives no token"),
        Some(token) => match media_socket(probe, token).await {
            Err(why) => probe.findings.miss("media_socket", why),
            Ok(None) => probe.findings.see("media_socket", "accepted"),
            Ok(Some(end)) => probe.findings.see_with("media_socket", "closed", format!("by {}", end.text())),
        },
    }
    match media_socket(probe, UNKNOWN_TOKEN).await {
        Err(why) => probe.findings.miss("media_socket_stranger", why),
        Ok(None) => {
            let watched = format!("watched for {} ms", MEDIA_WATCH.as_millis());
            probe.findings.see_with("media_socket_stranger", "stays_open", watched);
        }
        Ok(Some(end)) => {
            probe.findings.see_with("media_socket_stranger", "closed", format!("by {}", end.text()));
        }
    }
}

/// How a media socket ends within [`MEDIA_WATCH`]; none: it does not.
async fn media_socket(probe: &Probe, token: &str) -> Result<Option<End>, String> {
    let socket = probe.open().await.map_err(|error| error.to_string())?;
    socket.say("connectMediaTransport", &json!({"authToken": token})).await;
    let end = socket.end(probe.limit(MEDIA_WATCH)).await.map(|(end, _)| end);
    socket.close().await;
    Ok(end)
}

/// Joins a room of its own and leaves it (protocol S2.7).
pub(super) async fn room(probe: &Probe) {
    let login = format!("holdfast-probe-{}", uuid::Uuid::new_v4().simple());
    let mark = probe.mark();
    let wishes = Wishes { app_key: Some("roomApp"), mark: &mark, login: Some(&login), ..Wishes::default() };
    let session = match establish(probe, &wishes).await {
        Ok(established) => established.session,
        Err(NotEstablished::Refused { session, info }) => {
            probe.findings.see_with("room_app", "refused", info);
            session.close().await;
            return;
        }
        Err(other) => {
            probe.findings.miss("room_app", other.text());
            return;
        }
    };
    let room = format!("{login}-room");
    match command(probe, &session, "join", &room).await {
        None => {
            let waited = format!("no answer within {} s", ROOM_TIME_MAX.as_secs());
            probe.findings.see_with("room_app", "silent", waited);
        }
        Some((status, _)) if status == "ACCEPTED" => {
            probe.findings.see("room_app", "answers");
            let _ = command(probe, &session, "leave", &room).await;
        }
        Some((_, info)) => probe.findings.see_with("room_app", "fails", info),
    }
    session.close().await;
}

/// Sends a room command; status and info of its answer.
async fn command(probe: &Probe, session: &Session, command: &str, room: &str) -> Option<(String, String)> {
    let operation = uuid::Uuid::new_v4().to_string();
    let payload = json!({"command": command, "options": {"name": room}});
    session.say("sendData", &json!({"operationId": operation, "payload": payload})).await;
    let answer = session
        .next(probe.limit(ROOM_TIME_MAX), 0, |said| {
            said.name == "DataStatusEvent" && said.field("operationId") == Some(&operation)
        })
        .await?;
    let text = |key| answer.field(key).unwrap_or_default().to_owned();
    Some((text("status"), text("info")))
}
