//! What goes wrong, and what strangers try.

use std::net::SocketAddr;

use rand::RngExt as _;

use super::{
    peer::{Place, Track, Way},
    wire::{self, Rtp},
    world::{Happening, World},
};
use crate::media::{
    MediaCommand,
    demux::{Datagram, classify},
};

impl World {
    /// Something goes wrong.
    pub(super) fn fault(&mut self) {
        let line = self.dice.random_range(0..self.lines.len());
        if !self.lines[line].is_open {
            return;
        }
        match self.dice.random_range(0..22) {
            0 => self.server_restarts(line),
            1 => {
                let at = self.fresh_address();
                self.count("client moved");
                self.lines[line].client.at = at;
                self.lines[line].client.had.push(at);
                self.lines[line].client.last_check = 0;
                self.leaves_connection(line);
            }
            2 => {
                let until = self.now + self.dice.random_range(1_000..9_000);
                self.count("client fell silent");
                self.lines[line].client.silent_until = until;
            }
            3 => {
                if let Some(server) = self.lines[line].server {
                    let until = self.now + self.dice.random_range(1_000..12_000);
                    self.count("server fell silent");
                    self.servers[server].silent_until = until;
                }
            }
            4 => self.codec_changes(line),
            5 => self.source_changes(line),
            6 if self.percent(30) => {
                self.count("closed");
                self.close(line);
            }
            7 => {
                if let Some(server) = self.lines[line].server {
                    let (place, at) = (self.dice.random_range(0..10), self.fresh_address());
                    if let Some(Place { at: here, way: Some(Way::Socket(_)), .. }) =
                        self.servers[server].transports.get_mut(place)
                    {
                        // It is heard there by a check of its own.
                        *here = at;
                        self.count("server moved");
                        self.server_checks(server, place);
                    }
                }
            }
            8 => self.connection_breaks(),
            9 | 10 => self.stranger_connects(),
            11 | 12 => self.moves(line),
            13 => self.server_dies(line),
            _ => self.attack(line),
        }
    }

    /// The upstream connection is lost, and comes again.
    fn server_restarts(&mut self, line: usize) {
        let key = self.lines[line].key;
        self.count("server restarted");
        self.lose_servers(line);
        self.order(MediaCommand::Detach { key });
        let wait = self.dice.random_range(0..2_000);
        self.later(wait, Happening::Attach { line, key, narrow: self.now.is_multiple_of(2), beside: false });
    }

    fn server_checks(&mut self, server: usize, place: usize) {
        let crypto = self.identity.provider.clone();
        let Place { peer, at: from, way, .. } = &self.servers[server].transports[place];
        let (from, Some(Way::Socket(socket))) = (*from, *way) else { return };
        let bytes = wire::check(&peer.ours, &peer.proxy, false, &crypto);
        self.on_network(|bytes| Happening::ToCore { socket: Some(socket), from, bytes }, bytes);
    }

    /// The encoder of a publisher gives up one codec for another that was answered.
    fn codec_changes(&mut self, line: usize) {
        let client = &mut self.lines[line].client;
        let Some(track) = client.tracks.iter_mut().find(|track| track.video) else { return };
        let other = client.video_types.iter().find(|(pt, _)| *pt != track.payload_type);
        if let Some((payload_type, h264)) = other {
            (track.payload_type, track.h264, track.key_wanted) = (*payload_type, *h264, true);
            self.count("codec given up");
        }
    }

    /// A sender begins a new source.
    fn source_changes(&mut self, line: usize) {
        let (ssrc, random) = (self.fresh() as u32, self.dice.random());
        let server = self.lines[line].server.filter(|_| !self.lines[line].is_publish());
        let tracks = match server {
            Some(server) => &mut self.servers[server].tracks,
            None => &mut self.lines[line].client.tracks,
        };
        if let Some(track) = tracks.iter_mut().find(|track| track.video) {
            *track = Track::new(true, ssrc, track.payload_type, track.h264, random);
            self.count("source changed");
        }
    }

    /// A stranger sends something, from an address that is not its own or that nobody has.
    fn attack(&mut self, line: usize) {
        let (socket, bytes) = match self.captured.len() {
            0 => (None, vec![0x80, 96]),
            count => self.captured[self.dice.random_range(0..count)].clone(),
        };
        let own = self.lines[line].client.at;
        let from = if self.percent(50) { self.fresh_address() } else { own };
        match self.dice.random_range(0..6) {
            0 => {
                let bytes: Vec<u8> =
                    (0..self.dice.random_range(0..200)).map(|_| self.dice.random()).collect();
                self.count("noise");
                self.stranger_sends(socket, from, bytes);
            }
            1 => {
                self.count("sent again by a stranger");
                self.stranger_sends(socket, from, bytes);
            }
            2 => {
                self.count("damaged");
                let mut bytes = bytes;
                if let Some(place) = (!bytes.is_empty()).then(|| self.dice.random_range(0..bytes.len())) {
                    bytes[place] ^= 1 << self.dice.random_range(0..8);
                }
                self.stranger_sends(socket, from, bytes);
            }
            3 => self.replay_a_check(line),
            _ => {
                // As the source and the numbers say, but sealed by a stranger.
                if let Some(mut rtp) = Rtp::decode(&bytes) {
                    rtp.key = self.fresh();
                    rtp.sequence += 1;
                    self.count("forged");
                    self.stranger_sends(socket, from, rtp.encode());
                }
            }
        }
    }

    /// Whoever saw a check of a client sends it again from elsewhere.
    fn replay_a_check(&mut self, line: usize) {
        let name = self.lines[line].client.peer.ours.ufrag.clone();
        let is_theirs = |bytes: &[u8]| {
            let has_name = bytes.windows(name.len()).any(|part| part == name.as_bytes());
            has_name && matches!(classify(bytes), Datagram::StunRequest { .. })
        };
        let found = self.captured.iter().find(|(socket, bytes)| socket.is_none() && is_theirs(bytes));
        if let Some((_, bytes)) = found.cloned() {
            let from = self.fresh_address();
            self.count("check sent again");
            self.stranger_sends(None, from, bytes);
        }
    }

    fn stranger_sends(
        &mut self,
        socket: Option<crate::media::output::SocketId>,
        from: SocketAddr,
        bytes: Vec<u8>,
    ) {
        self.later(1, Happening::ToCore { socket, from, bytes });
    }
}
