//! A WebRTC peer down to the bytes: it sends what no library would. Real ICE, DTLS and SRTP.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub
)]

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use is::stun::{StunMessage, TransId};
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, CryptoProvider, SrtpProvider,
    dtls::{DtlsInstance, DtlsOutput, DtlsVersion, KeyingMaterial, SrtpProfile},
    from_feature_flags,
};

const LIMIT: Duration = Duration::from_secs(30);

/// What is needed to send SRTP and SRTCP, and to read SRTCP.
struct Keys {
    theirs: Cipher,
    their_salt: [u8; 12],
    rtp: Cipher,
    rtcp: Cipher,
    rtp_salt: [u8; 12],
    rtcp_salt: [u8; 12],
    rtcp_index: u32,
}

enum Cipher {
    Gcm128(Box<dyn AeadAes128GcmCipher>),
    Gcm256(Box<dyn AeadAes256GcmCipher>),
}

impl Cipher {
    fn seal(&mut self, iv: [u8; 12], aad: &[u8], input: &[u8]) -> Vec<u8> {
        let mut output = vec![0; input.len() + 16];
        match self {
            Self::Gcm128(cipher) => cipher.encrypt(&iv, aad, input, &mut output).unwrap(),
            Self::Gcm256(cipher) => cipher.encrypt(&iv, aad, input, &mut output).unwrap(),
        }
        output
    }

    fn open(&mut self, iv: [u8; 12], aads: &[&[u8]], input: &[u8]) -> Option<Vec<u8>> {
        let mut output = vec![0; input.len() - 16];
        let opened = match self {
            Self::Gcm128(cipher) => cipher.decrypt(&iv, aads, input, &mut output),
            Self::Gcm256(cipher) => cipher.decrypt(&iv, aads, input, &mut output),
        };
        opened.ok().map(|_| output)
    }
}

/// RFC 3711 4.3.
fn derive<const N: usize>(srtp: &dyn SrtpProvider, master: &[u8], salt: &[u8], label: u8) -> [u8; N] {
    let mut output = [0; N];
    for (round, chunk) in output.chunks_mut(16).enumerate() {
        let mut input = [0; 16];
        input[..salt.len()].copy_from_slice(salt);
        input[7] ^= label;
        input[14..].copy_from_slice(&(round as u16).to_be_bytes());
        let mut block = [0; 32];
        if master.len() == 16 {
            srtp.srtp_aes_128_ecb_round(master, &input, &mut block);
        } else {
            srtp.srtp_aes_256_ecb_round(master, &input, &mut block);
        }
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    output
}

impl Keys {
    fn new(crypto: &CryptoProvider, material: &KeyingMaterial, profile: SrtpProfile, active: bool) -> Self {
        let length = if profile == SrtpProfile::AEAD_AES_128_GCM { 16 } else { 32 };
        let half = |first: bool| {
            let (key, salt) = if first { (0, 0) } else { (length, 12) };
            (&material[key..key + length], &material[2 * length + salt..2 * length + salt + 12])
        };
        let ((ours, our_salt), (theirs, their_salt)) = (half(active), half(!active));
        let srtp = crypto.srtp_provider;
        let cipher = |master: &[u8], salt: &[u8], label, encrypt| {
            if length == 16 {
                let factory = srtp.aead_aes_128_gcm();
                Cipher::Gcm128(factory.create_cipher(derive(srtp, master, salt, label), encrypt))
            } else {
                let factory = srtp.aead_aes_256_gcm();
                Cipher::Gcm256(factory.create_cipher(derive(srtp, master, salt, label), encrypt))
            }
        };
        Self {
            theirs: cipher(theirs, their_salt, 3, false),
            their_salt: derive(srtp, theirs, their_salt, 5),
            rtp: cipher(ours, our_salt, 0, true),
            rtcp: cipher(ours, our_salt, 3, true),
            rtp_salt: derive(srtp, ours, our_salt, 2),
            rtcp_salt: derive(srtp, ours, our_salt, 5),
            rtcp_index: 0,
        }
    }
}

/// An RTP packet.
#[derive(Clone, Debug)]
pub struct Rtp {
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    /// One-byte header extensions: id and value.
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl Rtp {
    pub fn new(payload_type: u8, ssrc: u32, sequence: u16, payload: Vec<u8>) -> Self {
        let timestamp = u32::from(sequence) * 3000;
        Self { payload_type, sequence, timestamp, ssrc, marker: true, payload, extensions: Vec::new() }
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0x80, self.payload_type | u8::from(self.marker) << 7];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        if !self.extensions.is_empty() {
            bytes[0] |= 0x10;
            let mut values: Vec<u8> = Vec::new();
            for (id, value) in &self.extensions {
                values.push(id << 4 | (value.len() as u8 - 1));
                values.extend(value);
            }
            values.resize(values.len().next_multiple_of(4), 0);
            bytes.extend([0xbe, 0xde]);
            bytes.extend(((values.len() / 4) as u16).to_be_bytes());
            bytes.extend(values);
        }
        bytes
    }

    /// As somebody without keys would send it.
    pub fn forged(&self) -> Vec<u8> {
        [self.header(), vec![0x5a; self.payload.len() + 16]].concat()
    }
}

/// A VP8 payload that starts a key frame, of a given length.
pub fn key_frame(length: usize) -> Vec<u8> {
    let mut payload = vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    payload.resize(length.max(payload.len()), 7);
    payload
}

pub struct RawPeer {
    crypto: CryptoProvider,
    pub socket: UdpSocket,
    pub remote: SocketAddr,
    pub ufrag: String,
    pub password: String,
    remote_ufrag: String,
    remote_password: String,
    pub fingerprint: String,
    dtls: Box<dyn DtlsInstance>,
    keys: Option<Keys>,
    active: bool,
    /// What came in that was SRTP or SRTCP, as received.
    pub received: Vec<Vec<u8>>,
    /// Answers to checks that came in.
    pub answers: usize,
}

impl RawPeer {
    /// `active`: it starts DTLS, as a client of the anchor does.
    pub fn new(active: bool) -> Self {
        let crypto = from_feature_flags();
        let certificate = crypto.dtls_provider.generate_certificate().unwrap();
        let digest = crypto.sha256_provider.sha256(&certificate.certificate);
        let hex: Vec<String> = digest.iter().map(|b| format!("{b:02X}")).collect();
        let mut dtls =
            crypto.dtls_provider.new_dtls(&certificate, Instant::now(), DtlsVersion::Dtls12, None).unwrap();
        dtls.set_active(active);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self {
            crypto,
            remote: socket.local_addr().unwrap(),
            socket,
            ufrag: "rawu".to_owned(),
            password: "rawrawrawrawrawrawrawraw".to_owned(),
            remote_ufrag: String::new(),
            remote_password: String::new(),
            fingerprint: format!("sha-256 {}", hex.join(":")),
            dtls,
            keys: None,
            active,
            received: Vec::new(),
            answers: 0,
        }
    }

    /// Reads name, password and candidate of the anchor.
    pub fn learn(&mut self, sdp: &str) {
        let value =
            |name: &str| sdp.lines().find_map(|l| l.strip_prefix(name)).map(str::trim).map(str::to_owned);
        self.remote_ufrag = value("a=ice-ufrag:").unwrap();
        self.remote_password = value("a=ice-pwd:").unwrap();
        if let Some(candidate) = value("a=candidate:") {
            let words: Vec<&str> = candidate.split_whitespace().collect();
            self.remote = format!("{}:{}", words[4], words[5]).parse().unwrap();
        }
    }

    /// A connectivity check, signed as it should be.
    pub fn check(&self, nominates: bool) -> Vec<u8> {
        let names = format!("{}:{}", self.remote_ufrag, self.ufrag);
        let check = StunMessage::binding_request(&names, TransId::new(), true, 9, 2_000_000, nominates);
        self.signed(check, &self.remote_password)
    }

    fn signed(&self, message: StunMessage<'_>, password: &str) -> Vec<u8> {
        let hmac = |key: &[u8], parts: &[&[u8]]| self.crypto.sha1_hmac_provider.sha1_hmac(key, parts);
        let mut bytes = vec![0; 600];
        let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac).unwrap();
        bytes.truncate(length);
        bytes
    }

    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.remote).unwrap();
    }

    pub fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// Until ICE and DTLS stand.
    pub fn connect(&mut self) {
        let until = Instant::now() + LIMIT;
        let mut next_check = Instant::now();
        while !self.is_connected() {
            assert!(Instant::now() < until, "no connection to {}, {} answers", self.remote, self.answers);
            if self.active && Instant::now() >= next_check {
                self.send(&self.check(true));
                // Neither its first flight nor a lost one is sent without a datagram that comes in.
                self.dtls.handle_packet(&[22]).unwrap();
                next_check = Instant::now() + Duration::from_millis(100);
            }
            self.turn(Duration::from_millis(20));
        }
    }

    /// Works for at most so long, or until something came in.
    pub fn turn(&mut self, wait: Duration) {
        self.dtls.handle_timeout(Instant::now()).unwrap();
        self.speak();
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = [0; 4096];
        let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { return };
        let bytes = &buffer[..length];
        match bytes[0] {
            0..=3 => {
                let Ok(message) = StunMessage::parse(bytes) else { return };
                if message.is_binding_request() {
                    self.remote = from;
                    let reply = StunMessage::binding_reply(message.trans_id(), from);
                    let reply = self.signed(reply, &self.password);
                    self.send(&reply);
                }
                self.answers += usize::from(message.is_successful_binding_response());
            }
            20..=63 => self.dtls.handle_packet(bytes).unwrap(),
            _ => self.received.push(bytes.to_vec()),
        }
        self.speak();
    }

    fn speak(&mut self) {
        let mut buffer = vec![0; 4096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                DtlsOutput::Packet(packet) => {
                    let _ = self.socket.send_to(packet, self.remote);
                }
                DtlsOutput::KeyingMaterial(material, profile) => {
                    self.keys = Some(Keys::new(&self.crypto, &material, profile, self.active));
                }
                DtlsOutput::Timeout(_) => return,
                _ => {}
            }
        }
    }

    /// The packet as SRTP; the rollover counter is zero.
    pub fn protect(&mut self, packet: &Rtp) -> Vec<u8> {
        let keys = self.keys.as_mut().unwrap();
        let header = packet.header();
        let iv = AeadAes128Gcm::rtp_iv(keys.rtp_salt, packet.ssrc, 0, packet.sequence);
        let sealed = keys.rtp.seal(iv, &header, &packet.payload);
        [header, sealed].concat()
    }

    pub fn send_rtp(&mut self, packet: &Rtp) {
        let bytes = self.protect(packet);
        self.send(&bytes);
    }

    /// Any RTCP, header of 8 bytes first.
    pub fn send_rtcp(&mut self, plain: &[u8]) {
        let keys = self.keys.as_mut().unwrap();
        let index = keys.rtcp_index;
        keys.rtcp_index += 1;
        let ssrc = u32::from_be_bytes(plain[4..8].try_into().unwrap());
        let iv = AeadAes256Gcm::rtcp_iv(keys.rtcp_salt, ssrc, index);
        let trailer = (index | 0x8000_0000).to_be_bytes();
        let aad = [&plain[..8], &trailer].concat();
        let sealed = keys.rtcp.seal(iv, &aad, &plain[8..]);
        let bytes = [&plain[..8], &sealed, &trailer].concat();
        self.send(&bytes);
    }

    /// The sources that an SRTCP packet asks key frames of.
    pub fn key_frame_requests(&mut self, packet: &[u8]) -> Vec<u32> {
        let Some(plain) = self.open_rtcp(packet) else { return Vec::new() };
        let mut rest = plain.as_slice();
        let mut asked = Vec::new();
        while rest.len() >= 4 {
            let length = 4 * (1 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
            if rest[1] == 206 && rest[0] & 0x1f == 1 {
                asked.push(u32::from_be_bytes(rest[8..12].try_into().unwrap()));
            }
            rest = &rest[length.min(rest.len())..];
        }
        asked
    }

    fn open_rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        if packet.len() < 28 || !(192..224).contains(&packet[1]) {
            return None;
        }
        let keys = self.keys.as_mut()?;
        let (sealed, trailer) = packet.split_at(packet.len() - 4);
        let index = u32::from_be_bytes(trailer.try_into().unwrap()) & 0x7fff_ffff;
        let ssrc = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        let iv = AeadAes128Gcm::rtcp_iv(keys.their_salt, ssrc, index);
        let (header, sealed) = sealed.split_at(8);
        let plain = keys.theirs.open(iv, &[header, trailer], sealed)?;
        Some([header, &plain].concat())
    }

    /// An offer of VP8 with RTX, and opus, on one transport.
    pub fn offer(&self) -> String {
        self.describe("actpass", "sendonly")
    }

    /// An answer to the anchor's offer that sends, with this candidate.
    pub fn answer(&self, direction: &str) -> String {
        let port = self.socket.local_addr().unwrap().port();
        let candidate = format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n");
        self.describe("passive", direction).replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{candidate}"))
    }

    fn describe(&self, setup: &str, direction: &str) -> String {
        let Self { ufrag, password, fingerprint, .. } = self;
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:{fingerprint}\r\n\
             a=setup:{setup}\r\na={direction}\r\na=rtcp-mux\r\n"
        );
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:111 opus/48000/2\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n{transport}a=mid:1\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:96 VP8/90000\r\n\
             a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
        )
    }
}
