//! Descriptions of media, line by line: what is known to be harmless stays, credentials and the rest have
//! placeholders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Names, Redactor};

/// Attributes whose values are shown. They say what is sent and how, and nothing of who does.
const SHOWN: [&str; 42] = [
    "rtpmap",
    "fmtp",
    "rtcp-fb",
    "rtcp-mux",
    "rtcp-mux-only",
    "rtcp-rsize",
    "rtcp",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "mid",
    "msid",
    "msid-semantic",
    "group",
    "setup",
    "connection",
    "extmap",
    "extmap-allow-mixed",
    "ssrc-group",
    "ice-options",
    "ice-lite",
    "ice2",
    "end-of-candidates",
    "candidate",
    "ptime",
    "maxptime",
    "framerate",
    "framesize",
    "imageattr",
    "rid",
    "simulcast",
    "sctp-port",
    "sctpmap",
    "max-message-size",
    "bundle-only",
    "quality",
    "range",
    "control",
    "cliprect",
    "x-google-flag",
    "content",
];

/// Each line ends as it did.
pub(super) fn redacted(redactor: &Redactor, sdp: &str) -> String {
    let mut shown = String::with_capacity(sdp.len());
    for piece in sdp.split_inclusive(['\n', '\r']) {
        let line = piece.trim_end_matches(['\n', '\r']);
        shown.push_str(&redacted_line(redactor, line));
        shown.push_str(piece.split_at(line.len()).1);
    }
    shown
}

fn redacted_line(redactor: &Redactor, line: &str) -> String {
    let Some((kind, value)) = line.split_once('=') else {
        return if line.trim().is_empty() { line.to_owned() } else { redactor.secret(line) };
    };
    match kind {
        "v" | "t" | "m" | "b" | "r" | "z" => line.to_owned(),
        "o" => format!("o={}", origin(redactor, value)),
        "c" => format!("c={}", addresses(redactor, value)),
        "s" if value.trim().len() <= 1 => line.to_owned(),
        "a" => format!("a={}", attribute(redactor, value)),
        // An odd one is a secret as a whole, its name included.
        _ if kind.len() == 1 => format!("{kind}={}", redactor.secret(value)),
        _ => redactor.secret(line),
    }
}

/// Who wrote it is shown of browsers alone.
fn origin(redactor: &Redactor, value: &str) -> String {
    let (user, rest) = value.split_once(' ').unwrap_or((value, ""));
    let user =
        if user == "-" || user.starts_with("mozilla...") { user.to_owned() } else { redactor.secret(user) };
    format!("{user} {}", addresses(redactor, rest))
}

fn attribute(redactor: &Redactor, attribute: &str) -> String {
    let Some((name, value)) = attribute.split_once(':') else {
        return if SHOWN.contains(&attribute.trim()) {
            attribute.to_owned()
        } else {
            redactor.secret(attribute)
        };
    };
    match name {
        "candidate" => format!("candidate:{}", candidate(redactor, value)),
        "rtcp" => format!("rtcp:{}", addresses(redactor, value)),
        // The hash function says nothing; the hash is that of a certificate.
        "fingerprint" => match value.split_once(' ') {
            Some((function, hash)) => format!("fingerprint:{function} {}", redactor.secret(hash)),
            None => format!("fingerprint:{}", redactor.secret(value)),
        },
        "ssrc" => match value.split_once(' ') {
            Some((ssrc, said)) => format!("ssrc:{ssrc} {}", source(redactor, said)),
            None => attribute.to_owned(),
        },
        _ if SHOWN.contains(&name) => attribute.to_owned(),
        _ => format!("{name}:{}", redactor.secret(value)),
    }
}

/// What a source says of itself: `cname:…` is who it is.
fn source(redactor: &Redactor, said: &str) -> String {
    match said.split_once(':') {
        Some((name @ ("msid" | "mslabel" | "label"), _)) if !name.is_empty() => said.to_owned(),
        Some((name, value)) => format!("{name}:{}", redactor.secret(value)),
        None => said.to_owned(),
    }
}

/// A candidate names the credentials that it belongs to.
fn candidate(redactor: &Redactor, value: &str) -> String {
    let mut before = "";
    let words = value.split(' ').enumerate().map(|(at, word)| {
        let is_secret = matches!(before, "ufrag" | "pwd");
        let is_address = at == 4 || before == "raddr";
        before = word;
        if is_secret {
            redactor.secret(word)
        } else if is_address {
            address(redactor, word)
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn addresses(redactor: &Redactor, text: &str) -> String {
    let mut before = "";
    let words = text.split(' ').map(|word| {
        let is_address = matches!(before, "IP4" | "IP6");
        before = word;
        if is_address { address(redactor, word) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Stays as it is where names are shown; else another of the same kind, from the ranges that are nobody's (RFC 2544,
/// RFC 3849). That of nowhere stays that.
fn address(redactor: &Redactor, word: &str) -> String {
    if redactor.names == Names::Shown {
        return redactor.addresses(word);
    }
    let [a, b, c, d, e, f, ..] = redactor.digest(word.as_bytes());
    match word.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_loopback() => word.to_owned(),
        Ok(IpAddr::V4(_)) => Ipv4Addr::new(198, 18 + a % 2, b, c).to_string(),
        Ok(IpAddr::V6(_)) => {
            let word = |high, low| u16::from_be_bytes([high, low]);
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, word(a, b), word(c, d), word(e, f)).to_string()
        }
        Err(_) => redactor.secret(word),
    }
}
