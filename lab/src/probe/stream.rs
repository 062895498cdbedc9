//! One publish or play from the request to the word of the server on it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    Probe,
    quick::{is_end, is_running},
    session::{Heard, Said, Session},
};
use crate::{load::webrtc_client::WebRtcClient, messages};

/// How long the answer to a publish or play may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the status may take that follows on it: some servers wait for media.
const STATUS_TIME_MAX: Duration = Duration::from_secs(4);

/// A stream that was asked for, and what the server said to it.
pub(super) struct Stream {
    pub(super) publish: bool,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) asked: Instant,
    /// Messages that had come before it was asked for.
    from: usize,
    /// `setRemoteSDP`.
    pub(super) sdp: Option<Said>,
    /// PUBLISHING or PLAYING.
    pub(super) running: Option<Said>,
    /// What refused or ended it.
    pub(super) refused: Option<Said>,
}

impl Stream {
    /// Asks for a stream and waits for its answer, which `client` is given, if there is one.
    pub(super) async fn start(
        probe: &Probe,
        session: &Session,
        (publish, name, provider): (bool, &str, &str),
        offer: &str,
        client: Option<&WebRtcClient>,
    ) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let from = session.count();
        let verb = if publish { "publishStream" } else { "playStream" };
        let mut stream = Self {
            publish,
            name: name.to_owned(),
            asked: Instant::now(),
            from,
            sdp: None,
            running: None,
            refused: None,
            id,
        };
        session.say(verb, &messages::stream(publish, &stream.id, name, provider, offer)).await;
        let limit = probe.limit(ANSWER_TIME_MAX);
        let _ = session
            .wait(limit, |heard| {
                (stream.sdp_in(heard).is_some() || stream.refused_in(heard).is_some()).then_some(())
            })
            .await;
        stream.sdp = session.look(|heard| stream.sdp_in(heard).cloned());
        if let (Some(client), Some(sdp)) = (client, stream.sdp_text()) {
            // Whether it can be used shows in whether media connects.
            let _ = client.apply_answer(sdp).await;
        }
        if stream.sdp.is_some() {
            let limit = probe.limit(STATUS_TIME_MAX);
            let _ = session
                .wait(limit, |heard| {
                    (stream.running_in(heard).is_some() || stream.refused_in(heard).is_some()).then_some(())
                })
                .await;
        }
        stream.running = session.look(|heard| stream.running_in(heard).cloned());
        stream.refused = session.look(|heard| stream.refused_in(heard).cloned());
        stream
    }

    fn heard<'a>(&self, heard: &'a Heard) -> impl Iterator<Item = &'a Said> + use<'a> {
        heard.messages.iter().skip(self.from)
    }

    fn sdp_in<'a>(&self, heard: &'a Heard) -> Option<&'a Said> {
        self.heard(heard).find(|said| {
            said.name == "setRemoteSDP" && said.at_index(0).and_then(Value::as_str) == Some(&self.id)
        })
    }

    fn running_in<'a>(&self, heard: &'a Heard) -> Option<&'a Said> {
        self.heard(heard)
            .find(|said| said.is_status_of(&self.id) && said.field("status").is_some_and(is_running))
    }

    fn refused_in<'a>(&self, heard: &'a Heard) -> Option<&'a Said> {
        self.heard(heard).find(|said| {
            said.is_fail_of(&self.id)
                || said.is_status_of(&self.id) && said.field("status").is_some_and(is_end)
        })
    }

    /// The first status that neither says that it runs nor ends it.
    pub(super) fn status_before(&self, session: &Session) -> Option<String> {
        session.look(|heard| {
            let mut statuses = self.heard(heard).filter(|said| said.is_status_of(&self.id));
            let first = statuses.next()?.field("status")?;
            (!is_running(first) && !is_end(first)).then(|| first.to_owned())
        })
    }

    /// Whether the description came before the status.
    pub(super) fn sdp_is_first(&self, session: &Session) -> Option<bool> {
        session.look(|heard| {
            let place = |wanted: &Said| {
                self.heard(heard).position(|said| said.at == wanted.at && said.name == wanted.name)
            };
            Some(place(self.sdp.as_ref()?)? < place(self.running.as_ref()?)?)
        })
    }

    /// The description that the server answers.
    pub(super) fn sdp_text(&self) -> Option<&str> {
        self.sdp.as_ref()?.at_index(1)?.as_str().filter(|sdp| !sdp.is_empty())
    }

    /// Whether it was accepted.
    pub(super) const fn is_accepted(&self) -> bool {
        self.refused.is_none() && (self.running.is_some() || self.sdp.is_some())
    }

    /// By what it was refused, and with which text; none: it was not.
    pub(super) fn refusal(&self) -> Option<(&'static str, Option<&str>)> {
        let refused = self.refused.as_ref()?;
        Some((if refused.name == "fail" { "fail" } else { "status" }, refused.field("info")))
    }

    /// Ends it, if it is there to be ended; the last word of the server and how long that took.
    pub(super) async fn stop(&self, probe: &Probe, session: &Session) -> Option<(String, Duration)> {
        if self.refused.is_some() {
            return None;
        }
        super::quick::stop(probe, session, self.publish, &self.id, &self.name).await
    }
}
