//! Rows in columns: each text is cut to its own, and columns go where there is no room for all of them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::text::cut;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// In columns of the terminal; 0 takes what is left.
    pub(super) width: u16,
    /// Numbers end at the right.
    pub(super) is_number: bool,
    /// It is left out where there are fewer columns than this.
    pub(super) from_width: u16,
}

impl Column {
    pub(super) const fn text(title: &'static str, width: u16, from_width: u16) -> Self {
        Self { title, width, is_number: false, from_width }
    }

    pub(super) const fn number(title: &'static str, width: u16, from_width: u16) -> Self {
        Self { title, width, is_number: true, from_width }
    }
}

/// What stands in one column of one row.
pub(super) type Cell = (String, Style);

/// Draws rows under their titles, so that the chosen one is seen.
pub(super) fn draw(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    rows: &[Vec<Cell>],
    chosen: Option<usize>,
) {
    let Some(body) = area.height.checked_sub(1) else { return };
    let places = places(columns, area);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let titles: Vec<Cell> = columns.iter().map(|column| (column.title.to_owned(), dim)).collect();
    line(buffer, area.y, columns, &places, &titles);
    let body = usize::from(body);
    let first = chosen.map_or(0, |chosen| chosen.saturating_sub(body.saturating_sub(1)));
    for (index, row) in rows.iter().enumerate().skip(first).take(body) {
        let y = area.y.saturating_add(1).saturating_add(u16::try_from(index - first).unwrap_or(u16::MAX));
        line(buffer, y, columns, &places, row);
        if chosen == Some(index) {
            buffer.set_style(Rect { y, height: 1, ..area }, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// Where each column begins and how wide it is; none: it is left out.
fn places(columns: &[Column], area: Rect) -> Vec<Option<(u16, u16)>> {
    let is_shown = |column: &&Column| column.from_width <= area.width;
    let fixed: u16 = columns.iter().filter(is_shown).map(|column| column.width.saturating_add(1)).sum();
    let rest = area.width.saturating_sub(fixed);
    let mut x = area.x.saturating_add(1);
    let end = area.right();
    columns
        .iter()
        .map(|column| {
            let width = if column.width == 0 { rest } else { column.width };
            let width = width.min(end.saturating_sub(x));
            let place = (is_shown(&column) && width > 0).then_some((x, width));
            if place.is_some() {
                x = x.saturating_add(width).saturating_add(1);
            }
            place
        })
        .collect()
}

fn line(buffer: &mut Buffer, y: u16, columns: &[Column], places: &[Option<(u16, u16)>], row: &[Cell]) {
    for ((column, place), (text, style)) in columns.iter().zip(places).zip(row) {
        let Some((x, width)) = *place else { continue };
        let text = cut(text, usize::from(width));
        let free = usize::from(width).saturating_sub(unicode_width::UnicodeWidthStr::width(&*text));
        let indent = if column.is_number { u16::try_from(free).unwrap_or_default() } else { 0 };
        buffer.set_stringn(x.saturating_add(indent), y, text, usize::from(width), *style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::text("NAME", 6, 0), Column::number("N", 3, 15), Column::text("WHY", 0, 0)];

    fn shown(width: u16, height: u16, rows: &[[&str; 3]], chosen: Option<usize>) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let rows: Vec<Vec<Cell>> =
            rows.iter().map(|row| row.map(|text| (text.to_owned(), Style::new())).to_vec()).collect();
        draw(&mut buffer, area, &COLUMNS, &rows, chosen);
        super::super::view::lines(&buffer)
    }

    #[test]
    fn texts_stay_in_their_columns() {
        let lines = shown(20, 3, &[["a", "7", "because"], ["名前名前", "12345", "\u{1b}[2J\u{202e}"]], None);
        assert_eq!(lines, [" NAME     N WHY", " a        7 because", " 名前…  12… \u{fffd}[2J\u{fffd}"]);
        let lines = shown(14, 2, &[["a", "7", "because of it"]], None);
        assert_eq!(lines, [" NAME   WHY", " a      becau…"], "a column is left out");
    }

    #[test]
    fn the_chosen_row_is_seen() {
        let rows: Vec<[&str; 3]> = ["0", "1", "2", "3", "4"].map(|name| [name, "", ""]).to_vec();
        let names = |chosen| shown(20, 3, &rows, chosen).split_off(1);
        assert_eq!(names(None), [" 0", " 1"]);
        assert_eq!(names(Some(1)), [" 0", " 1"]);
        assert_eq!(names(Some(4)), [" 3", " 4"]);
    }
}
