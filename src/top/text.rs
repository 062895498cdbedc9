//! Words and numbers for narrow places. Names come from clients and servers: whatever could move the cursor, turn the
//! direction of writing or fill the line does not get through.

use unicode_width::UnicodeWidthChar as _;

use crate::telemetry::events::clean;

/// A text from outside, at most so many columns wide; what is cut ends with `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    fit(&clean(text), columns)
}

/// As [`cut`], of a text that was typed here: an address in it is shown as it is.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut kept = String::new();
    let mut taken = 0_usize;
    // Where the text ends if it has to be cut: one column less.
    let mut end = 0;
    let is_seen = |c: char| !c.is_control() && !is_unseen(c);
    for c in text.chars().map(|c| if is_seen(c) { c } else { '\u{fffd}' }) {
        taken = taken.saturating_add(c.width().unwrap_or_default());
        if taken > columns {
            kept.truncate(end);
            if columns > 0 {
                kept.push('…');
            }
            return kept;
        }
        kept.push(c);
        if taken < columns {
            end = kept.len();
        }
    }
    kept
}

/// Characters without a picture of their own that change how others are shown.
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A time as people say it, in at most seven columns.
pub(super) fn lasted(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..10 => format!("{:.1} s", ms as f64 / 1_000.0),
        10..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// A number with a mark at each thousand.
pub(super) fn number(count: impl TryInto<u64>) -> String {
    let digits = count.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The time of day in UTC.
pub(super) fn clock(unix_ms: u64) -> String {
    let s = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn a_text_is_cut_to_its_columns() {
        for (text, columns, shown) in [
            ("camera", 6, "camera"),
            ("camera", 5, "came…"),
            ("camera", 1, "…"),
            ("camera", 0, ""),
            ("", 3, ""),
            ("映像配信", 8, "映像配信"),
            ("映像配信", 7, "映像配…"),
            ("映像配信", 6, "映像…"),
            ("映", 1, "…"),
        ] {
            assert_eq!(cut(text, columns), shown, "{text} in {columns}");
        }
    }

    #[test]
    fn nothing_hostile_gets_through() {
        let hostile = "a\u{1b}[2Jb\nc\rd\te\u{7}\u{9b}31m\u{202e}f\u{200b}\u{2066}\u{feff}";
        let shown = cut(hostile, 200);
        assert!(shown.chars().all(|c| !c.is_control() && !is_unseen(c)), "{shown:?}");
        assert!(shown.contains("[2Jb"), "harmless, and shown: {shown:?}");
        let marks = format!("a{}", "\u{301}".repeat(5_000));
        assert!(cut(&marks, 10).len() < 600, "what takes no column has an end too");
        for columns in 0..40 {
            assert!(cut(&"\u{1f468}\u{200d}x".repeat(900), columns).width() <= columns);
        }
        assert_eq!(cut("rtsp://u:secret@camera/1", 40), "rtsp://camera/1");
    }

    #[test]
    fn times_and_numbers_are_short() {
        let times = [0, 3_250, 59_999, 125_000, 7_300_000, 400_000_000].map(lasted);
        assert_eq!(times, ["0.0 s", "3.2 s", "59 s", "2 min", "2 h", "4 d"]);
        assert_eq!([0_u64, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(clock(1_000 * (86_400 * 20_000 + 3_723)), "01:02:03");
        assert_eq!(number(usize::MAX), "18,446,744,073,709,551,615");
    }
}
