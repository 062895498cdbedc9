//! `/v1/recordings`: what sessions say and decide is written down for an operator, without secrets, bounded in time and
//! bytes. For those alone who may change things, reading included: a recording says more than the present state.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{Desk, access::Allowed},
    Answer, Refused, read,
};
use crate::{
    net::{RecordBounds, RecordOrder, RecordRefused, Recorded, RecordedLines, RecordingStatus},
    session::SessionId,
    telemetry::events,
};

/// How long a recording lasts at most, and where nobody says otherwise.
const SECONDS_MAX: u64 = 86_400;
const SECONDS_DEFAULT: u64 = 60;
/// The fewest bytes that make sense: the first line of a session has its settings.
const BYTES_MIN: usize = 16 * 1024;
/// Longest name of a stream.
const STREAM_BYTES_MAX: usize = 1_024;
/// How long an answer waits for news, unless the time of a request is shorter.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is to be recorded, and how much of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// The id of a session that lives.
    session: Option<String>,
    /// The name of a stream.
    stream: Option<String>,
    /// The address of clients.
    address: Option<IpAddr>,
    /// Seconds at most.
    seconds_max: Option<u64>,
    /// Bytes at most. Default: a quarter of what all may have.
    bytes_max: Option<usize>,
    /// Placeholders for names and addresses as well.
    anonymise: bool,
}

impl Wanted {
    fn order(self, bounds: RecordBounds) -> Result<RecordOrder, Refused> {
        let recorded = match (self.session, self.stream, self.address) {
            (Some(session), None, None) => Recorded::Session(session_of(&session)?),
            (None, Some(stream), None) if (1..=STREAM_BYTES_MAX).contains(&stream.len()) => {
                Recorded::Stream(stream)
            }
            (None, Some(_), None) => {
                return Err(Refused::bad_request(format!(
                    "stream: expected a name of 1 to {STREAM_BYTES_MAX} bytes"
                )));
            }
            (None, None, Some(address)) => Recorded::Address(address.to_canonical()),
            _ => return Err(Refused::bad_request("expected one of session, stream and address")),
        };
        let seconds = self.seconds_max.unwrap_or(SECONDS_DEFAULT);
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(Refused::bad_request(format!("seconds_max: expected 1 to {SECONDS_MAX}")));
        }
        let bytes_max = self.bytes_max.unwrap_or(bounds.bytes_max / 4).max(BYTES_MIN.min(bounds.bytes_max));
        if self.bytes_max.is_some_and(|bytes| bytes < BYTES_MIN || bytes > bounds.bytes_max.max(BYTES_MIN)) {
            let why =
                format!("bytes_max: expected {BYTES_MIN} to {} (admin.record_bytes_max)", bounds.bytes_max);
            return Err(Refused::bad_request(why));
        }
        let time_max = Duration::from_secs(seconds);
        Ok(RecordOrder { recorded, time_max, bytes_max, is_anonymous: self.anonymise })
    }
}

fn session_of(id: &str) -> Result<SessionId, Refused> {
    let number = id.strip_prefix('s').and_then(|number| number.parse().ok());
    number.map(SessionId).ok_or_else(|| Refused::bad_request("session: expected an id such as s12"))
}

/// All recordings.
#[derive(Debug, Serialize)]
pub(super) struct Recordings {
    recordings: Vec<RecordingStatus>,
}

pub(super) async fn all(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
) -> Answer<Recordings> {
    may_read(allowed)?;
    Ok(Json(Recordings { recordings: desk.proxy()?.recordings() }))
}

pub(super) async fn begin(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
    body: Bytes,
) -> Result<(StatusCode, Json<RecordingStatus>), Refused> {
    let proxy = desk.proxy()?;
    let bounds = {
        let settings = &desk.board.now().settings;
        RecordBounds { count_max: settings.recordings_max, bytes_max: settings.record_bytes_max }
    };
    let order = read::<Wanted>(&body)?.order(bounds)?;
    let begun = proxy.record(order, bounds);
    events::admin_action("record", "", &allowed, begun.is_ok());
    let status = begun.map_err(|refused| match refused {
        RecordRefused::NoSession => Refused::not_found(refused.to_string()),
        RecordRefused::Off | RecordRefused::Count | RecordRefused::Bytes => {
            Refused::conflict(refused.to_string())
        }
    })?;
    Ok((StatusCode::CREATED, Json(status)))
}

/// From which line on.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Since {
    from: usize,
}

pub(super) async fn lines(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u64>,
    Extension(allowed): Extension<Allowed>,
    from: Result<Query<Since>, QueryRejection>,
) -> Answer<RecordedLines> {
    may_read(allowed)?;
    let Query(Since { from }) = from.map_err(|error| Refused::bad_request(error.body_text()))?;
    let patience = PATIENCE.min(desk.board.now().settings.request_timeout / 2);
    let lines = desk.proxy()?.recorded_lines(id, from, patience).await;
    lines.map(Json).ok_or_else(|| no_recording(id))
}

pub(super) async fn forget(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<u64>,
    Extension(allowed): Extension<Allowed>,
) -> Result<StatusCode, Refused> {
    let is_forgotten = desk.proxy()?.forget_recording(id);
    events::admin_action("record end", "", &allowed, is_forgotten);
    if is_forgotten { Ok(StatusCode::NO_CONTENT) } else { Err(no_recording(id)) }
}

fn no_recording(id: u64) -> Refused {
    Refused::not_found(format!("there is no recording {id}; GET /v1/recordings lists them"))
}

fn may_read(allowed: Allowed) -> Result<(), Refused> {
    if allowed == Allowed::Loopback {
        let why = "recordings take the token (Authorization: Bearer …) or the Unix socket (admin.socket)";
        return Err(Refused(StatusCode::FORBIDDEN, why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOUNDS: RecordBounds = RecordBounds { count_max: 4, bytes_max: 1024 * 1024 };

    fn order(text: &str) -> Result<RecordOrder, String> {
        let wanted = read::<Wanted>(text.as_bytes()).map_err(|refused| refused.1)?;
        wanted.order(BOUNDS).map_err(|refused| refused.1)
    }

    #[test]
    fn one_of_three_is_recorded_within_bounds() {
        let stream = order(r#"{"stream":"cam1"}"#).unwrap();
        assert_eq!((stream.recorded, stream.bytes_max), (Recorded::Stream("cam1".to_owned()), 256 * 1024));
        assert_eq!(stream.time_max, Duration::from_secs(60));
        let address =
            order(r#"{"address":"::ffff:10.0.0.1","seconds_max":5,"bytes_max":16384,"anonymise":true}"#);
        let address = address.unwrap();
        assert_eq!(address.recorded, Recorded::Address("10.0.0.1".parse().unwrap()));
        assert!(address.is_anonymous && address.bytes_max == 16_384);
        assert_eq!(order(r#"{"session":"s7"}"#).unwrap().recorded, Recorded::Session(SessionId(7)));
    }

    #[test]
    fn what_is_out_of_bounds_is_told() {
        for (wrong, says) in [
            ("{}", "one of session, stream and address"),
            (r#"{"stream":"a","session":"s1"}"#, "one of"),
            (r#"{"stream":""}"#, "1 to 1024"),
            (r#"{"session":"7"}"#, "s12"),
            (r#"{"address":"here"}"#, "address"),
            (r#"{"stream":"a","seconds_max":0}"#, "1 to 86400"),
            (r#"{"stream":"a","seconds_max":86401}"#, "1 to 86400"),
            (r#"{"stream":"a","bytes_max":16383}"#, "16384 to 1048576"),
            (r#"{"stream":"a","bytes_max":1048577}"#, "16384 to 1048576"),
            (r#"{"stream":"a","colour":"red"}"#, "colour"),
        ] {
            let why = order(wrong).unwrap_err();
            assert!(why.contains(says), "{wrong}: {why}");
        }
    }
}
