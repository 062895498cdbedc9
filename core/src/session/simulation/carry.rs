//! The driver's part: inputs go into a session, its outputs are carried out, and looked at on the
//! way.

use serde_json::Value;

use crate::{media::Fact, recording::Recorder};

use super::{
    super::{
        Close, DialError, Epoch, Event, Evidence, Input, LossCause, Mail, MediaCommand, Mode, MoveOutcome,
        NodeId, Outcome, Output, SessionId, StreamKey, Timestamp, stream::Standing,
    },
    kit::{message, word},
    rules::Rule,
    sabotage::Sabotage,
    server::Node,
    world::{Happening, Leg, World},
};

/// More than any backoff makes of a second.
const DIALS_PER_SECOND_MAX: usize = 9;

impl World {
    /// One input into a session, and everything it leads to.
    pub(super) fn feed(&mut self, slot: usize, input: Input<'_>) {
        let frame = match &input {
            Input::ClientText(text) | Input::UpstreamText(_, text) => text.to_vec(),
            _ => Vec::new(),
        };
        let from_client = matches!(input, Input::ClientText(_));
        self.handle(slot, input, &frame, from_client);
        self.look_at_timers(slot);
        self.bury(slot);
    }

    /// The same without the looks that follow it.
    pub(super) fn handle(&mut self, slot: usize, input: Input<'_>, frame: &[u8], from_client: bool) {
        let now = Timestamp::from_ms(self.now);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = member.id;
        match self.recorders.get_mut(&id) {
            Some(recorders) => {
                Recorder::handle(recorders, &mut member.session, input, now, &mut &*self.registry);
            }
            None => member.session.handle(input, now, &mut &*self.registry),
        }
        let outputs = member.session.take_outputs();
        for output in outputs {
            self.record.note(self.now, id, &output, frame);
            self.carry(slot, output, frame, from_client);
        }
        self.look_at_link(slot);
    }

    fn carry(&mut self, slot: usize, output: Output, frame: &[u8], from_client: bool) {
        self.note(|| match &output {
            Output::SendToClient(text) => format!("slot {slot}: to client {}", String::from_utf8_lossy(text)),
            Output::SendToUpstream(text) => {
                format!("slot {slot}: to upstream {}", String::from_utf8_lossy(text))
            }
            other => format!("slot {slot}: {other:?}"),
        });
        match output {
            Output::ForwardToUpstream => {
                if !from_client {
                    return self.breach(Rule::Addressed, "a forward of nothing".to_owned());
                }
                self.ask_upstream(slot, frame.to_vec(), true);
            }
            Output::ForwardToClient => {
                if from_client || frame.is_empty() {
                    return self.breach(Rule::Addressed, "a forward of nothing".to_owned());
                }
                self.tell_client(slot, frame);
            }
            Output::SendToClient(text) => self.tell_client(slot, &text),
            Output::SendToUpstream(text) => self.ask_upstream(slot, text, false),
            Output::PingClient => {
                let Some(member) = self.slots[slot].as_mut() else { return };
                if member.client.vanished.is_none() {
                    let id = member.id;
                    let pong = message("pong", Value::Null).to_string().into_bytes();
                    self.later(100, Happening::ClientSays(slot, id, pong));
                }
            }
            Output::PingUpstream => self.ping_upstream(slot),
            Output::Dial { epoch, toward, .. } => {
                self.is_led(slot, toward);
                self.dial(slot, epoch.0);
            }
            Output::DialBeside { epoch, node } => self.dial_beside(slot, epoch.0, node.0 as usize),
            Output::Lead(epoch) => self.lead(slot, epoch.0),
            Output::SendLeft(text) => self.tell_left(slot, text),
            Output::UpstreamDoubtful(epoch) => self.look_for_evidence(slot, epoch.0),
            Output::Moved(outcome) => {
                if matches!(outcome, MoveOutcome::Refused(_)) {
                    self.tally.count("a move was refused");
                }
            }
            Output::CloseUpstream(epoch, close) => self.close_upstream(slot, epoch.0, close),
            Output::CloseClient(_) => {
                if let Some(member) = self.slots[slot].as_mut() {
                    member.client_gone = true;
                }
            }
            Output::Post(id, mail) => {
                if matches!(mail, Mail::RoomSettled(_)) {
                    self.tally.count("a room was waited for");
                }
                let delay = self.dice.between(0, 20);
                self.later(delay, Happening::Letter(id, mail));
            }
            Output::Event(event) => {
                self.event(slot, &event);
                if let Event::Moved { outcome, .. } = &event {
                    self.moved(slot, outcome);
                }
            }
            Output::Mode(Mode::Session | Mode::MediaSocket) => {}
            Output::Mode(Mode::PassedThrough) => {
                if let Some(member) = self.slots[slot].as_mut() {
                    member.passed_through = true;
                    let id = member.id;
                    self.later(3_000, Happening::ClientEnds(slot, id, None));
                }
            }
            Output::Media(command) => self.media(slot, command),
            Output::RouteMediaSockets { token, .. } => {
                let id = self.slots[slot].as_ref().map(|member| member.id);
                self.routes.extend(id.map(|id| (token, id)));
            }
            Output::ForgetMediaSockets { token } => {
                let id = self.slots[slot].as_ref().map(|member| member.id);
                if self.routes.get(&token).copied() == id {
                    self.routes.remove(&token);
                }
            }
        }
    }

    /// A message to the client: the client reads it at once.
    pub(super) fn tell_client(&mut self, slot: usize, text: &[u8]) {
        for value in self.tamper_client(slot, text) {
            self.client_reads(slot, &value);
        }
    }

    fn client_reads(&mut self, slot: usize, value: &Value) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        if member.client_gone {
            let what = format!("to a client that is gone: {value}");
            return self.breach(Rule::SilentAfterEnd, what);
        }
        let terminal =
            matches!(value["data"][0]["status"].as_str(), Some("FAILED" | "STOPPED" | "UNPUBLISHED"));
        if value["data"][0]["late"] == true {
            return self.breach(Rule::OldEpochSilent, format!("{value}"));
        }
        // What nobody knows passes, from either node.
        let unknown = value["message"] == "somethingNew";
        if member.is_unseen() && !is_of_the_server(value) {
            return self.breach(Rule::MoveUnseen, format!("heard while a move is under way: {value}"));
        }
        let tag = value["data"][0]["tag"].as_u64();
        let left = member.beside.filter(|_| unknown).map(|conn| conn as u64);
        if !terminal && tag.is_some() && tag != member.conn.map(|conn| conn as u64) && tag != left {
            let what = format!("said on connection {tag:?}, heard on {:?}: {value}", member.conn);
            return self.breach(Rule::OldEpochSilent, what);
        }
        self.look_at_running(slot, value);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let mut heard = member.client.hear(value, now, &mut self.dice);
        if member.client.vanished.is_some() {
            heard.says.clear();
            heard.restart.clear();
        }
        let (id, starts, limited) = (member.id, member.client.starts, member.limited);
        for (rule, what) in heard.breaches {
            // A join past the bound is forwarded and not kept: what a resumed session says of that room has gaps.
            if !(limited && rule == Rule::RoomDifferences) {
                self.breach(rule, what);
            }
        }
        for (delay, answer) in heard.says {
            self.client_says(slot, &answer, delay);
        }
        let quiet = self.healing;
        for name in heard.restart.into_iter().filter(|_| !quiet) {
            let wait = self.dice.between(0, 800);
            self.later(wait, Happening::Restart(slot, id, name));
        }
        if heard.established && starts && !quiet {
            let name = self.name_to_publish(slot);
            self.later(20, Happening::Restart(slot, id, name));
        }
    }

    pub(super) fn ask_upstream(&mut self, slot: usize, text: Vec<u8>, forwarded: bool) {
        for text in self.tamper_upstream(slot, text, forwarded) {
            self.send_upstream(slot, text, forwarded);
        }
    }

    fn send_upstream(&mut self, slot: usize, text: Vec<u8>, forwarded: bool) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let Some(conn) = member.conn else {
            let what = format!("to an upstream that is not there: {}", String::from_utf8_lossy(&text));
            return self.breach(Rule::Addressed, what);
        };
        if member.client_gone {
            let what = format!("after the client's end: {}", String::from_utf8_lossy(&text));
            return self.breach(Rule::SilentAfterEnd, what);
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&text) {
            self.look_at_request(slot, &value, forwarded);
        }
        let at = (self.now + self.dice.between(1, 40)).max(self.conns[conn].to_server_at);
        self.conns[conn].to_server_at = at;
        self.later(at - self.now, Happening::ServerHears(conn, text));
    }

    /// What the proxy asks of an upstream on its own account.
    fn look_at_request(&mut self, slot: usize, value: &Value, forwarded: bool) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let argument = &value["data"][0];
        let verb = value["message"].as_str().unwrap_or_default();
        if verb == "sendData" && argument["payload"]["command"] == "join" {
            let room = word(&argument["payload"]["options"], "name");
            if member.left.contains(&room) {
                self.breach(Rule::WordWins, format!("{room} is joined again after it was left"));
            }
            return;
        }
        if verb != "publishStream" && verb != "playStream" {
            return;
        }
        let intent = word(&argument["custom"], "intent");
        let name = word(argument, "name");
        let Some(stream) = member.client.streams.get(&intent) else { return };
        let held = self.registry.names().get(&name).holder.is_some_and(|holder| holder.restoring);
        let restore = &self.settings.restore;
        let patience = restore.player_hold.max(self.settings.hold.time_max);
        let entry = member.session.streams.table.iter().find(|s| s.client_id() == intent);
        let first = forwarded || entry.is_some_and(|entry| entry.is(Standing::Requested));
        let patient = entry.is_some_and(|entry| Timestamp::from_ms(self.now) < entry.since() + patience);
        if member.stopped.contains(&intent) || stream.is_over() {
            self.breach(Rule::WordWins, format!("{intent} is asked for again after its end"));
        } else if stream.answers > 0 && !stream.socket && !member.anchored {
            self.breach(Rule::AnsweredStays, format!("{intent} has its answer and is asked for again"));
        } else if !first && verb == "playStream" && held && patient {
            self.breach(Rule::PublisherFirst, format!("{name} is played while its publisher is restored"));
        }
    }

    fn event(&mut self, slot: usize, event: &Event) {
        let stable_ms = self.promised.restore.stable_after.as_millis() as u64;
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        match event {
            Event::StreamOutcome { stream, outcome, .. } => {
                if let Some(stream) =
                    member.client.streams.get_mut(stream).filter(|_| *outcome == Outcome::Restored)
                {
                    stream.unsettled_since = None;
                }
                self.tally.count(match outcome {
                    Outcome::Restored => "restored",
                    Outcome::Reported => "reported",
                    Outcome::Cancelled => "cancelled",
                });
            }
            Event::LimitReached { .. } => {
                member.limited = true;
                self.tally.count("limit");
            }
            Event::UpstreamLost { .. } => {
                // Whatever was said on it: only a connection that lasted is a success.
                if now - member.connected_at >= stable_ms {
                    member.dials = 0;
                }
                member.apart.clear();
                self.tally.count("lost");
                self.others_come(slot);
            }
            Event::SessionRestored { .. } => self.tally.count("session restored"),
            Event::StreamRetry { .. } => self.tally.count("retry"),
            Event::RetriedWithoutH264 { .. } => self.tally.count("without H264"),
            Event::ClientDead { reason } => self.tally.count(reason),
            Event::ReplayRefused { retry, .. } => {
                self.tally.count(if *retry { "session retried" } else { "session refused" });
            }
            Event::GaveUp { .. } => self.tally.count("gave up"),
            Event::Moved { outcome: MoveOutcome::Done, .. } => self.tally.count("moved"),
            Event::Moved { .. } => self.tally.count("moved back"),
            Event::StreamElsewhere { .. } => self.tally.count("a stream elsewhere"),
            Event::RoomElsewhere { room, .. } => {
                self.tally.count("a room elsewhere");
                self.is_apart(slot, room);
            }
            _ => {}
        }
    }

    fn ping_upstream(&mut self, slot: usize) {
        let Some(conn) = self.slots[slot].as_ref().and_then(|member| member.conn) else {
            return self.breach(Rule::Addressed, "a ping to nobody".to_owned());
        };
        self.later(20, Happening::UpstreamPongs(conn));
    }

    /// The node is dialled anew, beside the silent connection.
    fn look_for_evidence(&mut self, slot: usize, epoch: u32) {
        let delay = self.dice.between(0, 800);
        let Some(member) = self.slots[slot].as_ref() else { return };
        self.later(delay, Happening::Evidence(slot, member.id, epoch));
    }

    pub(super) fn evidence(&mut self, slot: usize, id: SessionId, epoch: u32) {
        let Some(conn) = self.member(slot, id).and_then(|member| member.conn) else { return };
        let answers = |node: &Node| node.up && !node.frozen;
        let node = self.conns[conn].node;
        let evidence = if answers(&self.nodes[node]) {
            Evidence::NodeAnswers
        } else if self.nodes.iter().any(answers) {
            Evidence::NodeSilent
        } else {
            Evidence::None
        };
        self.tally.count("a silent upstream was looked into");
        self.feed(slot, Input::Evidence(Epoch(epoch), evidence));
    }

    /// The next dial is to go to this node, if it is up.
    fn is_led(&mut self, slot: usize, toward: Option<NodeId>) {
        let toward = toward.map(|node| node.0 as usize);
        if toward.is_some() {
            self.tally.count("led to a room");
        }
        if let Some(member) = self.slots[slot].as_mut() {
            member.toward = toward;
        }
    }

    fn dial(&mut self, slot: usize, epoch: u32) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = member.id;
        if member.client_gone {
            return self.breach(Rule::SilentAfterEnd, format!("a dial for epoch {epoch} after the end"));
        }
        if member.refused {
            return self.breach(Rule::NotHammered, "a dial after the credentials were refused".to_owned());
        }
        if member.dialing.is_some() || member.conn.is_some() || epoch <= member.epoch {
            let (dialing, conn) = (member.dialing, member.conn);
            let what = format!("dial of epoch {epoch}, under way {dialing:?}, connected {conn:?}");
            return self.breach(Rule::OneDial, what);
        }
        member.dialing = Some(epoch);
        member.dials += 1;
        member.dialled_at.retain(|at| *at + 1_000 > now);
        member.dialled_at.push(now);
        let crowd = member.dialled_at.len();
        if crowd > DIALS_PER_SECOND_MAX {
            self.breach(Rule::Paced, format!("session {id} dials {crowd} times within a second"));
        }
        let member = self.slots[slot].as_mut().expect("a member");
        let (dials, allowed) = (member.dials, self.tries_allowed());
        if dials > allowed {
            self.breach(Rule::TriesBounded, format!("dial {dials} of {allowed}"));
        }
        let delay = self.dice.between(1, 80);
        self.later(delay, Happening::DialDone(slot, id, epoch));
        if self.dials_again() {
            self.dial(slot, epoch + 1);
        }
    }

    pub(super) fn dial_done(&mut self, slot: usize, id: SessionId, epoch: u32) {
        let Some(member) = self.member(slot, id).filter(|member| member.dialing == Some(epoch)) else {
            return;
        };
        let toward = member.toward;
        let drawn = self.dice.between(0, self.nodes.len() as u64 - 1) as usize;
        let node = toward.filter(|node| self.nodes[*node].up && !self.nodes[*node].frozen).unwrap_or(drawn);
        let error = if self.nodes[node].frozen && self.dice.percent(90) {
            // Looked at again until the driver's time limit is drawn.
            return self.later(500, Happening::DialDone(slot, id, epoch));
        } else if !self.nodes[node].up || self.nodes[node].frozen {
            Some(DialError::Unreachable("refused".to_owned()))
        } else if !self.healing && self.dice.percent(3) {
            let wait = std::time::Duration::from_secs(self.dice.between(1, 60));
            Some(self.dice.pick(&[
                DialError::Refused(503),
                DialError::Refused(502),
                DialError::Refused(404),
                DialError::Refused(401),
                DialError::Busy(503, wait),
                DialError::Local("too many open files".to_owned()),
            ]))
        } else if !self.healing && self.dice.percent(2) {
            Some(DialError::BadHandshake("an extension nobody offered".to_owned()))
        } else {
            None
        };
        let member = self.member(slot, id).expect("a member");
        member.dialing = None;
        self.note(|| format!("slot {slot}: dial of epoch {epoch} {error:?}"));
        match error {
            Some(error) => {
                let member = self.member(slot, id).expect("a member");
                member.epoch = epoch;
                member.refused |= matches!(error, DialError::Refused(401));
                self.feed(slot, Input::DialFailed(Epoch(epoch), error));
                self.tell_news(slot, id);
            }
            None => {
                self.connect(slot, id, epoch, node);
                self.feed(slot, Input::UpstreamOpened(Epoch(epoch), NodeId(node as u32)));
                if !self.healing && self.dice.percent(5) {
                    self.close_soon(slot, id);
                }
            }
        }
    }

    /// Probes say that all is well, whether it is or not.
    fn tell_news(&mut self, slot: usize, id: SessionId) {
        if self.dice.percent(30) {
            for delay in [20, 120, 220, 320, 420, 520, 620, 720, 820, 920] {
                self.later(delay, Happening::News(slot, id));
            }
        }
    }

    /// A server that takes the connection, and perhaps the session, and closes.
    fn close_soon(&mut self, slot: usize, id: SessionId) {
        let Some(conn) = self.member(slot, id).and_then(|member| member.conn) else { return };
        self.tally.count("flap");
        let delay = self.dice.pick(&[1, 30, 400, 2_000]);
        self.later(delay, Happening::Flaps(conn));
    }

    fn close_upstream(&mut self, slot: usize, epoch: u32, close: Close) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        if member.dialing == Some(epoch) {
            member.dialing = None;
        }
        let keeps_left = self.keeps_left(slot);
        let Some(member) = self.slots[slot].as_mut() else { return };
        let conns = &self.conns;
        let is_left = member.beside.is_some_and(|conn| conns[conn].epoch == epoch);
        if keeps_left && is_left && !member.client_gone {
            return;
        }
        let is_meant = |conn: &Option<usize>| conn.is_some_and(|conn| conns[conn].epoch == epoch);
        let places = [&mut member.conn, &mut member.beside].into_iter();
        let Some(conn) = places.filter(|place| is_meant(place)).find_map(Option::take) else { return };
        self.conns[conn].proxy_open = false;
        self.conns[conn].closed_at = Some(self.now);
        if is_left && self.leaves_silently() {
            return;
        }
        if !self.conns[conn].black {
            // An abort may never get there.
            if close != Close::Abort || self.dice.percent(70) {
                let at = (self.now + 5).max(self.conns[conn].to_server_at);
                self.later(at - self.now, Happening::ServerLearns(conn));
                return;
            }
        }
        self.haunt(conn);
    }

    /// The upstream's word reaches the proxy.
    pub(super) fn upstream_says(&mut self, conn: usize, text: &[u8]) {
        let (slot, id, epoch) = self.whose(conn);
        if self.conns[conn].black || !self.conns[conn].proxy_open {
            return;
        }
        if self.member(slot, id).is_none_or(|member| member.passed_through) {
            return;
        }
        let text = self.tamper_server(text);
        self.note(|| format!("slot {slot}: server says {}", String::from_utf8_lossy(&text)));
        self.feed(slot, Input::UpstreamText(Epoch(epoch), &text));
        self.leak(slot, &text);
    }

    /// The upstream's socket ends, as the proxy sees it.
    pub(super) fn upstream_ends(&mut self, conn: usize, cause: LossCause) {
        let (slot, id, epoch) = self.whose(conn);
        if !self.conns[conn].proxy_open {
            return;
        }
        self.conns[conn].proxy_open = false;
        let opened_at = self.conns[conn].opened_at;
        let Some(member) = self.member(slot, id) else { return };
        member.connected_at = opened_at;
        for place in [&mut member.conn, &mut member.beside] {
            place.take_if(|there| *there == conn);
        }
        if member.passed_through {
            member.client_gone = true;
            self.slots[slot] = None;
            return self.later(500, Happening::Arrives(slot));
        }
        self.note(|| format!("slot {slot}: upstream of epoch {epoch} lost: {cause:?}"));
        self.feed(slot, Input::UpstreamLost(Epoch(epoch), cause));
    }

    /// Something an older epoch said arrives late, against all contracts.
    pub(super) fn late_word(&mut self, slot: usize, id: SessionId, epoch: u32) {
        let Some(member) =
            self.member(slot, id).filter(|member| member.epoch > epoch && !member.passed_through)
        else {
            return;
        };
        let stream = member.client.streams.iter().find(|(_, stream)| !stream.is_over());
        let current = member.epoch;
        let Some((media, stream)) = stream else { return };
        let (media, name) = (media.clone(), stream.name.clone());
        if member.beside.is_some_and(|conn| self.conns[conn].epoch == epoch) {
            // That connection stands.
            return;
        }
        let late = message(
            "notifyStreamStatusEvent",
            serde_json::json!({"mediaSessionId": media, "name": name, "status": "FAILED", "late": true}),
        );
        let epoch = self.tamper_epoch(epoch, current);
        let text = late.to_string().into_bytes();
        self.note(|| format!("slot {slot}: late word of epoch {epoch}"));
        self.feed(slot, Input::UpstreamText(Epoch(epoch), &text));
    }

    fn media(&mut self, slot: usize, command: MediaCommand) {
        let Some(member) = self.slots[slot].as_mut() else { return };
        let id = member.id;
        let delay = self.dice.between(1, 40);
        match command {
            MediaCommand::Open { key, epoch, .. } => {
                member.media.insert(key, Leg::default());
                self.later(delay, Happening::MediaOffer(slot, id, key, epoch.0));
            }
            MediaCommand::Attach { key, epoch, beside, .. } => {
                if let Some(leg) = member.media.get_mut(&key) {
                    leg.attach(beside);
                }
                self.later(delay, Happening::MediaOffer(slot, id, key, epoch.0));
            }
            MediaCommand::UpstreamAnswer { key, epoch, .. } => {
                let generation = member.media.get(&key).map_or(0, |leg| leg.generation);
                self.later(delay, Happening::MediaAnswer(slot, id, key));
                let proof = self.dice.between(100, 1_500);
                if self.healing || self.dice.percent(90) {
                    self.later(delay + proof, Happening::MediaProof(slot, id, key, epoch.0, generation));
                } else if self.dice.percent(50) {
                    // Packets come, and no key frame.
                    self.later(delay + proof, Happening::MediaLife(slot, id, key, epoch.0, generation));
                }
            }
            MediaCommand::Close { key } => {
                member.media.remove(&key);
            }
            MediaCommand::Detach { key } => {
                if let Some(leg) = member.media.get_mut(&key) {
                    leg.attach(false);
                }
            }
            MediaCommand::LetGo { key } => {
                if let Some(leg) = member.media.get_mut(&key) {
                    leg.left = None;
                }
            }
            MediaCommand::Return { key } => {
                let legs = member.media.get_mut(&key);
                if let Some((leg, left)) = legs.and_then(|leg| leg.left.take().map(|left| (leg, left))) {
                    leg.generation = left;
                }
            }
            MediaCommand::Muted { .. } | MediaCommand::Revive { .. } => {}
        }
    }

    fn media_open(&mut self, slot: usize, id: SessionId, key: StreamKey) -> bool {
        self.member(slot, id).is_some_and(|member| member.media.contains_key(&key))
    }

    pub(super) fn media_offer(&mut self, slot: usize, id: SessionId, key: StreamKey, epoch: u32) {
        if self.media_open(slot, id, key) {
            let sdp = "our offer".to_owned();
            self.feed(slot, Input::Media(key, Fact::UpstreamOffer { epoch: Epoch(epoch), sdp }));
        }
    }

    pub(super) fn media_answer(&mut self, slot: usize, id: SessionId, key: StreamKey) {
        if !self.media_open(slot, id, key) {
            return;
        }
        let member = self.member(slot, id).expect("a member");
        let leg = member.media.get_mut(&key).expect("a leg");
        if !std::mem::replace(&mut leg.answered, true) {
            self.feed(slot, Input::Media(key, Fact::ClientAnswer { sdp: "our answer".to_owned() }));
            if self.sabotage == Some(Sabotage::TellEarly) {
                self.feed(slot, Input::Media(key, Fact::ClientConnected));
            }
            if self.healing || self.dice.percent(95) {
                let delay = self.dice.between(1, 1_000);
                self.later(delay, Happening::MediaConnected(slot, id, key));
            } else {
                self.later(5_000, Happening::MediaNever(slot, id, key));
            }
        }
    }

    pub(super) fn media_connected(&mut self, slot: usize, id: SessionId, key: StreamKey) {
        if let Some(leg) = self.member(slot, id).and_then(|member| member.media.get_mut(&key)) {
            leg.connected = true;
            self.feed(slot, Input::Media(key, Fact::ClientConnected));
        }
    }

    pub(super) fn media_never(&mut self, slot: usize, id: SessionId, key: StreamKey) {
        if self.media_open(slot, id, key) {
            let reason = "nothing came from the client".to_owned();
            self.feed(slot, Input::Media(key, Fact::ClientGone { reason }));
        }
    }

    /// A stream is told to run before its client's media path stands.
    pub(super) fn look_at_running(&mut self, slot: usize, value: &serde_json::Value) {
        let argument = &value["data"][0];
        if !matches!(argument["status"].as_str(), Some("PUBLISHING" | "PLAYING")) {
            return;
        }
        let id = argument["mediaSessionId"].as_str().unwrap_or_default();
        let early = self.slots[slot].as_ref().is_some_and(|member| {
            let streams = &member.session.streams.table;
            let legs =
                streams.iter().filter(|stream| stream.client_id() == id).filter_map(|stream| stream.leg());
            legs.map(|leg| leg.key()).any(|key| member.media.get(&key).is_some_and(|leg| !leg.connected))
        });
        if early {
            self.breach(Rule::RunsConnected, format!("{id} runs before its client's media path stands"));
        }
    }

    pub(super) fn media_flows(
        &mut self,
        slot: usize,
        id: SessionId,
        key: StreamKey,
        epoch: u32,
        generation: u32,
        complete: bool,
    ) {
        let member = self.member(slot, id);
        if member.and_then(|m| m.media.get(&key)).is_some_and(|leg| leg.generation == generation) {
            let fact = Fact::Flowing { epoch: Epoch(epoch), key_frame: complete, complete };
            self.feed(slot, Input::Media(key, fact));
        }
    }
}

/// What a server says by itself, on whichever connection, and no move brings about.
fn is_of_the_server(value: &Value) -> bool {
    let of_call = value["data"][0].as_str().is_some_and(|id| id.starts_with("call"));
    match value["message"].as_str().unwrap_or_default() {
        "ping" | "somethingNew" | "inboundVideoRate" | "notifyStreamEvent" | "notifyIncomingCall"
        | "finish" => true,
        "setRemoteSDP" => of_call,
        _ => false,
    }
}
