//! Whom a fault strikes: the choice of connections, sessions and streams.

use serde::{Deserialize, Serialize};

use super::settings::StreamVerb;
use super::world::{ConnectionId, Role, SessionNumber, World};

/// A choice of connections; every field narrows it, none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionChoice {
    /// The number of a session.
    pub session: Option<u64>,
    /// The number of a connection.
    pub connection: Option<u64>,
    /// The `appKey`.
    pub app_key: Option<String>,
    /// The login in `custom` or the SIP login.
    pub login: Option<String>,
    /// A name that the session publishes or plays.
    pub stream: Option<String>,
    /// Media sockets only (true) or signaling sockets only (false).
    pub media: Option<bool>,
    /// Only the first of them, in the order of their arrival.
    pub first: Option<usize>,
}

/// A choice of streams; every field narrows it, none means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamChoice {
    /// The stream's name.
    pub name: Option<String>,
    /// The `mediaSessionId`.
    pub id: Option<String>,
    /// Publishes or plays.
    pub verb: Option<StreamVerb>,
    /// The number of a session.
    pub session: Option<u64>,
}

impl World {
    /// The connections that `whom` means, oldest first.
    pub(super) fn connections_of(&self, whom: &ConnectionChoice) -> Vec<ConnectionId> {
        let mut ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(id, connection)| {
                let (session, media) = match connection.role {
                    Role::Session(session) => (Some(session), false),
                    Role::Media(session) => (Some(session), true),
                    Role::New | Role::Spent => (None, false),
                };
                whom.connection.is_none_or(|wanted| wanted == **id)
                    && whom.media.is_none_or(|wanted| wanted == media)
                    && self.session_fits(session, whom)
            })
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids.truncate(whom.first.unwrap_or(usize::MAX));
        ids
    }

    /// The sessions that `whom` means, oldest first.
    pub(super) fn sessions_of(&self, whom: &ConnectionChoice) -> Vec<SessionNumber> {
        let mut numbers: Vec<SessionNumber> = self
            .sessions
            .values()
            .filter(|session| {
                whom.connection.is_none_or(|wanted| session.attached == Some(wanted))
                    && self.session_fits(Some(session.number), whom)
            })
            .map(|session| session.number)
            .collect();
        numbers.sort_unstable();
        numbers.truncate(whom.first.unwrap_or(usize::MAX));
        numbers
    }

    fn session_fits(&self, number: Option<SessionNumber>, whom: &ConnectionChoice) -> bool {
        if whom.session.is_none() && whom.app_key.is_none() && whom.login.is_none() && whom.stream.is_none() {
            return true;
        }
        let Some(session) = number.and_then(|number| self.sessions.get(&number)) else { return false };
        let sip_login = session.connection.get("sipLogin").and_then(serde_json::Value::as_str);
        whom.session.is_none_or(|wanted| wanted == session.number)
            && whom.app_key.as_deref().is_none_or(|wanted| wanted == session.app_key)
            && whom
                .login
                .as_deref()
                .is_none_or(|wanted| session.login().as_deref() == Some(wanted) || sip_login == Some(wanted))
            && whom.stream.as_deref().is_none_or(|wanted| {
                session
                    .streams
                    .iter()
                    .filter_map(|id| self.streams.get(id))
                    .any(|stream| stream.name == wanted)
            })
    }

    /// The ids of the streams that `choice` means, oldest first.
    pub(super) fn streams_of(&self, choice: &StreamChoice) -> Vec<String> {
        let mut streams: Vec<_> = self
            .streams
            .values()
            .filter(|stream| {
                choice.name.as_deref().is_none_or(|wanted| wanted == stream.name)
                    && choice.id.as_deref().is_none_or(|wanted| wanted == stream.id)
                    && choice.verb.is_none_or(|wanted| wanted == stream.verb)
                    && choice.session.is_none_or(|wanted| wanted == stream.session)
            })
            .map(|stream| (stream.serial, stream.id.clone()))
            .collect();
        streams.sort_unstable();
        streams.into_iter().map(|(_, id)| id).collect()
    }
}
