//! Inputs as they are written, and back.

use serde_json::Value;

use crate::{
    media::Fact,
    session::{Identity, Input, Mail, RoomKey},
};

use super::{
    line::{MailSaid, Message, Said},
    words::Words,
};

/// What a session is told, as it is written. `own` is who its client seems to be.
pub(super) fn written(words: &mut Words, input: &Input<'_>, own: Identity) -> Said {
    match input {
        Input::ClientText(text) => Said::Client(words.message(text)),
        Input::ClientBinary(bytes) => Said::Client(Message::Binary(bytes.len())),
        Input::UpstreamText(epoch, text) => Said::Upstream(*epoch, words.message(text)),
        Input::UpstreamBinary(epoch, bytes) => Said::Upstream(*epoch, Message::Binary(bytes.len())),
        Input::ClientActivity => Said::ClientActivity,
        Input::ClientClosed(code) => Said::ClientClosed(*code),
        Input::UpstreamOpened(epoch, node) => Said::UpstreamOpened(*epoch, *node),
        Input::DialFailed(epoch, error) => {
            let shown = serde_json::to_value(error).map(|value| words.value(value, ""));
            // What was an error is one with its texts replaced.
            let shown = shown.and_then(serde_json::from_value).unwrap_or_else(|_| error.clone());
            Said::DialFailed(*epoch, shown)
        }
        Input::UpstreamActivity(epoch) => Said::UpstreamActivity(*epoch),
        Input::UpstreamLost(epoch, cause) => Said::UpstreamLost(*epoch, *cause),
        Input::NodeUp => Said::NodeUp,
        Input::PathUp => Said::PathUp,
        Input::NodeDoubtful => Said::NodeDoubtful,
        Input::Evidence(epoch, evidence) => Said::Evidence(*epoch, *evidence),
        Input::Move { to } => Said::Move(*to),
        Input::LetGo => Said::LetGo,
        Input::Hold => Said::Hold,
        Input::ForceMove => Said::ForceMove,
        Input::Media(key, fact) => Said::Media(*key, fact_written(words, fact)),
        Input::Mail(mail) => Said::Mail(mail_written(words, mail, own)),
        Input::Shutdown => Said::Shutdown,
        Input::Timeout => Said::Timeout,
    }
}

fn fact_written(words: &Words, fact: &Fact) -> Value {
    serde_json::to_value(fact).map_or(Value::Null, |value| words.value(value, ""))
}

fn mail_written(words: &mut Words, mail: &Mail, own: Identity) -> MailSaid {
    match mail {
        Mail::NameSettled(name) => MailSaid::NameSettled(words.name(name)),
        Mail::RoomSettled(room) => MailSaid::RoomSettled(words.room(*room)),
        Mail::ProveAlive { name, asker, identity } => {
            MailSaid::ProveAlive { name: words.name(name), asker: *asker, is_same: *identity == own }
        }
        Mail::MediaSocketFlows(epoch) => MailSaid::MediaSocketFlows(*epoch),
        Mail::Proven { name, alive } => MailSaid::Proven { name: words.name(name), alive: *alive },
    }
}

/// Why a line that could be read is no input.
#[derive(Debug)]
pub(super) struct NoInput(pub(super) String);

/// The input that was written so, for a session whose client seems to be `own`.
pub(super) fn read<'a>(words: &mut Words, said: &'a Said, own: Identity) -> Result<Input<'a>, NoInput> {
    Ok(match said {
        Said::Client(Message::Text(text) | Message::Unreadable(text)) => Input::ClientText(text.as_bytes()),
        Said::Client(Message::Binary(_)) => Input::ClientBinary(&[]),
        Said::Upstream(epoch, Message::Text(text) | Message::Unreadable(text)) => {
            Input::UpstreamText(*epoch, text.as_bytes())
        }
        Said::Upstream(epoch, Message::Binary(_)) => Input::UpstreamBinary(*epoch, &[]),
        Said::ClientActivity => Input::ClientActivity,
        Said::ClientClosed(code) => Input::ClientClosed(*code),
        Said::UpstreamOpened(epoch, node) => Input::UpstreamOpened(*epoch, *node),
        Said::DialFailed(epoch, error) => Input::DialFailed(*epoch, error.clone()),
        Said::UpstreamActivity(epoch) => Input::UpstreamActivity(*epoch),
        Said::UpstreamLost(epoch, cause) => Input::UpstreamLost(*epoch, *cause),
        Said::NodeUp => Input::NodeUp,
        Said::PathUp => Input::PathUp,
        Said::NodeDoubtful => Input::NodeDoubtful,
        Said::Evidence(epoch, evidence) => Input::Evidence(*epoch, *evidence),
        Said::Move(to) => Input::Move { to: *to },
        Said::LetGo => Input::LetGo,
        Said::Hold => Input::Hold,
        Said::ForceMove => Input::ForceMove,
        Said::Media(key, fact) => {
            let fact =
                serde_json::from_value(fact.clone()).map_err(|error| NoInput(format!("no fact: {error}")))?;
            Input::Media(*key, fact)
        }
        Said::Mail(mail) => Input::Mail(mail_read(words, mail, own)),
        Said::Shutdown => Input::Shutdown,
        Said::Timeout => Input::Timeout,
    })
}

fn mail_read(words: &mut Words, mail: &MailSaid, own: Identity) -> Mail {
    match mail {
        MailSaid::NameSettled(name) => Mail::NameSettled(name.as_str().into()),
        MailSaid::RoomSettled(number) => Mail::RoomSettled(words.room_of(*number).unwrap_or_else(|| {
            // One that the session knows nothing of.
            let unknown = RoomKey::new(Identity::default(), &format!("room {number}"));
            words.room(unknown);
            unknown
        })),
        MailSaid::ProveAlive { name, asker, is_same } => {
            let identity = if *is_same { own } else { Identity::of_handshake([Some(&b"another"[..])]) };
            Mail::ProveAlive { name: name.as_str().into(), asker: *asker, identity }
        }
        MailSaid::MediaSocketFlows(epoch) => Mail::MediaSocketFlows(*epoch),
        MailSaid::Proven { name, alive } => Mail::Proven { name: name.as_str().into(), alive: *alive },
    }
}
