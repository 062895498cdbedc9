//! `stripCodecs` of the SDK (util.js of version 2.0.276), to the byte.
//!
//! Its oddities are kept, because servers have seen no other text from clients that use it:
//! payload numbers match as prefixes (stripping 9 takes `a=fmtp:96` along), RTX of a stripped
//! codec stays, a line end may get lost with the last number of an `m=` line, and empty lines
//! vanish.

use std::collections::BTreeSet;

use super::SDP_BYTES_MAX;

/// The SDP without these codecs, a comma-separated list as `H264,VP8`.
///
/// Codec names are found anywhere in an `a=rtpmap` line, whatever their case. The SDK takes them
/// for regular expressions; here they are plain text, which is the same for the names of codecs.
/// Where the SDK throws, for an `a=rtpmap` line without a number, the line stays. An SDP of more
/// than `SDP_BYTES_MAX` is nobody's offer and comes back as it is.
#[must_use]
pub fn strip_codecs(sdp: &str, codecs: &str) -> String {
    if codecs.is_empty() || sdp.len() > SDP_BYTES_MAX {
        return sdp.to_owned();
    }
    let mut lines: Vec<&str> = sdp.split('\n').collect();
    let stripped = strip_payload_types(&mut lines, codecs);
    strip_parameters(&mut lines, &stripped);
    let mut result = String::with_capacity(sdp.len() + 1);
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let is_media = line.contains("m=audio") || line.contains("m=video");
        if is_media && !stripped.numbers.is_empty() {
            push_media_line(&mut result, line, &stripped);
        } else {
            result.push_str(line);
            result.push('\n');
        }
    }
    result
}

/// Payload numbers that are stripped.
#[derive(Default)]
struct Stripped<'a> {
    numbers: BTreeSet<&'a str>,
    /// The lengths that occur in `numbers`: hardly ever more than three.
    lengths: Vec<usize>,
}

impl<'a> Stripped<'a> {
    fn add(&mut self, number: &'a str) {
        self.numbers.insert(number);
        if !self.lengths.contains(&number.len()) {
            self.lengths.push(number.len());
        }
    }

    /// True if the text begins with one of the numbers. Not a loop over all numbers, so that an
    /// offer of thousands of them costs no more than its length.
    fn begins(&self, text: &str) -> bool {
        let mut heads = self.lengths.iter().filter_map(|&length| text.get(..length));
        heads.any(|head| self.numbers.contains(head))
    }
}

/// Empties the `a=rtpmap` lines of these codecs and returns their payload numbers.
fn strip_payload_types<'a>(lines: &mut [&'a str], codecs: &str) -> Stripped<'a> {
    let mut stripped = Stripped::default();
    for codec in codecs.split(',').map(str::to_ascii_lowercase) {
        for line in lines.iter_mut().filter(|line| line.starts_with("a=rtpmap")) {
            if !line.to_ascii_lowercase().contains(&codec) {
                continue;
            }
            if let Some(payload_type) = first_number(line) {
                stripped.add(payload_type);
                *line = "";
            }
        }
    }
    stripped
}

/// Empties the `a=fmtp` and `a=rtcp-fb` lines whose number begins with one of these.
fn strip_parameters(lines: &mut [&str], stripped: &Stripped<'_>) {
    for line in lines {
        let belongs = ["a=fmtp:", "a=rtcp-fb:"].iter().any(|attribute| {
            line.match_indices(attribute)
                .any(|(at, _)| stripped.begins(line.get(at + attribute.len()..).unwrap_or_default()))
        });
        if belongs {
            *line = "";
        }
    }
}

/// Appends an `m=` line without these payload numbers; the first three words always stay.
fn push_media_line(result: &mut String, line: &str, stripped: &Stripped<'_>) {
    let start = result.len();
    let words = line.split(' ').count();
    for (index, word) in line.split(' ').enumerate() {
        if index > 2 && stripped.numbers.contains(word.trim_matches(is_javascript_space)) {
            continue;
        }
        result.push_str(word);
        if index + 1 < words {
            result.push(' ');
        }
    }
    if result.len() > start {
        result.push('\n');
    }
}

/// The first run of digits in the line.
fn first_number(line: &str) -> Option<&str> {
    let start = line.find(|character: char| character.is_ascii_digit())?;
    let rest = line.get(start..)?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)
}

/// What `String.prototype.trim` removes, which is not what `str::trim` removes.
fn is_javascript_space(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        sdp: String,
        codecs: String,
        expected: String,
    }

    #[test]
    fn agrees_with_the_sdk() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("testdata/strip_codecs.json")).unwrap();
        assert!(cases.len() > 150);
        for Case { sdp, codecs, expected } in cases {
            assert_eq!(strip_codecs(&sdp, &codecs), expected, "{codecs:?} out of {sdp:?}");
        }
    }

    #[test]
    fn an_offer_of_thousands_of_numbers_is_stripped_and_a_bigger_one_left_alone() {
        let maps = |count: usize| -> String {
            (0..count).map(|number| format!("a=rtpmap:{number} H264/90000\n")).collect()
        };
        let parameters = "a=fmtp:1 x\n".repeat(5_000);
        assert_eq!(strip_codecs(&format!("{}{parameters}", maps(5_000)), "H264"), "");
        let huge = maps(SDP_BYTES_MAX / 20);
        assert!(huge.len() > SDP_BYTES_MAX);
        assert_eq!(strip_codecs(&huge, "H264"), huge);
    }

    #[test]
    fn a_map_without_a_number_stays() {
        assert_eq!(strip_codecs("a=rtpmap:x H\n", "H"), "a=rtpmap:x H\n");
    }
}
