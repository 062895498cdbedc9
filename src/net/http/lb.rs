//! Answers for `lbUrl` (protocol S1): the server that they name is where the client would go past the proxy, so that it
//! becomes the proxy itself. Every other byte stays.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::{
    config::{LbPublic, ListenSettings},
    wire::forwarded::{LastHop, split_port},
};

/// Largest answer that is looked into; it is an object of four members.
const LB_BYTES_MAX: usize = 64 * 1024;

/// Where clients reach this proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    server: String,
    ws: u16,
    wss: u16,
}

/// An answer that was read to its end, or to the bound.
pub(super) enum Read {
    /// All of it.
    Whole(Bytes),
    /// The beginning of what is too large to be one of these.
    Begun(Bytes, Incoming),
    /// It broke off, or took too long.
    Broken,
}

impl Here {
    /// As the client of this request sees it; what the settings say goes before. `None`: it named no host.
    pub(super) fn of(hop: LastHop<'_>, listen: &ListenSettings, public: Option<&LbPublic>) -> Option<Self> {
        let asked = hop.asked_host();
        let asked = asked.as_deref().map(split_port);
        let public = public.cloned().unwrap_or_default();
        let server = public.server.or_else(|| asked.map(|(host, _)| host.to_owned()))?;
        let (is_secure, told_port) = hop.asked_scheme();
        let usual = |is_secure: bool| if is_secure { 443 } else { 80 };
        let port = asked.and_then(|(_, port)| port.parse().ok());
        let port = port.or(told_port).unwrap_or_else(|| usual(is_secure));
        let of_scheme = |wanted: bool| {
            let listener =
                || listen.listeners().find(|(_, tls)| *tls == wanted).map(|(address, _)| address.port());
            match (wanted == is_secure, hop.is_behind_balancer()) {
                (true, _) => port,
                (false, true) => usual(wanted),
                // Without one the port of the request is wrong as well, and is not that of the server behind.
                (false, false) => listener().filter(|port| *port != 0).unwrap_or(port),
            }
        };
        let (ws, wss) = (of_scheme(false), of_scheme(true));
        Some(Self { server, ws: public.ws.unwrap_or(ws), wss: public.wss.unwrap_or(wss) })
    }
}

/// Asks for an answer that can be looked into.
pub(super) fn ask_plainly(headers: &mut HeaderMap) {
    for name in [header::ACCEPT_ENCODING, header::RANGE, header::IF_RANGE] {
        headers.remove(name);
    }
}

/// Whether an answer may be one of these.
pub(super) fn is_likely<B>(answer: &Response<B>) -> bool {
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    answer.status() == StatusCode::OK
        && answer.headers().get_all(header::CONTENT_ENCODING).iter().all(is_plain)
}

/// Reads an answer, as far as it may be one of these.
pub(super) async fn read(mut body: Incoming, time_max: Duration) -> Read {
    let mut text = BytesMut::new();
    let all = async {
        while text.len() <= LB_BYTES_MAX {
            match body.frame().await {
                None => return Some(true),
                Some(Err(_)) => return None,
                Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            }
        }
        Some(false)
    };
    match timeout(time_max, all).await {
        Ok(Some(true)) => Read::Whole(text.freeze()),
        Ok(Some(false)) => Read::Begun(text.freeze(), body),
        Ok(None) | Err(_) => Read::Broken,
    }
}

/// The members that are looked at.
#[derive(Deserialize)]
struct Lb<'a> {
    #[serde(borrow)]
    server: &'a RawValue,
    #[serde(borrow, default)]
    ws: Option<&'a RawValue>,
    #[serde(borrow, default)]
    wss: Option<&'a RawValue>,
}

/// The same answer with this proxy as its server; `None` if it is none of these.
pub(super) fn rewritten(text: &[u8], here: &Here) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let lb: Lb<'_> = serde_json::from_str(text).ok()?;
    if !lb.server.get().starts_with('"') {
        return None;
    }
    let ports = [(lb.ws, here.ws), (lb.wss, here.wss)];
    let ports = ports.into_iter().filter_map(|(place, port)| Some((place?, port)));
    let ports =
        ports.filter(|(place, _)| place.get().trim_matches('"').bytes().all(|byte| byte.is_ascii_digit()));
    let ports = ports.map(|(place, port)| {
        let is_text = place.get().starts_with('"');
        (place, if is_text { format!("\"{port}\"") } else { port.to_string() })
    });
    let server = (lb.server, serde_json::to_string(&here.server).ok()?);
    let mut edits: Vec<(usize, &RawValue, String)> = std::iter::once(server)
        .chain(ports)
        .map(|(place, new)| (place.get().as_ptr().addr().wrapping_sub(text.as_ptr().addr()), place, new))
        .collect();
    // The last first: places before it stay where they are.
    edits.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let mut rewritten = text.to_owned();
    for (at, place, new) in edits {
        let end = at.checked_add(place.get().len())?;
        rewritten.get(at..end)?;
        rewritten.replace_range(at..end, &new);
    }
    Some(rewritten)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_server_and_ports_change() {
        let here = Here { server: "proxy.example".to_owned(), ws: 80, wss: 443 };
        let text =
            r#"{ "x": [1, {"server":"y"}], "wss" : "8443", "server":"wcs\u002d1", "ws":8080,"flash":1935 }"#;
        let wanted =
            r#"{ "x": [1, {"server":"y"}], "wss" : "443", "server":"proxy.example", "ws":80,"flash":1935 }"#;
        assert_eq!(rewritten(text.as_bytes(), &here).as_deref(), Some(wanted));
        let few = br#"{"server":"wcs"}"#;
        assert_eq!(rewritten(few, &here).as_deref(), Some(r#"{"server":"proxy.example"}"#));
        for other in
            ["", "[]", "{}", r#"{"server":1}"#, r#"{"server":"a","server":"b"}"#, "<html>", "{\"server\":"]
        {
            assert_eq!(rewritten(other.as_bytes(), &here), None, "{other}");
        }
        let odd = br#"{"server":"wcs","ws":null,"wss":[1]}"#;
        assert_eq!(
            rewritten(odd, &here).as_deref(),
            Some(r#"{"server":"proxy.example","ws":null,"wss":[1]}"#)
        );
    }
}
