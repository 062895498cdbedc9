//! A log line as one JSON object. Unlike the formatter of the library it writes lists as lists: a field whose
//! text is a JSON array, as `?vec_of_numbers` writes it, is put in as it is.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// `timestamp`, `level`, the fields of the event, `target`.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let meta = event.metadata();
        let mut line = Fields(Map::new());
        line.0.insert("timestamp".to_owned(), Value::String(timestamp));
        line.0.insert("level".to_owned(), Value::String(meta.level().to_string()));
        event.record(&mut line);
        line.0.insert("target".to_owned(), Value::String(meta.target().to_owned()));
        writeln!(out, "{}", Value::Object(line.0))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let list = (field.name() != "message" && text.starts_with('['))
            .then(|| serde_json::from_str::<Vec<Value>>(&text).ok())
            .flatten();
        self.put(field, list.map_or(Value::String(text), Value::Array));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::LogCapture;

    #[test]
    fn numbers_are_numbers_and_lists_are_lists() {
        let capture = LogCapture::new();
        let layer = tracing_subscriber::fmt::layer().event_format(JsonLine).with_writer(capture.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let (gaps_ms, names): (Vec<u64>, Vec<String>) = (vec![12, 300], vec!["a \"b\"".to_owned()]);
        tracing::info!(event = "x", count = 7_u64, ?gaps_ms, ?names, odd = ?[Some(1)], part = 0.5, on = true, "[word]");
        drop(guard);
        let line: Value = serde_json::from_str(&capture.text()).unwrap();
        assert_eq!((&line["count"], &line["part"], &line["on"]), (&7.into(), &0.5.into(), &true.into()));
        assert_eq!((&line["gaps_ms"][1], &line["names"][0]), (&300.into(), &"a \"b\"".into()));
        assert_eq!((&line["odd"], &line["message"]), (&"[Some(1)]".into(), &"[word]".into()));
        assert_eq!((&line["level"], &line["event"]), (&"INFO".into(), &"x".into()));
        assert!(line["timestamp"].is_string() && line["target"].as_str().unwrap().contains("holdfast"));
    }
}
