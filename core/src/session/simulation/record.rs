//! What the sessions of a world put out, in one canonical form: a line per output with the time and
//! the session, hashed for each receiver by itself. Whoever rebuilds the core without meaning to
//! change what it does gets the same hashes before and after. Looks at nothing but outputs.

use std::fmt;

use sha1::{Digest, Sha1};

use super::super::{Close, MediaCommand, Mode, Output, SessionId};

/// Who an output is for.
#[derive(Clone, Copy, Debug)]
enum Sink {
    Client,
    Upstream,
    Media,
    Events,
    /// Other sessions.
    Mail,
    /// Media sockets.
    Routes,
}

/// In the order of [`Sink`].
const SINKS: [&str; 6] = ["client", "upstream", "media", "events", "mail", "routes"];

/// One running hash for each receiver.
#[derive(Clone, Default)]
pub(super) struct Record {
    sinks: [Sha1; SINKS.len()],
}

impl Record {
    /// Adds one output of this session, said while `frame` was handled.
    pub(super) fn note(&mut self, now_ms: u64, session: SessionId, output: &Output, frame: &[u8]) {
        let Some((sink, line)) = canonical(output, frame) else { return };
        let sink = &mut self.sinks[sink as usize];
        sink.update(format!("{now_ms} {session} ").as_bytes());
        sink.update(&line);
        sink.update(b"\n");
    }

    /// The hashes of all that was noted.
    pub(super) fn sums(&self) -> Sums {
        Sums(self.sinks.clone().map(|sink| format!("{:x}", Hex(&sink.finalize()))))
    }
}

/// A hash for each receiver, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums([String; SINKS.len()]);

impl Sums {
    /// The hashes of several worlds as one, in the order in which they are given.
    pub(super) fn of_all<'a>(worlds: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sinks: [Sha1; SINKS.len()] = Default::default();
        for world in worlds {
            for (sink, sum) in sinks.iter_mut().zip(&world.0) {
                sink.update(sum.as_bytes());
            }
        }
        Record { sinks }.sums()
    }

    /// As written down: a line per receiver.
    pub(super) fn parse(text: &str) -> Self {
        let sum = |sink: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(sink)?.strip_prefix(' '));
            line.unwrap_or_default().trim().to_owned()
        };
        Self(SINKS.map(sum))
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SINKS.iter().zip(&self.0).try_for_each(|(sink, sum)| writeln!(f, "{sink} {sum}"))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Independent of how the types of the core are named and laid out, except for events and mail, which
/// are what they say. `None` where nothing is for anybody: what is said anew with each session.
fn canonical(output: &Output, frame: &[u8]) -> Option<(Sink, Vec<u8>)> {
    let with = |word: &str, bytes: &[u8]| [word.as_bytes(), b" ", bytes].concat();
    let line = match output {
        Output::ForwardToClient => (Sink::Client, with("forward", frame)),
        Output::SendToClient(text) => (Sink::Client, with("send", text)),
        Output::PingClient => (Sink::Client, b"ping".to_vec()),
        Output::CloseClient(close) => (Sink::Client, with("close", closing(*close).as_bytes())),
        Output::Mode(Mode::Session) => return None,
        Output::Mode(Mode::MediaSocket) => (Sink::Client, b"media socket".to_vec()),
        Output::Mode(Mode::PassedThrough) => (Sink::Client, b"passthrough".to_vec()),
        Output::ForwardToUpstream => (Sink::Upstream, with("forward", frame)),
        Output::SendToUpstream(text) => (Sink::Upstream, with("send", text)),
        Output::PingUpstream => (Sink::Upstream, b"ping".to_vec()),
        Output::Dial { epoch, priority, toward: None } => {
            (Sink::Upstream, format!("dial {} {priority:?}", epoch.0).into_bytes())
        }
        Output::Dial { epoch, priority, toward: Some(node) } => {
            (Sink::Upstream, format!("dial {} {priority:?} toward {}", epoch.0, node.0).into_bytes())
        }
        Output::DialBeside { epoch, node } => {
            (Sink::Upstream, format!("dial {} beside, at {}", epoch.0, node.0).into_bytes())
        }
        Output::Lead(epoch) => (Sink::Upstream, format!("{} leads", epoch.0).into_bytes()),
        Output::SendLeft(text) => (Sink::Upstream, with("left", text)),
        Output::UpstreamDoubtful(epoch) => (Sink::Upstream, format!("doubt {}", epoch.0).into_bytes()),
        Output::Moved(outcome) => (Sink::Events, format!("outcome {outcome:?}").into_bytes()),
        Output::CloseUpstream(epoch, close) => {
            (Sink::Upstream, format!("close {} {}", epoch.0, closing(*close)).into_bytes())
        }
        Output::Media(command) => (Sink::Media, order(command).into_bytes()),
        Output::Event(event) => (Sink::Events, format!("{event:?}").into_bytes()),
        Output::RouteMediaSockets { token, epoch, upstream_token } => {
            let upstream = upstream_token.as_deref().unwrap_or("nowhere");
            (Sink::Routes, format!("{token} {} {upstream}", epoch.0).into_bytes())
        }
        Output::ForgetMediaSockets { token } => (Sink::Routes, format!("{token} ends").into_bytes()),
        Output::Post(to, mail) => (Sink::Mail, format!("{to} {mail:?}").into_bytes()),
    };
    Some(line)
}

fn closing(close: Close) -> String {
    match close {
        Close::Code(code) => code.to_string(),
        Close::NoCode => "no code".to_owned(),
        Close::Abort => "abort".to_owned(),
    }
}

fn order(command: &MediaCommand) -> String {
    match command {
        MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client: () } => {
            format!("open {} {kind:?} {} {refuse_h264} {client_offer}", key.number, epoch.0)
        }
        MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside } => {
            let beside = if *beside { " beside" } else { "" };
            format!("attach {} {} {narrow} {refuse_h264}{beside}", key.number, epoch.0)
        }
        MediaCommand::LetGo { key } => format!("let go {}", key.number),
        MediaCommand::Return { key } => format!("return {}", key.number),
        MediaCommand::UpstreamAnswer { key, epoch, sdp } => {
            format!("answer {} {} {sdp}", key.number, epoch.0)
        }
        MediaCommand::Detach { key } => format!("detach {}", key.number),
        MediaCommand::Muted { key, video } => format!("muted {} {video}", key.number),
        MediaCommand::Revive { key } => format!("revive {}", key.number),
        MediaCommand::Close { key } => format!("close {}", key.number),
    }
}
