//! The first lines: which proxy this is, what it has, whether it answers, and how many sessions were in an outage.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    widgets::{Sparkline, Widget as _},
};

use super::{bad, dim, doubtful};
use crate::net::LeaveStage;
use crate::top::{
    News,
    model::Model,
    text::{clock, cut, lasted, number},
};

const MIB: usize = 1024 * 1024;
/// With fewer rows than this there is no picture of the past.
const ROWS_FOR_HISTORY: u16 = 16;
/// Columns before that picture.
const LABEL_COLUMNS: u16 = 12;

/// How many rows it takes of a screen of this size.
pub(super) fn rows(model: &Model, area: Rect) -> u16 {
    let away = u16::from(model.away().is_some());
    2 + away + u16::from(has_history(model, area))
}

fn has_history(model: &Model, area: Rect) -> bool {
    area.height >= ROWS_FOR_HISTORY && model.history.len() > 1
}

pub(super) fn draw(model: &Model, now_ms: u64, area: Rect, buffer: &mut Buffer) {
    let mut rows = area.rows();
    let mut next = || rows.next();
    if let Some(row) = next() {
        title(model, now_ms, row, buffer);
    }
    if let Some(away) = model.away()
        && let Some(row) = next()
    {
        let why = away.why.lines().next().unwrap_or_default();
        // Whom it is about stands in the line above.
        let why = why.strip_prefix(&format!("no answer from {}: ", model.place)).unwrap_or(why);
        let since = now_ms.saturating_sub(away.since_ms);
        let text = format!(" AWAY for {}, since {} UTC: {why}", lasted(since), clock(away.since_ms));
        put(&text, bad(), row, buffer);
    }
    if let Some(row) = next() {
        match &model.news {
            Some(news) => counts(news, row, buffer),
            None if model.away().is_some() => put(" It is asked again every second.", dim(), row, buffer),
            None => put(" It is being asked.", dim(), row, buffer),
        }
    }
    if let Some(row) = next() {
        history(model, row, buffer);
    }
}

fn title(model: &Model, now_ms: u64, row: Rect, buffer: &mut Buffer) {
    let version = model.news.as_ref().map_or_else(String::new, |news| {
        format!(" {} · up {}", news.status.version, lasted(news.status.uptime_s.saturating_mul(1_000)))
    });
    let back = model.away.as_ref().and_then(|away| Some((away.until_ms?, away.since_ms)));
    let back = back.map_or_else(String::new, |(until_ms, since_ms)| {
        format!(" · was away {} until {}", lasted(until_ms.saturating_sub(since_ms)), clock(until_ms))
    });
    let text = format!(" holdfast{version} · {}{back}", model.place);
    put(&text, Style::new().add_modifier(Modifier::BOLD), row, buffer);
    let now = format!("  {} UTC ", clock(now_ms));
    let columns = u16::try_from(now.len()).unwrap_or(u16::MAX);
    let taken = unicode_width::UnicodeWidthStr::width(&*cut(&text, usize::from(row.width)));
    if taken + usize::from(columns) <= usize::from(row.width) {
        buffer.set_string(row.right().saturating_sub(columns), row.y, now, dim());
    }
}

/// What there is, the most important first: a narrow screen cuts the end.
fn counts(news: &News, row: Rect, buffer: &mut Buffer) {
    let status = &news.status;
    let mut parts = vec![
        (count(status.sessions, "session"), Style::new()),
        (
            format!("{} in outage", number(status.outages)),
            if status.outages > 0 { bad() } else { Style::new() },
        ),
        (count(status.streams, "stream"), Style::new()),
    ];
    let leaving = &status.leaving;
    if leaving.stage != LeaveStage::Serving {
        let stage_ends = lasted(leaving.stage_ends_in_ms);
        parts.push((format!("ENDS: {} for {stage_ends}", leaving.stage.as_str()), doubtful()));
    }
    if status.handshakes_held > 0 {
        parts.push((format!("{} held", number(status.handshakes_held)), doubtful()));
    }
    if let Some(media) = status.media.as_ref().filter(|media| !media.health.is_healthy()) {
        let health = media.health;
        parts.push((format!("media {} of {} workers", health.workers_alive, health.workers), bad()));
    }
    let memory = &status.memory;
    let style = if memory.is_short { bad() } else { Style::new() };
    parts.push((
        format!("memory {} of {} MiB", number(memory.bytes / MIB), number(memory.bytes_max / MIB)),
        style,
    ));
    parts
        .push((format!("{} of {} places", number(status.places_taken), number(status.places)), Style::new()));
    if status.log_lines_dropped > 0 {
        parts.push((format!("{} log lines dropped", number(status.log_lines_dropped)), doubtful()));
    }
    let mut x = row.x.saturating_add(1);
    for (text, style) in parts {
        let columns = usize::from(row.right().saturating_sub(x));
        if unicode_width::UnicodeWidthStr::width(&*text) > columns {
            break;
        }
        (x, _) = buffer.set_stringn(x, row.y, text, columns, style);
        x = x.saturating_add(2);
    }
}

fn count(count: impl TryInto<u64> + Copy + PartialEq + From<u8>, what: &str) -> String {
    let s = if count == 1.into() { "" } else { "s" };
    format!("{} {what}{s}", number(count))
}

/// How many sessions were in an outage, a column a second; where nobody answered there is none.
fn history(model: &Model, row: Rect, buffer: &mut Buffer) {
    put(" in outage", dim(), row, buffer);
    let columns = usize::from(row.width.saturating_sub(LABEL_COLUMNS * 3));
    let newest: Vec<Option<u64>> = model.history.iter().rev().take(columns).rev().copied().collect();
    let picture = Rect {
        x: row.x.saturating_add(LABEL_COLUMNS),
        width: u16::try_from(newest.len()).unwrap_or_default(),
        ..row
    };
    let most = newest.iter().flatten().max().copied().unwrap_or_default();
    // With a scale of its own nothing would look like much.
    Sparkline::default()
        .data(newest.iter().copied())
        .max(most.max(1))
        .absent_value_symbol("·")
        .style(bad())
        .render(picture, buffer);
    let words = format!(" {} at most in {} s", number(most), newest.len());
    let x = picture.right();
    put(&words, dim(), Rect { x, width: row.right().saturating_sub(x), ..row }, buffer);
}

fn put(text: &str, style: Style, row: Rect, buffer: &mut Buffer) {
    buffer.set_stringn(row.x, row.y, cut(text, usize::from(row.width)), usize::from(row.width), style);
}
