//! The last outages that are over, and what came of them.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{bad, dim, good};
use crate::{
    telemetry::past::PastOutage,
    top::{
        News,
        columns::{self, Cell, Column},
        text::{lasted, number},
    },
};

const COLUMNS: [Column; 8] = [
    Column::number("AGO", 7, 0),
    Column::text("NODE", 14, 0),
    Column::number("LASTED", 7, 34),
    Column::number("SESSIONS", 8, 50),
    Column::number("BACK", 7, 58),
    Column::number("LOST", 7, 42),
    Column::number("GAP P99", 7, 66),
    Column::text("CAUSE", 0, 80),
];

pub(super) fn title(news: &News) -> String {
    format!("Last outages, {}", news.outages.len())
}

pub(super) fn draw(news: &News, now_ms: u64, chosen: Option<usize>, area: Rect, buffer: &mut Buffer) {
    let rows: Vec<Vec<Cell>> = news.outages.iter().map(|outage| row(outage, now_ms)).collect();
    columns::draw(buffer, area, &COLUMNS, &rows, chosen);
}

fn row(outage: &PastOutage, now_ms: u64) -> Vec<Cell> {
    let sum = &outage.summary;
    let plain = Style::new();
    // Bad news of any kind.
    let lost = [sum.sessions_given_up, sum.streams_reported, sum.rooms_lost]
        .into_iter()
        .fold(0, u64::saturating_add);
    let gap = if sum.gap_p99_ms > 0 { lasted(sum.gap_p99_ms) } else { "-".to_owned() };
    vec![
        (lasted(now_ms.saturating_sub(outage.began_unix_ms)), plain),
        (outage.node.clone(), plain),
        (lasted(sum.lasted_ms), plain),
        (number(sum.sessions), plain),
        (number(sum.sessions_restored), good()),
        (number(lost), if lost > 0 { bad() } else { plain }),
        (gap, plain),
        (sum.cause.clone(), dim()),
    ]
}
