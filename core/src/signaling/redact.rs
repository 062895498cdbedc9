//! Texts that may hold the address of a camera or a server, with a password in it: a stream's name is
//! often the URL it is pulled from.
//!
//! Whoever shows a text from outside (log, `status`, an error) sends it through [`without_credentials`].
//! When in doubt it shows less.

use std::borrow::Cow;

/// Longest text that is looked at, in bytes; what is behind is cut off, so that a cut never hides from
/// us that the text before it was a password.
const LOOKED_AT_BYTES_MAX: usize = 4096;
/// How often a text is decoded that was percent-encoded again and again.
const DECODED_MAX: usize = 4;
/// What stands for the part of a path that sets parameters.
const HIDDEN: &str = "…";

/// The text without user names, passwords and queries of the addresses in it, also where these are
/// percent-encoded. Text without any is given back as it is.
#[must_use]
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    if text.len() <= LOOKED_AT_BYTES_MAX {
        return line_without_credentials(text);
    }
    let end = (0..=LOOKED_AT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let looked_at = text.split_at(end).0;
    // The last word may be the first half of an address.
    let last = looked_at.rfind(is_border).map_or(0, |at| at);
    let (before, word) = looked_at.split_at(last);
    let whole = if word.contains([':', '/', '%', '?']) { before } else { looked_at };
    Cow::Owned(format!("{}{HIDDEN}", line_without_credentials(whole)))
}

/// As [`without_credentials`], of any length.
#[must_use]
pub fn line_without_credentials(text: &str) -> Cow<'_, str> {
    if !text.contains(['@', '?', '%', '#']) && !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(is_border) {
        let border = piece.chars().next_back().filter(|c| is_border(*c)).map_or(0, char::len_utf8);
        let (token, border) = piece.split_at(piece.len() - border);
        shown.push_str(&token_without_credentials(token));
        shown.push_str(border);
    }
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// What separates an address from the text around it, in prose and in JSON.
pub(super) fn is_border(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '{' | '}' | '|')
}

pub(super) fn token_without_credentials(token: &str) -> Cow<'_, str> {
    let decoded = decoded(token);
    let looks = decoded.as_deref().unwrap_or(token);
    if let Some((before, rest)) = looks.split_once("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let scheme = before.len() - before.trim_end_matches(is_scheme).len();
        let (before, scheme) = before.split_at(before.len() - scheme);
        let before = token_without_credentials(before);
        return Cow::Owned(format!("{before}{scheme}://{}", rest_of_address(rest)));
    }
    let mut shown = looks;
    // `user:password@host` without a scheme; `sip:user@host` has nothing to hide.
    if let Some((user, host)) = shown.rsplit_once('@') {
        let user = ["sip:", "sips:", "mailto:"].iter().find_map(|s| user.strip_prefix(s)).unwrap_or(user);
        if user.contains(':') {
            shown = host;
        }
    }
    if let Some((name, query)) = shown.split_once('?')
        && query.contains('=')
    {
        shown = name;
    }
    // Where nothing had to go the text stays as it was written.
    if shown.len() == looks.len() { Cow::Borrowed(token) } else { Cow::Owned(shown.to_owned()) }
}

/// Host and path of what follows `://`.
fn rest_of_address(rest: &str) -> String {
    let (before_query, has_query) = match rest.find(['?', '#']) {
        Some(at) => (rest.split_at(at).0, true),
        None => (rest, false),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may hold any of `/?#@`: then what looks like the host is its beginning.
    let in_password = has_query && rest.contains('@') && (authority.contains(':') || authority.is_empty());
    let shown = match before_query.rsplit_once('@') {
        Some((_, host)) => host,
        None if in_password => rest.rsplit_once('@').map_or("", |(_, host)| host),
        None => before_query,
    };
    let shown = shown.split(['?', '#']).next().unwrap_or_default();
    let shown = without_odd_port(shown);
    // Cameras that take their password in the path: /user=admin&password=secret&channel=1
    match shown.find('=') {
        Some(at) => {
            let kept = shown.split_at(at).0.rfind('/').map_or("", |slash| shown.split_at(slash + 1).0);
            format!("{kept}{HIDDEN}")
        }
        None => shown.into_owned(),
    }
}

/// What stands where the port should be may be the beginning of a password that was cut at a border.
fn without_odd_port(address: &str) -> Cow<'_, str> {
    let authority = address.split('/').next().unwrap_or_default();
    let behind_brackets = authority.rsplit(']').next().unwrap_or_default();
    let Some((_, port)) = behind_brackets.split_once(':') else { return Cow::Borrowed(address) };
    // Prose goes on behind an address; and our own help says PORT.
    let port = port.trim_end_matches([',', '.', ';', ':', ')', ']']);
    if port.bytes().all(|digit| digit.is_ascii_digit()) || port == "PORT" {
        return Cow::Borrowed(address);
    }
    Cow::Owned(format!("{}:{HIDDEN}", authority.split(':').next().unwrap_or_default()))
}

/// The text without percent-encoding, if it has any that hides an address.
fn decoded(token: &str) -> Option<String> {
    let mut text = Cow::Borrowed(token);
    for _ in 0..DECODED_MAX {
        if !text.contains('%') {
            break;
        }
        let next = decode_once(&text);
        if next == *text {
            break;
        }
        text = Cow::Owned(next);
    }
    match text {
        Cow::Owned(text) if text.contains(['@', '?', '=', '#']) => Some(text),
        _ => None,
    }
}

fn decode_once(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|d| char::from(*d).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_user_password_and_query() {
        for (text, shown) in [
            ("rtsp://admin:secret@cam.example:554/live?auth=secret", "rtsp://cam.example:554/live"),
            ("rtsp://admin:sec/ret@cam/1", "rtsp://cam/1"),
            ("rtsp://admin:sec@ret@cam/1", "rtsp://cam/1"),
            ("rtsp://admin:sec?ret@cam/1", "rtsp://cam/1"),
            ("rtsp://admin:sec#ret@cam/1?x=secret", "rtsp://cam/1"),
            ("rtsp://secret@cam", "rtsp://cam"),
            ("rtsp://cam/1#secret", "rtsp://cam/1"),
            ("rtsp%3A%2F%2Fadmin%3Asecret%40cam%2F1%3Fauth%3Dsecret", "rtsp://cam/1"),
            ("rtsp%253A%252F%252Fadmin%253Asecret%2540cam%252F1", "rtsp://cam/1"),
            ("rtsp://admin%3Asecret%40cam/1", "rtsp://cam/1"),
            ("rtsp://cam:554/user=admin&password=secret&channel=1.sdp", "rtsp://cam:554/…"),
            ("rtsp://cam/live/user=admin_password=secret_stream=0.sdp?real", "rtsp://cam/live/…"),
            ("wss://me:secret word@wcs", "wss://me:… word@wcs"),
            ("admin:secret@cam/live", "cam/live"),
            ("admin%3Asecret%40cam/live", "cam/live"),
            ("cam1?token=secret", "cam1"),
            ("relay?token=secret&from=rtsp://a:secret@cam/1", "relayrtsp://cam/1"),
            ("stream=rtsp://a:secret@cam/1", "stream=rtsp://cam/1"),
            ("invalid value 'wss://me:secret@wcs' for it", "invalid value 'wss://wcs' for it"),
            ("sip:100:secret@pbx", "pbx"),
            (r#"{"stream":"rtsp://a:secret@cam/1","x":1}"#, r#"{"stream":"rtsp://cam/1","x":1}"#),
        ] {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "cam1",
            "ws://wcs:8080",
            "rtsp://cam/live/1",
            "50% of it, 100%",
            "a%20b",
            "sip:100@pbx",
            "what? nothing = nothing",
            "name@domain",
            "wss://[2001:db8::1]:8443",
            "no answer (ws://wcs:8080), ws://wcs:8080: gone",
            "expected ws://HOST:PORT or wss://HOST:PORT",
            "",
        ] {
            assert!(matches!(without_credentials(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_cut_hides_no_password() {
        let long = format!("rtsp://admin:{}@cam", "s".repeat(10_000));
        let shown = without_credentials(&long);
        assert!(shown.len() <= LOOKED_AT_BYTES_MAX + 8);
        assert!(!shown.contains("ssss"), "{shown}");
        let line = format!("{} rtsp://a:secret@cam/1 end", "word ".repeat(2_000));
        assert!(line_without_credentials(&line).ends_with("word  rtsp://cam/1 end"));
    }
}
