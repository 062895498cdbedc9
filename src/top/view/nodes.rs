//! The nodes: what each is used for and why, what is there, and how far a drain is.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::{bad, dim, doubtful, good};
use crate::{
    config::DEFAULT_POOL,
    drain::{Progress, Stage},
    net::DrainStatus,
    top::{
        News,
        columns::{self, Cell, Column},
        news::NodeNews,
        text::{lasted, number},
    },
};

const COLUMNS: [Column; 7] = [
    Column::text("NODE", 12, 0),
    Column::text("STATE", 11, 0),
    Column::number("FOR", 7, 44),
    Column::number("SESS", 6, 36),
    Column::number("LOAD", 6, 66),
    Column::number("DIAL P99", 8, 58),
    Column::text("WHY", 0, 0),
];
/// Columns of the bar of a drain.
const BAR_COLUMNS: usize = 6;

pub(super) fn title(news: &News) -> String {
    let usable = news.nodes.iter().filter(|node| node.status.state == "up").count();
    format!("Nodes, {usable} of {} up", news.nodes.len())
}

pub(super) fn draw(news: &News, chosen: Option<usize>, area: Rect, buffer: &mut Buffer) {
    let rows: Vec<Vec<Cell>> = news.nodes.iter().map(row).collect();
    columns::draw(buffer, area, &COLUMNS, &rows, chosen);
}

fn row(node: &NodeNews) -> Vec<Cell> {
    let status = &node.status;
    let pool = if status.pool == DEFAULT_POOL || status.pool.is_empty() { "" } else { &status.pool };
    let slash = if pool.is_empty() { "" } else { "/" };
    let figures = &status.figures;
    // Whatever it tells of itself: how busy its machine is, else how many are there.
    let load = figures.load_average.map(|load| format!("{load:.2}"));
    let load = load.or_else(|| figures.connections.map(|count| format!("{count:.0}")));
    let p99 =
        status.dials.p99_ms.map(|ms| if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") });
    let none = || "-".to_owned();
    vec![
        (format!("{pool}{slash}{}", status.name), Style::new()),
        (status.state.to_string(), state_style(&status.state)),
        (lasted(status.for_ms), Style::new()),
        (number(status.sessions), Style::new()),
        (load.unwrap_or_else(none), Style::new()),
        (p99.unwrap_or_else(none), Style::new()),
        why(node),
    ]
}

fn state_style(state: &str) -> Style {
    match state {
        "up" => good(),
        "suspect" => doubtful(),
        "down" => bad(),
        _ => Style::new().fg(Color::Blue),
    }
}

/// How far its drain is while that goes on, else why it is in its state.
fn why(node: &NodeNews) -> Cell {
    if let Some(drain) = node.drain.as_ref().filter(|drain| !drain.progress.stage.is_over()) {
        return (drain_words(drain), Style::new().fg(Color::Blue));
    }
    let backup = if node.status.backup { "backup · " } else { "" };
    let media = if node.status.media == "no_media" { "no media · " } else { "" };
    (format!("{backup}{media}{}", node.status.reason), dim())
}

fn drain_words(drain: &DrainStatus) -> String {
    let Progress { sessions, remaining, rate, remaining_s, stage, .. } = drain.progress;
    let gone = sessions.saturating_sub(remaining);
    let full = gone.saturating_mul(BAR_COLUMNS).checked_div(sessions).unwrap_or(BAR_COLUMNS);
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_COLUMNS.saturating_sub(full)));
    let counts = format!("{bar} {} of {}", number(gone), number(sessions));
    if stage == Stage::Waiting {
        let left =
            drain.progress.left.iter().map(|left| format!("{} ({})", number(left.sessions), left.reason));
        return format!("{counts}, waits for {}", left.collect::<Vec<_>>().join(", "));
    }
    let rest =
        remaining_s.map_or_else(String::new, |s| format!(", {} left", lasted(s.saturating_mul(1_000))));
    format!("{counts}{rest}, {rate:.0}/s")
}
