//! The way back after the loss of an upstream: backoff, dial, `connection`, then the client's
//! intents in the order of rule R5.

use std::time::Duration;

use crate::{
    settings::RestoreMode,
    signaling::{Peek, peek, remove_fields, set_field, view::SIP_FIELDS},
};

use super::{
    Close, DialError, Epoch, Event, LossCause, Output, Priority, backoff,
    core::Session,
    packed::Packed,
    state::{Lever, Link, News, Outage, Stage, Upstream},
    stream::Standing,
    upstream::with_token,
};

impl Session {
    pub(super) fn upstream_lost(&mut self, cause: LossCause) {
        match self.link {
            Link::Up | Link::First if self.closes_with_upstream() => self.end_as(cause),
            Link::Up | Link::First => self.begin_outage(cause),
            Link::Down(outage) => {
                let error = DialError::Unreachable(format!("the connection ended: {cause:?}"));
                if matches!(outage.stage, Stage::Resuming { .. }) {
                    self.upstream.resume_refused = true;
                }
                self.upstream.news.was_answered = false;
                self.try_failed(Event::AttemptFailed { tries: self.upstream.tries, error }, None);
            }
            Link::PassedThrough | Link::Ended => {}
        }
    }

    /// A server that refused the client and then closes means it; and restoring may be off.
    fn closes_with_upstream(&self) -> bool {
        self.client.refused || !self.settings.restore.connection
    }

    fn begin_outage(&mut self, cause: LossCause) {
        // A session that stands for a moment proves nothing: a server that takes it and closes has
        // not taken it back. Tries and backoff start afresh after a connection that stayed.
        let stayed = self.now.since(self.upstream.established_at) >= self.settings.restore.stable_after;
        if stayed {
            (self.upstream.failures, self.upstream.tries) = (0, 0);
        } else {
            self.upstream.failures = self.upstream.failures.saturating_add(1);
        }
        self.upstream.news = News::default();
        // The very first loss is always followed by a try at once.
        let failures = if self.epoch == Epoch(0) { 0 } else { self.upstream.failures };
        let until = self.now + self.backoff(failures);
        self.link = Link::Down(Outage { since: self.now, stage: Stage::Waiting { until } });
        self.upstream.resume_refused = false;
        if let Some(lever) = &mut self.lever {
            // It waits for the next epoch to stand.
            lever.at = None;
        }
        if let Some(token) = self.client.token.clone() {
            let epoch = self.epoch;
            self.outputs.push(Output::RouteMediaSockets { token, epoch, upstream_token: None });
        }
        self.answer_pending();
        self.finish_calls();
        self.streams_lose_upstream();
        let streams = self.ledger.streams.len();
        self.event(Event::UpstreamLost { cause, streams });
        if self.tries_are_used_up() {
            return self.give_up("no connection lasted".to_owned());
        }
        if until <= self.now {
            self.dial();
        }
    }

    fn backoff(&mut self, failures: u32) -> Duration {
        let restore = &self.settings.restore;
        backoff::delay(restore.backoff_initial, restore.backoff_max, failures, &mut self.random)
    }

    fn dial(&mut self) {
        let Link::Down(outage) = &mut self.link else { return };
        outage.stage = Stage::Dialing;
        self.upstream.tries = self.upstream.tries.saturating_add(1);
        self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        let priority = if self.ledger.publishes() { Priority::Publisher } else { Priority::Other };
        self.outputs.push(Output::Dial { epoch: self.epoch, priority });
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.link, Link::Down(Outage { stage: Stage::Waiting { .. }, .. }))
    }

    /// Dials that count for the present outage; none outside of one.
    pub(super) const fn tries_of_outage(&self) -> u32 {
        if self.outage().is_some() { self.upstream.tries } else { 0 }
    }

    fn tries_are_used_up(&self) -> bool {
        let tries_max = self.settings.restore.tries_max;
        tries_max > 0 && self.upstream.tries >= tries_max
    }

    /// Ends the wait of a session that could not reach its node; one that a node answered has its
    /// backoff. If believing it came to nothing, it is believed again only after the longest backoff.
    pub(super) fn node_up(&mut self) {
        let news = &mut self.upstream.news;
        let again = self.settings.restore.backoff_max;
        let too_soon = news.node_believed_at.is_some_and(|at| self.now.since(at) < again);
        if self.is_waiting() && !self.upstream.news.was_answered && !too_soon {
            self.upstream.news.node_believed_at = Some(self.now);
            self.dial();
        }
    }

    /// Ends the wait of a session that a node refused, once in an outage.
    pub(super) fn path_up(&mut self) {
        if self.is_waiting() && self.upstream.news.was_answered && !self.upstream.news.path_believed {
            self.upstream.news.path_believed = true;
            self.dial();
        }
    }

    pub(super) fn dial_failed(&mut self, error: DialError) {
        if self.outage().is_none() {
            return;
        }
        // The upstream knows this client and does not want it: the same as a refused `connection`.
        if let DialError::Refused(status @ (401 | 403)) | DialError::Busy(status @ (401 | 403), _) = error {
            return self.give_up(format!("the upstream refused the handshake with status {status}"));
        }
        self.upstream.news.was_answered = !matches!(error, DialError::Unreachable(_));
        let told = if let DialError::Busy(_, wait) = error { Some(wait) } else { None };
        // Whoever was told when to come again is not called earlier by what others see.
        self.upstream.news.path_believed |= told.is_some();
        self.try_failed(Event::AttemptFailed { tries: self.upstream.tries, error }, told);
    }

    /// One try is over; the next waits for its backoff, and for as long as the node asked (within a
    /// bound), or there is none.
    fn try_failed(&mut self, event: Event, told: Option<Duration>) {
        if self.outage().is_none() {
            return;
        }
        self.event(event);
        if self.tries_are_used_up() {
            return self.give_up("no try succeeded".to_owned());
        }
        self.upstream.failures = self.upstream.failures.saturating_add(1);
        let told = told.unwrap_or_default().min(self.settings.restore.retry_after_max);
        let until = self.now + told + self.backoff(self.upstream.failures);
        self.streams_lose_upstream();
        self.set_stage(Stage::Waiting { until });
    }

    /// The kept session is not there any more: the client's own `connection` goes out next, on a
    /// new socket (rule R8).
    pub(super) fn resume_came_to_nothing(&mut self, info: &str) {
        self.upstream.resume_refused = true;
        self.abandon_try(info);
    }

    /// Ends a try whose connection stands but is of no use.
    pub(super) fn abandon_try(&mut self, info: &str) {
        if self.outage().is_none() {
            return;
        }
        self.outputs.push(Output::CloseUpstream(self.epoch, Close::NoCode));
        let tries = self.upstream.tries;
        let event = Event::ReplayRefused { tries, info: info.to_owned(), retry: true };
        self.upstream.news.was_answered = true;
        self.try_failed(event, None);
    }

    /// Rule R10: everything is reported, then the socket ends as a dying server ends it.
    pub(super) fn give_up(&mut self, reason: String) {
        let tries = self.tries_of_outage();
        self.event(Event::GaveUp { reason, tries });
        self.report_everything();
        self.end(Some(Close::Code(1001)), Close::NoCode);
    }

    pub(super) fn upstream_opened(&mut self) {
        if self.outage().is_none() {
            return;
        }
        self.upstream = Upstream {
            token: self.upstream.token.take(),
            resume_refused: self.upstream.resume_refused,
            failures: self.upstream.failures,
            tries: self.upstream.tries,
            news: self.upstream.news,
            ..Upstream::new(self.now)
        };
        let Some(connection) = self.client.connection.as_ref().map(Packed::unpack) else {
            // The first words of the client find this upstream.
            self.link = Link::First;
            return self.hear_first_words();
        };
        let resume = self.client.keep_alive && self.client.established && !self.upstream.resume_refused;
        if let (true, Some(token)) = (resume, &self.upstream.token) {
            let message = resuming(&connection, token);
            self.upstream.resumed = true;
            self.set_stage(Stage::Resuming { until: self.now + self.settings.restore.resume_wait });
            self.say_upstream(message);
        } else {
            self.set_stage(Stage::Connecting { until: self.now + self.settings.restore.answer_timeout });
            self.say_upstream(connection);
        }
    }

    /// The server refused the `connection` we repeated (rule R8).
    pub(super) fn session_refused(&mut self, peek: &Peek<'_>) {
        let Some(outage) = self.outage() else { return };
        let info = peek.string("info").unwrap_or_default().into_owned();
        if matches!(outage.stage, Stage::Resuming { .. }) {
            return self.resume_came_to_nothing(&info);
        }
        if self.settings.restore.is_transient(&info) {
            return self.abandon_try(&info);
        }
        self.event(Event::ReplayRefused { tries: self.upstream.tries, info, retry: false });
        self.report_everything();
        self.outputs.push(Output::ForwardToClient);
        self.end(Some(Close::Code(1001)), Close::NoCode);
    }

    pub(super) fn run_stage_timer(&mut self) {
        let Some(outage) = self.outage() else { return };
        if !self.is_due(outage.stage.deadline()) {
            return;
        }
        match outage.stage {
            Stage::Waiting { .. } => self.dial(),
            Stage::Dialing => {}
            Stage::Resuming { .. } => {
                self.resume_came_to_nothing("no answer to the resume");
            }
            Stage::Connecting { .. } => self.abandon_try("no getUserData"),
            Stage::Registering { .. } => self.join_rooms(),
            Stage::Joining { .. } => self.restore_streams(),
        }
    }

    /// `getUserData` came on the new upstream.
    pub(super) fn session_established(&mut self) {
        self.clear_kept_session();
        self.put_on_probation();
        if self.client.registered && !self.upstream.resumed && !self.upstream.registered {
            self.set_stage(Stage::Registering { until: self.now + self.settings.restore.answer_timeout });
        } else {
            self.join_rooms();
        }
    }

    /// The last stage: every stream is replayed, put on probation, or told the truth.
    pub(super) fn restore_streams(&mut self) {
        let Some(outage) = self.outage() else { return };
        self.link = Link::Up;
        let tries = self.upstream.tries;
        self.event(Event::SessionRestored { outage: self.now.since(outage.since), tries });
        if self.ledger.debug {
            self.say_upstream(br#"{"message":"sessionDebug","data":[{"command":"start"}]}"#.to_vec());
        }
        self.clear_kept_session();
        self.settle_lost_streams();
        self.replay_held_streams(true);
        self.replay_held_streams(false);
        self.arm_lever();
        self.send_held();
    }

    /// On a resumed session the server may prove answered streams alive from now on.
    fn put_on_probation(&mut self) {
        if !(self.upstream.resumed || self.upstream.perhaps_resumed) || !self.mode_resumes() {
            return;
        }
        let until = self.now + self.settings.restore.resume_wait;
        for stream in self.ledger.streams.iter_mut() {
            stream.put_on_probation(until);
        }
    }

    fn settle_lost_streams(&mut self) {
        while let Some(stream_id) = self.ledger.streams.find(|stream| stream.is(Standing::Lost)) {
            if self.upstream.resumed {
                self.stop_upstream(stream_id);
            }
            self.report(stream_id);
        }
    }

    fn replay_held_streams(&mut self, publishes: bool) {
        let mut place = 0;
        while let Some(stream) = self.ledger.streams.at(place) {
            let (stream_id, before) = (stream.id(), self.ledger.streams.len());
            if stream.is(Standing::Held) && stream.kind().is_publish() == publishes {
                self.replay_stream(stream_id);
            }
            if self.ledger.streams.len() == before {
                place += 1;
            }
        }
    }

    const fn mode_resumes(&self) -> bool {
        matches!(self.client.mode, RestoreMode::Auto | RestoreMode::Anchor | RestoreMode::Resume)
    }

    /// The mode as it is spelled in the settings.
    pub(super) const fn mode_name(&self) -> &'static str {
        self.client.mode.word()
    }

    /// Mode `restart`: a stream was reported; unless the client starts something by itself, it
    /// gets a second `getUserData` when the new epoch stands (protocol S3.6).
    pub(super) fn arm_lever(&mut self) {
        if !self.is_up() {
            return;
        }
        let at = self.now + self.settings.restore.restart_wait;
        match &mut self.lever {
            Some(lever) if lever.wanted => lever.at = lever.at.or(Some(at)),
            _ => drop(self.take_lever()),
        }
    }

    /// A stream was reported because of an outage.
    pub(super) fn want_lever(&mut self) {
        if let Some(lever) = self.new_lever() {
            lever.wanted = true;
        }
    }

    /// Keeps the `getUserData` of the new epoch for the case that it is wanted.
    pub(super) fn load_lever(&mut self, user_data: &[u8]) {
        if self.new_lever().is_none() {
            return;
        }
        let fits = self.keep_if(self.may_keep(user_data.len(), user_data.len()), user_data.len());
        if let Some(lever) = self.new_lever() {
            lever.user_data = fits.then(|| Packed::plain(user_data));
        }
    }

    /// The publish of this name was reported, and will be back when the lever is pulled.
    pub(super) fn expect_again(&mut self, name: &str) -> bool {
        let names_max = self.settings.bounds.streams_max;
        let fits = self.may_keep_id(name).is_ok();
        let expects = self.new_lever().filter(|lever| fits && lever.names.len() < names_max);
        expects.map(|lever| lever.names.push(name.into())).is_some()
    }

    /// The lever is pulled, or not needed any more: from now on the names count as lost a moment
    /// ago.
    pub(super) fn take_lever(&mut self) -> Option<Box<Lever>> {
        let mut lever = self.lever.take()?;
        for name in std::mem::take(&mut lever.names) {
            let published = self.ledger.streams.iter().any(|s| s.kind().is_publish() && *s.name() == *name);
            if !published {
                self.give_up_name(&name, crate::registry::EndOfName::Lost);
            }
        }
        Some(lever)
    }

    fn new_lever(&mut self) -> Option<&mut Lever> {
        (self.client.mode == RestoreMode::Restart).then(|| {
            &mut **self.lever.get_or_insert_with(|| {
                Box::new(Lever { at: None, user_data: None, wanted: false, names: Vec::new() })
            })
        })
    }

    pub(super) fn run_lever_timer(&mut self) {
        let at = self.lever.as_ref().and_then(|lever| lever.at);
        if !self.is_due(at) || !self.is_up() {
            return;
        }
        let user_data = self.take_lever().and_then(|lever| lever.user_data);
        let Some(user_data) = user_data.as_ref().map(Packed::unpack) else { return };
        let message = peek(&user_data).ok().and_then(|peek| with_token(&peek, self.client.token.as_deref()));
        self.say_to_client(message.unwrap_or(user_data));
        if self.client.registered {
            // ESTABLISHED has just downgraded a registered session (protocol S3.1).
            self.say_to_client(br#"{"message":"registered","data":[null]}"#.to_vec());
        }
    }
}

/// `connection` with the token of the dead session and without SIP credentials (protocol S7).
fn resuming(connection: &[u8], token: &str) -> Vec<u8> {
    let Some(object) = object_of(connection) else { return connection.to_vec() };
    let without_sip = remove_fields(connection, object, &SIP_FIELDS);
    let Some(object) = object_of(&without_sip) else { return without_sip };
    set_field(&without_sip, object, "authToken", &serde_json::Value::from(token).to_string())
}

fn object_of(message: &[u8]) -> Option<crate::signaling::Span> {
    peek(message).ok()?.argument(0)
}
