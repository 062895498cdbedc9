//! A recording for people: what was said by whom to whom, and what was decided, in one line each.

use serde_json::Value;

use super::line::{Line, MailSaid, Message, Said};

/// Longest text of a line for people, in characters.
const TEXT_CHARS_MAX: usize = 160;
/// The fields of a message that say most of it, in this order.
const TELLING: [&str; 8] = ["name", "status", "info", "command", "type", "mediaSessionId", "id", "callId"];

/// Who says or does it, and what; `None` for what tells nobody anything, as a timer that rang.
#[must_use]
pub fn told(line: &Line) -> Option<(&'static str, String)> {
    let (who, what) = match line {
        Line::Recording(_) | Line::Asked { .. } | Line::End { .. } => return None,
        Line::Session(start) if start.from_start => ("session", "begins".to_owned()),
        Line::Session(_) => ("session", "was there before".to_owned()),
        Line::SessionEnd { .. } => ("session", "ends".to_owned()),
        Line::Passed { from_client, message, .. } => {
            (if *from_client { "client ⇒ server" } else { "server ⇒ client" }, of_message(message))
        }
        Line::In { said, .. } => of_input(said)?,
        Line::Out { out, text, .. } => of_output(out, text)?,
    };
    Some((who, short(&what)))
}

fn of_input(said: &Said) -> Option<(&'static str, String)> {
    Some(match said {
        Said::Client(message) => ("client →", of_message(message)),
        Said::Upstream(epoch, message) => {
            ("server →", format!("{} (epoch {})", of_message(message), epoch.0))
        }
        Said::ClientClosed(code) => {
            ("client", code.map_or("is gone".to_owned(), |code| format!("closes {code}")))
        }
        Said::UpstreamOpened(epoch, node) => {
            ("server", format!("node {} stands (epoch {})", node.0, epoch.0))
        }
        Said::DialFailed(epoch, error) => {
            ("server", format!("the dial failed (epoch {}): {error:?}", epoch.0))
        }
        Said::UpstreamLost(epoch, cause) => ("server", format!("is lost (epoch {}): {cause:?}", epoch.0)),
        Said::Evidence(epoch, evidence) => ("server", format!("{evidence:?} (epoch {})", epoch.0)),
        Said::NodeUp => ("server", "a node answers again".to_owned()),
        Said::PathUp => ("server", "the path is open again".to_owned()),
        Said::NodeDoubtful => ("server", "the node is in doubt".to_owned()),
        Said::Move(node) => ("operator", format!("is to move to node {}", node.0)),
        Said::LetGo => ("operator", "the connection that was left is let go".to_owned()),
        Said::Hold => ("operator", "the connection that was left is kept".to_owned()),
        Said::ForceMove => ("operator", "has to leave its node".to_owned()),
        Said::Shutdown => ("operator", "the proxy ends".to_owned()),
        Said::Media(key, fact) => ("media →", format!("stream {} {}", key.number, of_fact(fact)?)),
        Said::Mail(mail) => ("others →", of_mail(mail)),
        Said::ClientActivity | Said::UpstreamActivity(_) | Said::Timeout => return None,
    })
}

fn of_output(out: &str, text: &str) -> Option<(&'static str, String)> {
    Some(match out {
        "forward_to_upstream" => ("  → server", "as it is".to_owned()),
        "forward_to_client" => ("  → client", "as it is".to_owned()),
        "send_to_client" => ("  → client", of_text(text)),
        "send_to_upstream" => ("  → server", of_text(text)),
        "send_to_left" => ("  → server left", of_text(text)),
        "event" => ("  tells", text.to_owned()),
        "media" => ("  → media", text.lines().next().unwrap_or_default().to_owned()),
        "ping_client" | "ping_upstream" | "mode" | "route_media_sockets" | "forget_media_sockets" => {
            return None;
        }
        other => ("  decides", format!("{} {text}", other.replace('_', " "))),
    })
}

fn of_message(message: &Message) -> String {
    match message {
        Message::Text(text) => of_text(text),
        Message::Unreadable(text) => format!("unreadable: {text}"),
        Message::Binary(bytes) => format!("{bytes} bytes"),
    }
}

/// The name of a message and what tells most of it.
fn of_text(text: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) else {
        return text.to_owned();
    };
    let name = message.get("message").and_then(Value::as_str).unwrap_or("without a name");
    let first = message.pointer("/data/0");
    let mut told = name.to_owned();
    if let Some(Value::String(id)) = first {
        told = format!("{told} {id}");
    }
    let payload = first.and_then(|first| first.get("payload"));
    for (key, at) in TELLING.iter().flat_map(|key| [(key, first), (key, payload)]) {
        match at.and_then(|at| at.get(key)) {
            Some(Value::String(value)) if !value.is_empty() => told = format!("{told} {value}"),
            Some(Value::Number(value)) => told = format!("{told} {value}"),
            _ => {}
        }
    }
    told
}

/// Numbers come all the time and tell nothing.
fn of_fact(fact: &Value) -> Option<String> {
    let (name, about) = match fact {
        Value::String(name) => (name.as_str(), None),
        Value::Object(all) => all.iter().next().map(|(name, about)| (name.as_str(), Some(about)))?,
        _ => return None,
    };
    if name == "stats" {
        return None;
    }
    let epoch = about.and_then(|about| about.get("epoch")).map(|epoch| format!(" (epoch {epoch})"));
    Some(format!("{}{}", name.replace('_', " "), epoch.unwrap_or_default()))
}

fn of_mail(mail: &MailSaid) -> String {
    match mail {
        MailSaid::NameSettled(name) => format!("the name is settled: {name}"),
        MailSaid::RoomSettled(room) => format!("room {room} is settled"),
        MailSaid::ProveAlive { name, asker, is_same } => {
            let who = if *is_same { "the same client" } else { "another client" };
            format!("{asker}, {who}, wants {name}")
        }
        MailSaid::MediaSocketFlows(epoch) => format!("a media socket flows (epoch {})", epoch.0),
        MailSaid::Proven { name, alive } => {
            format!("the holder of {name} {}", if *alive { "lives" } else { "is gone" })
        }
    }
}

/// In one line, without what a terminal would obey.
fn short(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = clean.take(TEXT_CHARS_MAX).collect();
    if text.chars().nth(TEXT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
