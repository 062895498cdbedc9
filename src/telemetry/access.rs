//! The line of a session that ended: who, where, how long, how much, and what it lived through; as JSON or in a format
//! of the operator's, into the log or a file of its own.
//!
//! What comes from clients in it is cut and escaped: nobody writes a line, or a field, but we.

use std::{borrow::Cow, net::IpAddr, sync::OnceLock, time::Duration};

use serde_json::{Map, Value};
use tracing::info;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use crate::{
    config::{AccessField, AccessFormat, AccessPiece, AccessSettings, AccessTarget},
    milliseconds::ms,
    session::SessionId,
};

use super::{TelemetryError, anonymous, events::clean, queue::Queue, sink::LogFile};

/// Where a filter finds these lines.
const TARGET: &str = "holdfast::access";

/// A session that ended.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) session: SessionId,
    pub(crate) client: IpAddr,
    pub(crate) node: &'a str,
    pub(crate) app_key: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) client_messages: u64,
    pub(crate) client_bytes: u64,
    pub(crate) server_messages: u64,
    pub(crate) server_bytes: u64,
    pub(crate) published: u64,
    pub(crate) played: u64,
    pub(crate) outages: u64,
    pub(crate) worst_outage: Option<Duration>,
    pub(crate) worst_gap: Option<Duration>,
    pub(crate) close_code: Option<u16>,
    pub(crate) closed_by: &'static str,
    pub(crate) cause: &'a str,
}

impl Record<'_> {
    fn value(&self, field: AccessField) -> Value {
        match field {
            AccessField::Time => {
                let mut time = String::new();
                // Text takes whatever is written to it.
                let _ = SystemTime.format_time(&mut Writer::new(&mut time));
                time.into()
            }
            AccessField::Session => self.session.to_string().into(),
            AccessField::Client => anonymous::shown(self.client).to_string().into(),
            AccessField::Node => self.node.into(),
            AccessField::AppKey => self.app_key.map(clean).into(),
            AccessField::DurationMs => ms(self.duration).into(),
            AccessField::ClientMessages => self.client_messages.into(),
            AccessField::ClientBytes => self.client_bytes.into(),
            AccessField::ServerMessages => self.server_messages.into(),
            AccessField::ServerBytes => self.server_bytes.into(),
            AccessField::Published => self.published.into(),
            AccessField::Played => self.played.into(),
            AccessField::Outages => self.outages.into(),
            AccessField::WorstOutageMs => self.worst_outage.map(ms).into(),
            AccessField::WorstGapMs => self.worst_gap.map(ms).into(),
            AccessField::CloseCode => self.close_code.into(),
            AccessField::ClosedBy => self.closed_by.into(),
            AccessField::Cause => self.cause.into(),
        }
    }

    fn json(&self) -> String {
        let mut line = Map::new();
        line.insert("event".to_owned(), "session_end".into());
        for field in AccessField::ALL {
            line.insert(field.name().to_owned(), self.value(field));
        }
        Value::Object(line).to_string()
    }

    fn text(&self, pieces: &[AccessPiece]) -> String {
        let mut line = String::new();
        for piece in pieces {
            match piece {
                AccessPiece::Text(text) => line.push_str(text),
                AccessPiece::Field(field) => match self.value(*field) {
                    Value::Null => line.push('-'),
                    Value::String(text) if text.is_empty() => line.push('-'),
                    Value::String(text) => line.push_str(&escape(&text)),
                    number => line.push_str(&number.to_string()),
                },
            }
        }
        line
    }
}

/// What could end a line, a field or a quoted text, as `\xNN` of its bytes.
fn escape(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\\');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_plain(c) {
            escaped.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            escaped.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(escaped)
}

/// Where the lines of this process go.
#[derive(Debug)]
pub(super) struct Access {
    format: AccessFormat,
    /// None: into the log.
    file: Option<Queue>,
}

static ACCESS: OnceLock<Access> = OnceLock::new();

/// Sets it up for the process.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn init(settings: &AccessSettings) -> Result<(), TelemetryError> {
    let sink = match &settings.target {
        AccessTarget::Off => return Ok(()),
        AccessTarget::Log => None,
        AccessTarget::File(path) => {
            let opened = LogFile::open(path);
            Some(opened.map_err(|source| TelemetryError::Target { target: path.clone(), source })?)
        }
    };
    let file = sink.is_some().then(|| Queue::new(settings.queue_bytes_max, 0));
    let access = ACCESS.get_or_init(|| Access { format: settings.format.clone(), file });
    if let (Some(queue), Some(sink)) = (&access.file, sink) {
        queue.start("access", Box::new(sink))?;
    }
    Ok(())
}

/// The lines that wait for their file, if they have one.
pub(super) fn queue() -> Option<&'static Queue> {
    ACCESS.get()?.file.as_ref()
}

/// Whether anybody wants these lines.
pub(crate) fn is_wanted() -> bool {
    ACCESS.get().is_some()
}

/// Writes the line of a session that ended.
pub(crate) fn write(record: &Record<'_>) {
    let Some(access) = ACCESS.get() else { return };
    match (&access.file, &access.format) {
        (Some(queue), format) => queue.push(line(format, record).as_bytes()),
        (None, AccessFormat::Text { pieces, .. }) => {
            let session = record.session;
            info!(target: TARGET, event = "session_end", %session, "{}", record.text(pieces));
        }
        (None, AccessFormat::Json) => log(record),
    }
}

fn line(format: &AccessFormat, record: &Record<'_>) -> String {
    let mut line = match format {
        AccessFormat::Json => record.json(),
        AccessFormat::Text { pieces, .. } => record.text(pieces),
    };
    line.push('\n');
    line
}

/// As an event of the log, with its fields.
fn log(record: &Record<'_>) {
    info!(
        target: TARGET,
        event = "session_end",
        session = %record.session,
        client = %anonymous::shown(record.client),
        node = record.node,
        app_key = record.app_key.map(clean),
        duration_ms = ms(record.duration),
        client_messages = record.client_messages,
        client_bytes = record.client_bytes,
        server_messages = record.server_messages,
        server_bytes = record.server_bytes,
        streams_published = record.published,
        streams_played = record.played,
        outages = record.outages,
        worst_outage_ms = record.worst_outage.map(ms),
        worst_gap_ms = record.worst_gap.map(ms),
        close_code = record.close_code,
        closed_by = record.closed_by,
        cause = record.cause,
        "a session in full"
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::telemetry::LogCapture;

    fn record(app_key: &str) -> Record<'_> {
        Record {
            session: SessionId(7),
            client: IpAddr::from([203, 0, 113, 77]),
            node: "wcs-a",
            app_key: Some(app_key),
            duration: Duration::from_millis(1_500),
            client_messages: 3,
            client_bytes: 300,
            server_messages: 4,
            server_bytes: 400,
            published: 1,
            played: 2,
            outages: 1,
            worst_outage: Some(Duration::from_millis(900)),
            worst_gap: None,
            close_code: Some(1_000),
            closed_by: "client",
            cause: "client closed 1000",
        }
    }

    #[test]
    fn json_and_the_log_have_all_fields() {
        let record = record("app");
        let json: Value = serde_json::from_str(line(&AccessFormat::Json, &record).trim_end()).unwrap();
        for field in AccessField::ALL {
            assert!(json.get(field.name()).is_some(), "{}", field.name());
        }
        let capture = LogCapture::new();
        let guard = capture.on_this_thread();
        log(&record);
        drop(guard);
        let logged: Value = serde_json::from_str(&capture.text()).unwrap();
        for field in AccessField::ALL.into_iter().filter(|field| *field != AccessField::Time) {
            let name = field.name();
            let known = logged["fields"].get(name).unwrap_or(&Value::Null);
            assert_eq!(known, &json[name], "{name}");
        }
        assert_eq!(logged["fields"]["event"], "session_end");
    }

    #[test]
    fn a_format_has_what_it_asks_for_and_a_dash_where_nothing_is_known() {
        let format: AccessFormat =
            "{client} {node} \"{app_key}\" {duration_ms} {worst_gap_ms} {close_code}/{closed_by} {cause}"
                .parse()
                .unwrap();
        assert_eq!(
            line(&format, &record("app")),
            "203.0.113.77 wcs-a \"app\" 1500 - 1000/client client\\x20closed\\x201000\n"
        );
    }

    #[test]
    fn a_client_writes_neither_lines_nor_fields() {
        let evil = "a\" 9999\nforged \u{1b}[31m\\x00\u{2028}\u{85}";
        let format: AccessFormat = "{app_key} {duration_ms}".parse().unwrap();
        let text = line(&format, &record(evil));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert_eq!(text.matches(' ').count(), 1, "{text}");
        assert!(!text.contains(['"', '\u{1b}', '\u{2028}', '\u{85}']), "{text}");
        let json = line(&AccessFormat::Json, &record(evil));
        assert_eq!(json.matches('\n').count(), 1, "{json}");
        let long = "x".repeat(1_000_000);
        assert!(line(&AccessFormat::Json, &record(&long)).len() < 2_000);
        assert!(line(&format, &record(&long)).len() < 2_000);
    }
}
