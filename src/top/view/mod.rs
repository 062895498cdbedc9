//! A model as a picture of characters. Draws into a buffer and changes nothing; what does not fit is left out, the
//! least important first.

mod header;
mod help;
mod nodes;
mod outages;
mod sessions;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use super::{
    model::{Mode, Model, Panel},
    text::{cut, fit},
};

/// Columns and rows of a picture that is no screen.
const PLAIN_COLUMNS: u16 = 120;
const PLAIN_ROWS: u16 = 60;
/// With fewer rows than this for the panels, only the one that has the keys is there.
const PANELS_ROWS_MIN: u16 = 15;
/// Rows that the sessions keep, their titles included, however many nodes and outages there are.
const SESSIONS_ROWS_MIN: u16 = 6;

/// Draws all of it.
pub(crate) fn draw(model: &Model, now_ms: u64, area: Rect, buffer: &mut Buffer) {
    let [top, body, bottom] = split(area, header::rows(model, area));
    header::draw(model, now_ms, top, buffer);
    if model.mode == Mode::Help {
        help::draw(body, buffer);
    } else {
        panels(model, now_ms, body, buffer);
    }
    footer(model, bottom, buffer);
    if model.away().is_some() {
        // What is shown is not how it is.
        buffer.set_style(body, Style::new().add_modifier(Modifier::DIM));
    }
}

/// Header, panels and the line of keys, from the top down: what there is no room for has no rows.
fn split(area: Rect, header_rows: u16) -> [Rect; 3] {
    let header = header_rows.min(area.height);
    let footer = u16::from(area.height > header + 3);
    let body = area.height - header - footer;
    [
        Rect { height: header, ..area },
        Rect { y: area.y + header, height: body, ..area },
        Rect { y: area.y + header + body, height: footer, ..area },
    ]
}

fn panels(model: &Model, now_ms: u64, area: Rect, buffer: &mut Buffer) {
    let Some(news) = &model.news else { return };
    if area.height < PANELS_ROWS_MIN {
        return panel(model, model.panel, now_ms, area, buffer);
    }
    // Each has its title and the titles of its columns.
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(2);
    let share = area.height.saturating_sub(SESSIONS_ROWS_MIN);
    let outages = if news.outages.is_empty() { 0 } else { rows(news.outages.len()).min(share / 3).max(3) };
    let nodes = rows(news.nodes.len()).min(share.saturating_sub(outages));
    let mut y = area.y;
    for (which, height) in [
        (Panel::Nodes, nodes),
        (Panel::Outages, outages),
        (Panel::Sessions, area.height.saturating_sub(nodes).saturating_sub(outages)),
    ] {
        panel(model, which, now_ms, Rect { y, height, ..area }, buffer);
        y = y.saturating_add(height);
    }
}

fn panel(model: &Model, which: Panel, now_ms: u64, area: Rect, buffer: &mut Buffer) {
    let Some(news) = model.news.as_ref().filter(|_| area.height > 0) else { return };
    let title = match which {
        Panel::Nodes => nodes::title(news),
        Panel::Outages => outages::title(news),
        Panel::Sessions => sessions::title(news, &model.search),
    };
    let has_keys = model.panel == which;
    rule(&title, has_keys, area, buffer);
    let body = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    let chosen = has_keys.then(|| model.chosen(which));
    match which {
        Panel::Nodes => nodes::draw(news, chosen, body, buffer),
        Panel::Outages => outages::draw(news, now_ms, chosen, body, buffer),
        Panel::Sessions => sessions::draw(news, chosen, body, buffer),
    }
}

/// A line with a title in it.
fn rule(title: &str, is_strong: bool, area: Rect, buffer: &mut Buffer) {
    let style = if is_strong {
        Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD)
    } else {
        Style::new().add_modifier(Modifier::DIM)
    };
    let width = usize::from(area.width);
    let line = cut(&format!("─ {title} "), width);
    buffer.set_stringn(area.x, area.y, "─".repeat(width), width, style);
    buffer.set_stringn(area.x, area.y, line, width, style);
}

/// What keys do; while something is typed, that.
fn footer(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width);
    let trouble =
        model.news.as_ref().and_then(|news| news.trouble.as_deref()).filter(|_| model.away().is_none());
    let (text, style) = match (model.mode, trouble) {
        (Mode::Search, _) => (fit(&format!(" /{}▏", model.typed), width), Style::new()),
        (Mode::Help, _) => (" any key: back".to_owned(), dim()),
        (Mode::Look, Some(trouble)) => (cut(&format!(" {trouble}"), width), bad()),
        (Mode::Look, None) => (" q end  tab panel  ↑↓ move  / search  ? help".to_owned(), dim()),
    };
    buffer.set_stringn(area.x, area.y, text, width, style);
}

const fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

const fn bad() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

const fn doubtful() -> Style {
    Style::new().fg(Color::Yellow)
}

const fn good() -> Style {
    Style::new().fg(Color::Green)
}

/// One picture as lines of text, without what only a screen has.
pub(crate) fn plain(model: &Model, now_ms: u64) -> String {
    let area = Rect::new(0, 0, PLAIN_COLUMNS, PLAIN_ROWS);
    let mut buffer = Buffer::empty(area);
    let [top, body, _] = split(area, header::rows(model, area));
    header::draw(model, now_ms, top, &mut buffer);
    panels(model, now_ms, body, &mut buffer);
    let mut text = lines(&buffer).join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The rows of a buffer, without the spaces at their ends.
pub(super) fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let row = |cells: &[ratatui::buffer::Cell]| {
        let mut text = String::new();
        // A wide character covers the cell behind it.
        let mut covered = 0;
        for cell in cells {
            if covered > 0 {
                covered -= 1;
                continue;
            }
            text.push_str(cell.symbol());
            covered = unicode_width::UnicodeWidthStr::width(cell.symbol()).saturating_sub(1);
        }
        text.truncate(text.trim_end().len());
        text
    };
    buffer.content().chunks(width).map(row).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
