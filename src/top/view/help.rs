//! What keys do and what columns mean.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

const TEXT: [&str; 16] = [
    " q, Ctrl-C   end; the proxy is not touched",
    " tab, ← →    the panel that has the keys",
    " ↑ ↓, page   the row in it",
    " /           look for sessions: part of the name of a stream, the address of a",
    "             client, or a node; Esc shows all again",
    "",
    " Nodes       FOR how long in this state, LOAD what the node tells of itself (its",
    "             load average, else its connections), DIAL P99 what one in a hundred",
    "             dials exceeds, WHY its reason, or how far its drain is",
    " Outages     that are over: BACK sessions restored, LOST sessions given up, streams",
    "             and rooms reported, GAP P99 from the loss to the proof",
    " Sessions    in an outage first, the longest first; then what moves, streams that",
    "             are not live, and long gaps; a hundred of each kind at most",
    "",
    " The proxy is asked once a second. While it is away the last answer stays, dimmed.",
    " holdfast drain, undrain, maintenance and rebalance change what is shown here.",
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer) {
    for (row, line) in area.rows().zip(TEXT) {
        buffer.set_stringn(row.x, row.y, line, usize::from(row.width), Style::new());
    }
}
