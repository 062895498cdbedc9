//! Sessions, the worst first, and what each of their streams does.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{bad, dim, doubtful, good};
use crate::{
    net::SessionFound,
    session::StreamSnapshot,
    top::{
        News,
        columns::{self, Cell, Column},
        news::is_well,
        text::{lasted, number},
    },
};

const COLUMNS: [Column; 6] = [
    Column::text("SESSION", 8, 0),
    Column::text("STATE", 10, 0),
    Column::number("OUTAGE", 7, 30),
    Column::text("NODE", 10, 70),
    Column::text("CLIENT", 15, 90),
    Column::text("STREAMS", 0, 40),
];

pub(super) fn title(news: &News, search: &str) -> String {
    let shown = number(news.sessions.len());
    if search.is_empty() {
        format!("Sessions, the worst first, {shown} of {}", number(news.status.sessions))
    } else {
        format!("Sessions with `{search}`, the worst first, {shown} shown")
    }
}

pub(super) fn draw(news: &News, chosen: Option<usize>, area: Rect, buffer: &mut Buffer) {
    let rows: Vec<Vec<Cell>> = news.sessions.iter().map(row).collect();
    columns::draw(buffer, area, &COLUMNS, &rows, chosen);
}

fn row(found: &SessionFound) -> Vec<Cell> {
    let session = &found.session;
    let state = match &*session.state {
        "up" => good(),
        "passed through" | "first" => dim(),
        "moving" => doubtful(),
        _ => bad(),
    };
    let outage = session.outage_ms.map(lasted).unwrap_or_default();
    let is_unwell = session.streams.iter().any(|stream| !is_well(stream));
    vec![
        (session.id.clone(), Style::new()),
        (session.state.to_string(), state),
        (outage, bad()),
        (found.node.clone(), Style::new()),
        (found.client.map(|client| client.to_string()).unwrap_or_default(), Style::new()),
        (streams(&session.streams), if is_unwell { doubtful() } else { Style::new() }),
    ]
}

/// Those that are not well first: a narrow screen cuts the end.
fn streams(streams: &[StreamSnapshot]) -> String {
    let mut order: Vec<&StreamSnapshot> = streams.iter().collect();
    order.sort_by_key(|stream| is_well(stream));
    order.into_iter().map(stream).collect::<Vec<_>>().join(" · ")
}

fn stream(stream: &StreamSnapshot) -> String {
    let StreamSnapshot { kind, name, state, media, .. } = stream;
    let Some(numbers) = &stream.numbers else { return format!("{kind} {name}: {state}, {media}") };
    // Only one side receives.
    let bits = numbers.client.bitrate_received.max(numbers.upstream.bitrate_received);
    let gap = numbers.gaps_ms.last().map_or_else(String::new, |gap| format!(", gap {}", lasted(*gap)));
    format!("{kind} {name}: {state}, {:.2} Mbit/s{gap}", bits as f64 / 1_000_000.0)
}
