//! What pages and servers do.

use std::net::SocketAddr;

use rand::RngExt as _;

use super::{
    peer::{Content, Peer, Place, Server, Track, Way},
    wire::{self, Checked, Feedback, Rtp},
    world::{Happening, World},
};
use crate::{
    media::{
        MediaCommand,
        certificate::credentials,
        demux::{Datagram, classify},
        routes::Origin,
        sdp,
    },
    session::Epoch,
};

/// A lost server goes on sending for so long.
const LINGERS_MS: u64 = 2_000;

impl World {
    /// The page hears the answer, and begins.
    pub(super) fn answered(&mut self, line: usize, text: &str) {
        let answer = sdp::parse(text).unwrap();
        let is_publish = self.lines[line].is_publish();
        let tracks = [111, 0].map(|payload_type| (self.fresh() as u32, payload_type, self.dice.random()));
        let client = &mut self.lines[line].client;
        let given = answer.media[0].credentials.clone().unwrap();
        self.watch.given.insert(given.ufrag.clone(), (given.clone(), client.peer.ours.clone()));
        client.peer.proxy = given;
        let video = answer.media[1].codecs.iter();
        client.video_types = video.map(|c| (c.payload_type, c.name == "H264")).collect();
        client.answered = true;
        if is_publish {
            let [(audio, pt, a), (video, _, v)] = tracks;
            client.tracks.push(Track::new(false, audio, pt, false, a));
            if let Some((payload_type, h264)) = client.video_types.first().copied() {
                client.tracks.push(Track::new(true, video, payload_type, h264, v));
            }
        }
        let key = self.lines[line].key;
        self.later(0, Happening::ClientBeat { line, key, beat: 0 });
    }

    /// The page applies new credentials.
    pub(super) fn revived(&mut self, line: usize, text: &str) {
        let offer = sdp::parse(text).unwrap();
        let client = &mut self.lines[line].client;
        let given = offer.media[0].credentials.clone().unwrap();
        self.watch.given.insert(given.ufrag.clone(), (given.clone(), client.peer.ours.clone()));
        client.peer.proxy = given;
        client.last_check = 0;
    }

    /// Every 20 ms.
    pub(super) fn client_beats(&mut self, line: usize, beat: u64) {
        let now = self.now;
        let crypto = self.identity.provider.clone();
        if now < self.lines[line].client.silent_until {
            return;
        }
        self.sees_to_connection(line);
        let client = &mut self.lines[line].client;
        let (at, key) = (client.at, client.peer.key);
        let mut packets = Vec::new();
        if client.last_check == 0 || now >= client.last_check + 500 {
            client.last_check = now;
            packets.push(wire::check(&client.peer.ours, &client.peer.proxy, true, &crypto));
        }
        client.heard = now;
        if client.peer.theirs.is_none() && beat.is_multiple_of(5) {
            packets.push(wire::hello(key, &client.peer.proxy.password));
        }
        let (connected, hears) = (client.peer.theirs.is_some(), client.hears);
        if connected {
            packets.extend(self.media_of(line, 0, beat));
            packets.extend(self.feedback_of(hears, key, beat));
        }
        let (over_tcp, connection) = (self.lines[line].client.over_tcp, self.lines[line].client.connection);
        for bytes in packets {
            match connection {
                Some(connection) => self.far_sends(connection, &bytes),
                None if over_tcp => {}
                None => self.on_network(|bytes| Happening::ToCore { socket: None, from: at, bytes }, bytes),
            }
        }
    }

    /// Reports, and what a receiver of video asks for now and then.
    fn feedback_of(&mut self, hears: Option<u32>, key: u64, beat: u64) -> Vec<Vec<u8>> {
        let mut feedback = Vec::new();
        if beat.is_multiple_of(20) {
            feedback.push(Feedback::Nothing.encode(key));
        }
        let Some(ssrc) = hears else { return feedback };
        if self.percent(1) {
            feedback.push(Feedback::KeyFrame { ssrc }.encode(key));
        }
        if self.percent(3) {
            let recent = self.watch.recent(ssrc, self.dice.random_range(0..1_000));
            feedback.push(Feedback::Again { ssrc, lost: recent }.encode(key));
        }
        feedback
    }

    /// The packets of the tracks of a page (`leg` 0) or of a server.
    fn media_of(&mut self, line: usize, leg: usize, beat: u64) -> Vec<Vec<u8>> {
        let stream = self.lines[line].key;
        let key = if leg == 0 { self.lines[line].client.peer.key } else { 0 };
        let count =
            if leg == 0 { self.lines[line].client.tracks.len() } else { self.servers[leg].tracks.len() };
        let mut packets = Vec::new();
        for number in 0..count {
            for second in [false, true] {
                let id = self.fresh();
                let (track, key) = if leg == 0 {
                    (&mut self.lines[line].client.tracks[number], key)
                } else {
                    let server = &mut self.servers[leg];
                    let transport = server.of_section[number].min(server.transports.len() - 1);
                    (&mut server.tracks[number], server.transports[transport].peer.key)
                };
                // Sound in each beat, a picture in every second.
                if second && !track.video || track.video && !beat.is_multiple_of(2) {
                    continue;
                }
                let (rtp, starts) = track.packet(second, id, key);
                let Rtp { ssrc, sequence, .. } = rtp;
                let content = Content { stream, leg, ssrc, sequence, video: track.video, starts };
                self.contents.insert(id, content);
                packets.push(rtp.encode());
            }
        }
        packets
    }

    /// A server answers an offer of the proxy.
    pub(super) fn answers(&mut self, line: usize, epoch: Epoch, text: &str) {
        let offer = sdp::parse(text).unwrap();
        let number = self.servers.len();
        let stream = self.lines[line].key;
        let bundle = self.percent(50);
        let count = if bundle { 1 } else { 2 };
        let mut transports = Vec::new();
        for transport in 0..count {
            let (ours, active) = (credentials(&mut self.dice), self.dice.random());
            self.owns(ours.ufrag.clone(), line, Some(number));
            let proxy = offer.media[transport].credentials.clone().unwrap();
            self.watch.given.insert(proxy.ufrag.clone(), (proxy.clone(), ours.clone()));
            let key = self.fresh();
            let peer = Peer { key, theirs: None, ours, proxy, active };
            transports.push(self.place(peer, (number, transport)));
        }
        let codecs = &offer.media[1].codecs;
        let first = self.dice.random_range(0..codecs.len());
        let codec = codecs[first].clone();
        let is_publish = self.lines[line].is_publish();
        let mut tracks = Vec::new();
        if !is_publish {
            let [a, v] = [self.dice.random(), self.dice.random()];
            let [audio, video] = [self.fresh() as u32, self.fresh() as u32];
            tracks.push(Track::new(false, audio, 111, false, a));
            tracks.push(Track::new(true, video, codec.payload_type, codec.name == "H264", v));
        }
        let sdp = answer(&transports, is_publish, (codec.payload_type, &codec.name), codec.repair);
        let of_section = vec![0, count - 1];
        self.servers.push(Server {
            line,
            stream,
            told: false,
            transports,
            of_section,
            tracks,
            silent_until: 0,
            lost: None,
            dropped: false,
            hears: None,
            last_video: 0,
        });
        if epoch.0 != self.lines[line].epoch {
            return;
        }
        self.count("answered");
        self.lose_server(line);
        self.lines[line].server = Some(number);
        self.note(|| format!("line {line}: server {number} answers epoch {}", epoch.0));
        self.order(MediaCommand::UpstreamAnswer { key: stream, epoch, sdp });
        self.later(20, Happening::ServerBeat { server: number, beat: 0 });
    }

    /// Every 20 ms.
    pub(super) fn server_beats(&mut self, number: usize, beat: u64) {
        let server = &self.servers[number];
        if server.lost.is_some_and(|lost| self.now > lost + LINGERS_MS) {
            return;
        }
        let (line, silent) = (server.line, self.now < server.silent_until);
        let is_theirs = self.lines[line].key == server.stream;
        self.later(20, Happening::ServerBeat { server: number, beat: beat + 1 });
        if silent || !is_theirs {
            return;
        }
        let mut packets = Vec::new();
        for (place, Place { peer, way, .. }) in self.servers[number].transports.iter().enumerate() {
            if way.is_some() && peer.active && peer.theirs.is_none() && beat.is_multiple_of(5) {
                packets.push((place, wire::hello(peer.key, &peer.proxy.password)));
            }
        }
        let server = &self.servers[number];
        if server.transports.iter().all(|place| place.peer.theirs.is_some()) {
            let of_video = server.of_section[1];
            let (hears, key) = (server.hears, server.transports[of_video].peer.key);
            for bytes in self.media_of(line, number, beat) {
                let is_sound = bytes[1] & 0x7f == 111;
                packets.push((if is_sound { 0 } else { of_video }, bytes));
            }
            packets.extend(self.feedback_of(hears, key, beat).into_iter().map(|bytes| (of_video, bytes)));
        }
        for (place, bytes) in packets {
            let Place { at, way: Some(way), .. } = self.servers[number].transports[place] else { continue };
            self.server_sends(way, at, bytes);
        }
    }

    pub(super) fn at_client(&mut self, at: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        let here = |line: &super::session::Line| line.is_open && line.client.at == at;
        let Some(line) = self.lines.iter().position(here) else { return };
        let client = &mut self.lines[line].client;
        if now < client.silent_until {
            return;
        }
        match classify(bytes) {
            Datagram::Dtls => {
                if let Some(key) = wire::heard(bytes, &client.peer.ours.password) {
                    client.peer.theirs = Some(key);
                }
            }
            Datagram::Rtp { payload_type, .. } => {
                let rtp = Rtp::decode(bytes).filter(|rtp| client.peer.theirs == Some(rtp.key));
                if let Some(rtp) = rtp.filter(|_| payload_type != 111) {
                    client.hears = Some(rtp.ssrc);
                    client.last_video = now;
                    let over_tcp = client.over_tcp;
                    self.count(if over_tcp { "picture over TCP at a player" } else { "picture at a player" });
                }
            }
            Datagram::Rtcp => {
                if let Some((Feedback::KeyFrame { .. }, _)) = Feedback::decode(bytes) {
                    client.tracks.iter_mut().for_each(|track| track.key_wanted = true);
                }
            }
            _ => {}
        }
    }

    pub(super) fn at_server(&mut self, at: SocketAddr, from: Way, bytes: &[u8]) {
        let (now, crypto) = (self.now, self.identity.provider.clone());
        // Several may answer under one address; each takes what is for it.
        let mut answers = Vec::new();
        let mut over_tcp = false;
        for server in &mut self.servers {
            if server.lost.is_some() || now < server.silent_until {
                continue;
            }
            let mut wants_key = false;
            let hears = |place: &&mut Place| place.at == at && (place.udp || !matches!(from, Way::Socket(_)));
            for Place { peer, way, .. } in server.transports.iter_mut().filter(hears) {
                match classify(bytes) {
                    Datagram::StunRequest { .. } => {
                        let end = ([127, 0, 0, 1], 20_000).into();
                        let found = wire::checked(bytes, end, &peer.ours, &peer.proxy, &crypto);
                        if let Some(Checked::Check { answer }) = found {
                            *way = Some(from);
                            answers.push(answer);
                        }
                    }
                    Datagram::Dtls => {
                        if let Some(key) = wire::heard(bytes, &peer.ours.password) {
                            peer.theirs.get_or_insert(key);
                            if !peer.active {
                                answers.push(wire::hello(peer.key, &peer.proxy.password));
                            }
                        }
                    }
                    Datagram::Rtp { payload_type, .. } => {
                        let rtp = Rtp::decode(bytes).filter(|rtp| peer.theirs == Some(rtp.key));
                        if let Some(rtp) = rtp.filter(|_| payload_type != 111) {
                            server.hears = Some(rtp.ssrc);
                            server.last_video = now;
                            over_tcp |= matches!(from, Way::Connection(_));
                        }
                    }
                    Datagram::Rtcp => {
                        let found = Feedback::decode(bytes);
                        wants_key |= matches!(found, Some((Feedback::KeyFrame { .. }, key)) if peer.theirs == Some(key));
                    }
                    _ => {}
                }
            }
            if wants_key {
                server.tracks.iter_mut().for_each(|track| track.key_wanted = true);
            }
        }
        if over_tcp {
            self.count("picture over TCP at a server");
        }
        for bytes in answers {
            self.server_sends(from, at, bytes);
        }
    }

    fn server_sends(&mut self, way: Way, from: SocketAddr, bytes: Vec<u8>) {
        match way {
            Way::Socket(socket) => {
                self.on_network(|bytes| Happening::ToCore { socket: Some(socket), from, bytes }, bytes);
            }
            Way::Connection(connection) => self.far_sends(connection, &bytes),
        }
    }

    /// Remembers where checks came from, whoever sent them.
    pub(super) fn at_check(&mut self, is_client: bool, from: Origin, bytes: &[u8]) {
        if !self.watch.is_check(bytes, from.address, &self.identity.provider) {
            return;
        }
        if is_client {
            self.watch.checked.insert(from);
        } else {
            self.watch.upstream.insert(from.address);
        }
    }
}

/// The SDP of an answer of a server.
fn answer(
    transports: &[Place],
    is_publish: bool,
    (payload_type, name): (u8, &str),
    repair: Option<u8>,
) -> String {
    let direction = if is_publish { "recvonly" } else { "sendonly" };
    let bundle = if transports.len() == 1 { "a=group:BUNDLE 0 1\r\n" } else { "" };
    let transport = |number: usize| {
        let Place { peer, candidates, .. } = &transports[number.min(transports.len() - 1)];
        format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{}\r\n\
             {candidates}a={direction}\r\na=rtcp-mux\r\n",
            peer.ours.ufrag,
            peer.ours.password,
            ["AB"; 32].join(":"),
            if peer.active { "active" } else { "passive" },
        )
    };
    let rtx = repair.map(|rtx| format!("a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n"));
    let types = repair.map_or(payload_type.to_string(), |rtx| format!("{payload_type} {rtx}"));
    let fmtp = if name == "H264" {
        format!("a=fmtp:{payload_type} packetization-mode=1;profile-level-id=42e01f\r\n")
    } else {
        String::new()
    };
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{bundle}\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF {types}\r\n{}a=mid:1\r\na=rtpmap:{payload_type} {name}/90000\r\n\
         a=rtcp-fb:{payload_type} nack\r\na=rtcp-fb:{payload_type} nack pli\r\n{fmtp}{}",
        transport(0),
        transport(1),
        rtx.unwrap_or_default(),
    )
}
