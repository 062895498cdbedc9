//! Ways of media between a page and its server. Only a signaling proxy takes its way by itself; to
//! lead media through a relay or through rtpengine, the descriptions have to be changed on the way.

use std::{
    fmt::Write as _,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

pub(crate) enum Path {
    /// As the server (or the proxy) says.
    Direct,
    /// Through `relay::run`.
    Relay(UdpSocket),
    /// Through rtpengine, by its ng protocol.
    Rtpengine(UdpSocket),
}

impl Path {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let connect = |address: &str| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address.parse::<SocketAddr>().unwrap()).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        };
        match name.split_once('=') {
            None if name == "direct" => Some(Self::Direct),
            Some(("relay", address)) => Some(Self::Relay(connect(address))),
            Some(("rtpengine", address)) => Some(Self::Rtpengine(connect(address))),
            _ => None,
        }
    }

    /// The client's offer as the server gets it.
    pub(crate) fn offer(&self, id: &str, sdp: &str) -> String {
        match self {
            Self::Direct | Self::Relay(_) => sdp.to_owned(),
            Self::Rtpengine(socket) => ng(socket, "offer", id, sdp),
        }
    }

    /// The server's answer as the client gets it.
    pub(crate) fn answer(&self, id: &str, sdp: &str) -> String {
        match self {
            Self::Direct => sdp.to_owned(),
            Self::Relay(socket) => through_relay(socket, sdp),
            Self::Rtpengine(socket) => ng(socket, "answer", id, sdp),
        }
    }
}

fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    socket.send(request).unwrap();
    let mut reply = vec![0; 65_536];
    let count = socket.recv(&mut reply).expect("an answer");
    reply.truncate(count);
    reply
}

/// Puts a port of the relay in place of the server's; all candidates are one in a bundle.
fn through_relay(socket: &UdpSocket, sdp: &str) -> String {
    let mut out = String::new();
    let mut given: Option<String> = None;
    for line in sdp.lines() {
        if let Some(candidate) = line.strip_prefix("a=candidate:") {
            let words: Vec<&str> = candidate.split(' ').collect();
            let [foundation, component, transport, priority, ip, port, rest @ ..] = words.as_slice() else {
                panic!("{line}")
            };
            if *component != "1" || !transport.eq_ignore_ascii_case("udp") {
                continue;
            }
            let relayed = given.get_or_insert_with(|| {
                String::from_utf8(ask(socket, format!("{ip}:{port}").as_bytes())).unwrap()
            });
            let rest = rest.join(" ");
            write!(out, "a=candidate:{foundation} 1 {transport} {priority} 127.0.0.1 {relayed} {rest}\r\n")
                .unwrap();
        } else {
            write!(out, "{line}\r\n").unwrap();
        }
    }
    out
}

/// One exchange of the ng protocol: a cookie and a bencoded dictionary, both ways. The engine ends
/// ICE, DTLS and SRTP on either side, as the anchor does.
fn ng(socket: &UdpSocket, command: &str, id: &str, sdp: &str) -> String {
    let text = |value: &str| format!("{}:{value}", value.len());
    let list = |values: &[&str]| format!("l{}e", values.iter().map(|v| text(v)).collect::<String>());
    let mut fields = vec![
        ("command", text(command)),
        ("call-id", text(id)),
        ("from-tag", text("client")),
        ("sdp", text(sdp)),
        ("ICE", text("force")),
        ("DTLS", text("passive")),
        ("SDES", list(&["off"])),
        ("rtcp-mux", list(&["require"])),
        ("transport-protocol", text("UDP/TLS/RTP/SAVPF")),
        ("flags", list(&["generate-mid", "trust-address", "unidirectional"])),
        ("replace", list(&["origin", "session-connection"])),
    ];
    if command == "answer" {
        fields.push(("to-tag", text("server")));
    }
    fields.sort_unstable();
    let body: String = fields.iter().map(|(key, value)| format!("{}{value}", text(key))).collect();
    let reply = ask(socket, format!("{:08x} d{body}e", rand::random::<u32>()).as_bytes());
    let reply = String::from_utf8(reply).unwrap();
    let (_, found) = reply.split_once("3:sdp").unwrap_or_else(|| panic!("{command}: {reply}"));
    let (length, rest) = found.split_once(':').unwrap();
    rest[..length.parse().unwrap()].to_owned()
}
