//! The headers of requests and answers that are passed on: what is for one hop alone stays there (RFC 9110 section
//! 7.6.1), and the server is told whose request it is.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::wire::forwarded::{LastHop, has_token};

/// What is for one hop alone, whether `Connection` names it or not.
const OF_ONE_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// What `Connection` cannot take away: the message would be another one.
const OF_THE_MESSAGE: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

/// Whether the lines that say where the message ends say one thing (RFC 9112 section 6.3).
pub(super) fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    if length.is_some() && coding.is_some() {
        return Err("Content-Length and Transfer-Encoding exclude each other");
    }
    if lengths.next().is_some() {
        return Err("Content-Length appears twice");
    }
    let is_number =
        |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if length.is_some_and(|length| !is_number(length)) {
        return Err("Content-Length is no number");
    }
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some() || coding.is_some_and(|coding| !is_chunked(coding)) {
        return Err("the only Transfer-Encoding that is understood is chunked");
    }
    Ok(())
}

/// Takes out what is for this hop alone.
pub(super) fn take_out_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().filter(|name| !OF_THE_MESSAGE.contains(name)) {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}

/// The headers of a request for its server, `Host` aside.
pub(super) fn for_server(hop: LastHop<'_>) -> HeaderMap {
    let wants_trailers = has_token(hop.headers, &header::TE, "trailers");
    let mut headers = hop.headers.clone();
    take_out_hop(&mut headers);
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    tell_of_client(&mut headers, hop);
    headers
}

/// Of the hops before, what a stranger says does not count.
fn tell_of_client(headers: &mut HeaderMap, hop: LastHop<'_>) {
    if !hop.is_trusted() {
        let is_a_claim = |name: &HeaderName| name.as_str().starts_with("x-forwarded-") || name == "x-real-ip";
        let claims: Vec<HeaderName> = headers.keys().filter(|name| is_a_claim(name)).cloned().collect();
        for name in claims {
            headers.remove(name);
        }
    }
    hop.tell(|name, value| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    });
}

/// The headers of an answer for the client. `is_bodiless`: a length in it is that of a body that does not come.
pub(super) fn for_client(headers: &mut HeaderMap, exact_bytes: Option<u64>, is_bodiless: bool) {
    take_out_hop(headers);
    if !is_bodiless {
        // The one length that counts is that of what will be written.
        headers.remove(header::CONTENT_LENGTH);
        if let Some(bytes) = exact_bytes {
            headers.insert(header::CONTENT_LENGTH, bytes.into());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_message_has_one_end() {
        for (lines, fits) in [
            (&[][..], true),
            (&[("content-length", "5")], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[("content-length", "5"), ("transfer-encoding", "chunked")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "+5")], false),
            (&[("content-length", "")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "identity")], false),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (&[("transfer-encoding", "xchunked")], false),
        ] {
            assert_eq!(check_framing(&headers(lines)).is_ok(), fits, "{lines:?}");
        }
    }

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let mut some = headers(&[
            ("connection", "close, X-Hop"),
            ("connection", "Content-Length, host"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "X-Sum"),
            ("content-length", "5"),
            ("host", "a"),
            ("x-end", "2"),
        ]);
        take_out_hop(&mut some);
        let mut left: Vec<&str> = some.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "trailer", "x-end"]);
    }

    #[test]
    fn the_length_of_an_answer_is_that_of_its_body() {
        let length = |bytes, is_bodiless| {
            let mut some = headers(&[("content-length", "5")]);
            for_client(&mut some, bytes, is_bodiless);
            some.get("content-length").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(length(None, false), None);
        assert_eq!(length(Some(7), false).as_deref(), Some("7"));
        assert_eq!(length(Some(0), true).as_deref(), Some("5"), "HEAD tells what GET would have");
    }
}
