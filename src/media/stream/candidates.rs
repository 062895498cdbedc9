//! The candidates of an upstream's answer: which are of use to us, in which order, and which have
//! a name for an address. Opens nothing and asks nobody.

use std::net::{IpAddr, SocketAddr};

use str0m::{
    Candidate,
    net::{Protocol, TcpType},
};

use crate::media::sdp::Media;

/// Most candidates of an upstream that are tried per address family and transport, best first: many of
/// one kind do not crowd out the others.
const CANDIDATES_MAX: usize = 8;

/// Most names among them that are looked up.
const NAMES_MAX: usize = 4;

/// Longest name of a host (RFC 1035 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// What an answer says about where the upstream is.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Best first.
    pub(super) usable: Vec<Candidate>,
    pub(super) named: Vec<Named>,
}

/// A candidate with a name for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    port: u16,
    /// What stands before the address and after the port.
    before: String,
    after: String,
}

impl Named {
    /// The candidates that it stands for.
    pub(super) fn at(&self, addresses: &[IpAddr]) -> Vec<Candidate> {
        addresses.iter().filter_map(|ip| usable(&self.before, *ip, self.port, &self.after)).collect()
    }
}

/// The candidates of an answer that we can reach: component 1; in TCP those where the upstream
/// listens. Sorted by priority (RFC 8445 6.1.2.3: ours are equal per family), the order of the
/// answer among equals. Names of multicast DNS are of no use on a server.
pub(super) fn candidates(media: &Media) -> Candidates {
    let mut found = Candidates::default();
    for line in &media.candidates {
        let Some(Line { before, host, port, after }) = Line::read(line) else { continue };
        if let Ok(ip) = host.parse::<IpAddr>() {
            found.usable.extend(usable(&before, ip.to_canonical(), port, &after));
        } else if is_name(host) && found.named.len() < NAMES_MAX {
            let named = Named { name: host.to_ascii_lowercase(), port, before, after };
            if !found.named.contains(&named) {
                found.named.push(named);
            }
        }
    }
    found.usable.sort_by_key(|c| std::cmp::Reverse(c.prio()));
    let mut taken: Vec<(SocketAddr, Protocol)> = Vec::new();
    found.usable.retain(|c| {
        let (address, protocol) = (c.addr(), c.proto());
        let alike = |(a, p): &&(SocketAddr, Protocol)| *p == protocol && a.is_ipv4() == address.is_ipv4();
        let wanted =
            !taken.contains(&(address, protocol)) && taken.iter().filter(alike).count() < CANDIDATES_MAX;
        if wanted {
            taken.push((address, protocol));
        }
        wanted
    });
    if found.usable.is_empty()
        && found.named.is_empty()
        && let Some(ip) = media.connection
    {
        let host = Candidate::host(SocketAddr::new(ip.to_canonical(), media.port), Protocol::Udp);
        found.usable.extend(host.ok().filter(is_sendable));
    }
    found
}

/// A line, taken apart. Of the attributes at its end only those are kept that mean something
/// here: a related address that cannot be read is no reason to lose the candidate.
struct Line<'a> {
    before: String,
    host: &'a str,
    port: u16,
    after: String,
}

impl<'a> Line<'a> {
    /// None: malformed, or not the component that all media shares (2 repeats 1 where RTCP is
    /// multiplexed).
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let foundation = words.next()?;
        let component = words.next().filter(|c| *c == "1")?;
        let protocol = words.next()?.to_ascii_lowercase();
        let priority: u32 = words.next()?.parse().ok()?;
        let host = words.next()?;
        let port = words.next()?.parse().ok()?;
        let mut after = String::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            if matches!(key, "typ" | "tcptype" | "ufrag") {
                after.push_str(&format!(" {key} {value}"));
            }
        }
        Some(Self { before: format!("{foundation} {component} {protocol} {priority}"), host, port, after })
    }
}

fn usable(before: &str, ip: IpAddr, port: u16, after: &str) -> Option<Candidate> {
    let candidate = Candidate::from_sdp_string(&format!("{before} {ip} {port}{after}")).ok()?;
    let reachable = match candidate.proto() {
        Protocol::Udp => true,
        // Without a type it can only be meant so: the offer had no candidate to come from.
        Protocol::Tcp => matches!(candidate.tcptype(), None | Some(TcpType::Passive | TcpType::So)),
        _ => false,
    };
    Some(candidate).filter(|c| reachable && is_sendable(c))
}

/// One peer can have this address.
fn is_sendable(candidate: &Candidate) -> bool {
    let ip = candidate.addr().ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    candidate.addr().port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

fn is_name(host: &str) -> bool {
    let plain = host.trim_end_matches('.').to_ascii_lowercase();
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !plain.is_empty()
        && host.len() <= NAME_BYTES_MAX
        && host.chars().all(known)
        && plain != "local"
        && !plain.ends_with(".local")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn found(lines: &str) -> Candidates {
        let text = format!("v=0\r\nm=video 5004 RTP/SAVPF 96\r\nc=IN IP4 192.0.2.9\r\n{lines}");
        candidates(&crate::media::sdp::parse(&text).unwrap().media[0])
    }

    fn told(lines: &str) -> Vec<(Protocol, String)> {
        found(lines).usable.iter().map(|c| (c.proto(), c.addr().to_string())).collect()
    }

    #[test]
    fn only_what_can_be_reached_is_tried() {
        let lines = told(
            "a=candidate:1 1 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n\
             a=candidate:1 2 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n\
             a=candidate:2 1 tcp 2130706431 127.0.0.1 9 typ host tcptype active\r\n\
             a=candidate:3 1 UDP 2130706431 127.0.0.1 7000 typ host\r\n\
             a=candidate:4 1 udp 2130706431 somewhere.local 7002 typ host\r\n\
             a=candidate:5 1 udp 2130706431 0.0.0.0 7002 typ host\r\n\
             a=candidate:6 1 udp 2130706431 224.0.0.1 7002 typ host\r\n\
             a=candidate:7 1 udp 2130706431 127.0.0.1 0 typ host\r\n\
             a=candidate:1 1 tcp 2130706431 127.0.0.1 7000 typ host tcptype passive\r\n",
        );
        let at = "127.0.0.1:7000".to_owned();
        assert_eq!(lines, [(Protocol::Tcp, at.clone()), (Protocol::Udp, at)]);
        assert_eq!(told(""), [(Protocol::Udp, "192.0.2.9:5004".to_owned())], "the address of the section");
        let many: String =
            (0..40).map(|n| format!("a=candidate:1 1 udp 1 127.0.0.1 {} typ host\r\n", 7000 + n)).collect();
        assert_eq!(told(&many).len(), CANDIDATES_MAX);
    }

    #[test]
    fn the_best_are_tried_first_whatever_their_place() {
        let mut lines: String =
            (0..20).map(|n| format!("a=candidate:1 1 udp 5 127.0.0.1 {} typ host\r\n", 7000 + n)).collect();
        lines.push_str("a=candidate:1 1 udp 9 ::ffff:127.0.0.2 6000 typ srflx raddr host.local rport 9\r\n");
        let told = told(&lines);
        assert_eq!(told[0].1, "127.0.0.2:6000");
        assert_eq!(told[1].1, "127.0.0.1:7000");
        assert_eq!(told.len(), CANDIDATES_MAX);
        lines.insert_str(0, &"a=candidate:1 1 udp 99 ::1 PORT typ host\r\n".repeat(20));
        let lines = (0..20).fold(lines, |lines, n| lines.replacen("PORT", &(8000 + n).to_string(), 1));
        let told = self::told(&lines);
        assert_eq!(told.len(), 2 * CANDIDATES_MAX, "one family does not crowd out the other");
        assert_eq!(told[CANDIDATES_MAX].1, "127.0.0.2:6000");
    }

    #[test]
    fn names_are_set_apart_but_not_those_of_multicast_dns() {
        let lines = "a=candidate:1 1 udp 7 Media.Example 7000 typ host ufrag x\r\n\
             a=candidate:1 1 udp 7 0f3a.local 7000 typ host\r\n\
             a=candidate:1 1 udp 7 0f3a.LOCAL. 7000 typ host\r\n\
             a=candidate:1 1 udp 7 b$d 7000 typ host\r\n\
             a=candidate:1 1 tcp 7 media.example 7002 typ host tcptype active\r\n";
        let found = found(lines);
        assert!(found.usable.is_empty());
        let names: Vec<&str> = found.named.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["media.example", "media.example"]);
        let ips = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let at: Vec<String> = found.named[0].at(&ips).iter().map(|c| c.addr().to_string()).collect();
        assert_eq!(at, ["192.0.2.1:7000", "[2001:db8::1]:7000"]);
        assert!(found.named[1].at(&ips).is_empty(), "where the upstream does not listen");
        let many: String = (0..40)
            .map(|n| format!("a=candidate:1 1 udp 1 n{n}.example {} typ host\r\n", 7000 + n))
            .collect();
        assert_eq!(self::found(&many).named.len(), NAMES_MAX);
        assert!(
            told("a=candidate:1 1 udp 7 0f3a.local 7000 typ host\r\n").len() == 1,
            "the section's address"
        );
    }
}
