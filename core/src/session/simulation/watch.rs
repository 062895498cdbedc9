//! What is looked at after every step.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{Input, SessionId, Timestamp, left_behind::RETIRED_BYTES_MAX, stream::Standing},
    client::Phase,
    rules::Rule,
    sabotage::Sabotage,
    world::{Happening, World},
};

/// Room for what travels: messages, letters, timers of the server.
const SLACK_MS: u64 = 1_000;
/// An upstream's silence is noticed by then, or it was frozen and came back; its answer took time.
const REQUEST_MS: u64 = 40_000;
/// How often the costly looks are taken, in steps.
const DEEP_LOOK_STEPS: u32 = 8;

fn ms(duration: std::time::Duration) -> u64 {
    duration.as_millis() as u64
}

impl World {
    pub(super) fn tries_allowed(&self) -> u32 {
        let tries = self.promised.restore.tries_max;
        if tries == 0 { u32::MAX } else { tries }
    }

    /// Whether the session is up, since when, and what a loss means for the client's streams.
    pub(super) fn look_at_link(&mut self, slot: usize) {
        let now = self.now;
        let restart = self.settings.restore.mode == crate::settings::RestoreMode::Restart;
        let Some(member) = self.slots[slot].as_mut() else { return };
        if member.session.is_ended() || member.passed_through {
            return;
        }
        let up = member.session.link.is_up() || member.session.moving.is_under_way();
        if up {
            member.up_since.get_or_insert(now);
            self.while_up(slot);
        } else if member.spoke && member.up_since.take().is_some() {
            if restart {
                member.client.established_max += 1;
            }
            for stream in member.client.streams.values_mut() {
                stream.unsettle(now);
            }
            self.after_loss(slot);
        }
    }

    pub(super) fn look_at_timers(&mut self, slot: usize) {
        let now = Timestamp::from_ms(self.now);
        for _ in 0..3 {
            let Some(member) = self.slots[slot].as_mut() else { return };
            let Some(at) = member.session.next_timeout().filter(|at| *at <= now) else { return };
            if self.sabotage == Some(Sabotage::StuckTimer) {
                let _ = at;
                continue;
            }
            self.handle(slot, Input::Timeout, &[], false);
        }
        let at = self.slots[slot].as_ref().and_then(|member| member.session.next_timeout());
        if at.is_some_and(|at| at <= now) {
            self.breach(Rule::TimersMove, format!("slot {slot} is due at {at:?}, it is {now}"));
        }
    }

    /// A session that is over makes room for the next client.
    pub(super) fn bury(&mut self, slot: usize) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let over = member.session.is_ended() || (member.passed_through && member.client_gone);
        if !over {
            return;
        }
        self.before_burial(slot);
        let Some(member) = self.slots[slot].as_ref() else { return };
        if member.session.is_ended() && (member.conn.is_some() || member.beside.is_some()) {
            self.breach(Rule::SilentAfterEnd, "the upstream is left open".to_owned());
        }
        let open = self.slots[slot].as_ref().map(|member| [member.conn, member.beside]);
        for conn in open.into_iter().flatten().flatten() {
            self.conns[conn].proxy_open = false;
            self.later(5, Happening::ServerLearns(conn));
        }
        self.at_burial(slot);
        self.note(|| format!("slot {slot} is free"));
        self.slots[slot] = None;
        if !self.closing {
            let wait = self.dice.between(100, 3_000);
            self.later(wait, Happening::Arrives(slot));
        }
    }

    /// Every rule that can be seen at any time.
    pub(super) fn watch(&mut self, count: u32) {
        for slot in 0..self.slots.len() {
            self.look_at_pings(slot);
            if count.is_multiple_of(DEEP_LOOK_STEPS) {
                self.look_at_bounds(slot);
                self.look_at_streams(slot);
                self.look_at_requests(slot);
                self.look_at_publishes(slot);
            }
        }
    }

    fn look_at_pings(&mut self, slot: usize) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let period = ms(self.settings.keepalive.ping_period) + SLACK_MS;
        if !member.spoke || member.client_gone || member.passed_through {
            return;
        }
        if let Some(since) = member.client.vanished {
            let periods = u64::from(self.promised.keepalive.missing_pings) + 2;
            if self.now > since + periods * period + SLACK_MS {
                let what = format!("session {} outlives its client, gone at {since}", member.id);
                self.breach(Rule::DeadEnd, what);
            }
        } else if self.now > member.client.last_ping + period + 50 {
            let what = format!("session {}: last ping at {}", member.id, member.client.last_ping);
            self.breach(Rule::PingsFlow, what);
        }
    }

    fn look_at_bounds(&mut self, slot: usize) {
        let Some(member) = self.slots[slot].as_ref() else { return };
        let (bounds, hold) = (&self.promised.bounds, &self.promised.hold);
        let session = &member.session;
        let held_bytes: usize = session.held_back.message_bytes();
        let sizes = [
            ("streams", session.streams.table.len(), bounds.streams_max),
            ("calls", session.calls.len(), bounds.calls_max),
            ("rooms", session.rooms.len(), bounds.rooms_max),
            ("pending requests", session.requests.len(), bounds.pending_requests_max),
            ("askers", session.client.life.askers(), bounds.pending_requests_max),
            // Behind an end that is held back comes what the server says of the same stream.
            ("burst", session.held_back.events(), bounds.pending_requests_max * 2),
            ("held messages", session.held_back.messages(), hold.count_max),
            ("held bytes", held_bytes, hold.bytes_max),
            ("kept bytes", session.kept_bytes(), bounds.bytes_max + 2 * RETIRED_BYTES_MAX),
            ("retired ids", session.retired.len(), 64),
            ("streams left behind", session.left_behind.streams.len(), 64),
            ("calls left behind", session.left_behind.calls.len(), bounds.calls_max),
            ("rooms left behind", session.left_behind.rooms.len(), bounds.rooms_max),
        ];
        for (what, size, bound) in sizes {
            if size > bound {
                return self.breach(Rule::Bounds, format!("{size} {what}, {bound} allowed"));
            }
        }
        let participants: Vec<_> = session.rooms.participants_bytes().collect();
        for (counted, known) in participants {
            if counted != known {
                let what = format!("{counted} bytes of participants, {known} known of");
                return self.breach(Rule::Bounds, what);
            }
        }
        let all: usize = self.slots.iter().flatten().map(|member| member.session.kept_bytes()).sum();
        let told = self.registry.kept().bytes();
        if all != told {
            self.breach(Rule::Bounds, format!("{all} bytes are kept, the registry knows of {told}"));
        }
    }

    fn look_at_streams(&mut self, slot: usize) {
        let now = self.now;
        let (restore, hold) = (&self.promised.restore, &self.promised.hold);
        let (report, resume) = (ms(restore.report_after), ms(restore.resume_wait));
        let (held, proof) = (ms(hold.time_max), ms(restore.proof_timeout));
        let patience = ms(restore.name_in_use_max.max(restore.player_hold).max(hold.time_max));
        let Some(member) = self.slots[slot].as_mut() else { return };
        if member.client_gone || member.client.vanished.is_some() || !member.spoke {
            return;
        }
        for stream in member.session.streams.table.iter().filter(|stream| stream.is_unsettled()) {
            if let Some(known) = member.client.streams.get_mut(stream.client_id()) {
                known.unsettle(now);
            }
        }
        let (anchored, up) = (member.anchored, member.up_since);
        let mut late = None;
        for (id, stream) in &member.client.streams {
            if let Phase::Stopping(since) = stream.phase
                && now > since + REQUEST_MS
            {
                late = Some((Rule::StopAnswered, format!("{id} was stopped at {since}")));
            }
            let Some(since) = stream.unsettled_since.filter(|_| !stream.is_over()) else { continue };
            let direct = !stream.socket && !anchored;
            let bound = match stream.phase {
                Phase::Stopping(_) | Phase::Over => continue,
                _ if direct && stream.was_answered => since + report + resume,
                Phase::Pending => since + held + 3 * proof + 4_000,
                Phase::Running => match up {
                    Some(up) => up.max(since) + patience + 3 * proof + 4_000,
                    None => continue,
                },
            };
            if now > bound + SLACK_MS {
                late = Some((Rule::Verdict, format!("{id} has no verdict since {since}")));
            }
        }
        if let Some((rule, what)) = late {
            self.breach(rule, what);
        }
    }

    fn look_at_requests(&mut self, slot: usize) {
        let now = self.now;
        let Some(member) = self.slots[slot].as_ref() else { return };
        if member.client_gone || member.client.vanished.is_some() || member.limited {
            return;
        }
        let hold = ms(self.promised.hold.time_max);
        let client = &member.client;
        let overdue = |since: &u64| now > since + REQUEST_MS;
        let operation = client.operations.iter().find(|(_, operation)| {
            let bound = REQUEST_MS + if operation.join.is_some() { hold } else { 0 };
            now > operation.since + bound
        });
        let questions = client.questions.iter().chain(&client.snapshots);
        let mut questions = questions.filter(|(_, since)| since.iter().any(overdue));
        let call = client.calls.iter().find(|(_, hung_up)| hung_up.as_ref().is_some_and(overdue));
        let what = operation
            .map(|(id, operation)| format!("operation {id} since {}", operation.since))
            .or_else(|| questions.next().map(|(id, since)| format!("question {id} since {since:?}")))
            .or_else(|| call.map(|(id, since)| format!("hangup of {id} since {since:?}")));
        if let Some(what) = what {
            self.breach(Rule::Settles, what);
        }
    }

    /// In quiet times: the client's view and the server's are the same.
    pub(super) fn look_at_agreement(&mut self) {
        for slot in 0..self.slots.len() {
            let Some(member) = self.slots[slot].as_ref() else { continue };
            if member.client_gone || member.passed_through || !member.spoke {
                continue;
            }
            let id = member.id;
            if let Some((rule, what)) = self.disagreement(slot) {
                return self.breach(rule, format!("session {id}: {what}"));
            }
        }
        self.look_at_names();
        self.look_at_rooms();
    }

    /// Whoever is in one room is on one node, or the log knows better.
    fn look_at_rooms(&mut self) {
        if !self.promised.locality {
            return;
        }
        let mut rooms: BTreeMap<&str, (BTreeSet<usize>, bool)> = BTreeMap::new();
        for member in self.slots.iter().flatten() {
            if member.client_gone || member.passed_through || member.limited {
                continue;
            }
            let Some(conn) = member.conn else { continue };
            for room in member.client.rooms.keys() {
                let (nodes, is_told) = rooms.entry(room).or_default();
                nodes.insert(self.conns[conn].node);
                *is_told |= member.apart.contains(room);
            }
        }
        let apart = rooms.into_iter().find(|(_, (nodes, is_told))| nodes.len() > 1 && !is_told);
        if let Some(what) = apart.map(|(room, (nodes, _))| format!("{room} is on nodes {nodes:?}")) {
            self.breach(Rule::RoomsMeet, what);
        }
    }

    fn disagreement(&self, slot: usize) -> Option<(Rule, String)> {
        let member = self.slots[slot].as_ref()?;
        let client = &member.client;
        let session = &member.session;
        if !session.moving.is_idle() || member.beside.is_some() {
            return Some((Rule::HalfMoved, format!("{:?} beside {:?}", member.beside, member.conn)));
        }
        if !session.link.is_up() || client.established == 0 {
            return Some((Rule::Agreement, "not up again".to_owned()));
        }
        let conn = member.conn.map(|conn| &self.conns[conn]);
        let kept = conn.and_then(|conn| self.nodes[conn.node].kept.get(&conn.kept?));
        let Some(kept) = kept.filter(|kept| kept.owner == member.id || kept.keep_alive) else {
            return Some((Rule::Agreement, "the server has no such session".to_owned()));
        };
        if kept.registered && !client.registered {
            return Some((Rule::RegisteredKept, "the client does not know that it is registered".to_owned()));
        }
        for (id, stream) in client.streams.iter().filter(|(_, stream)| !stream.is_over()) {
            let there = kept.streams.values().find(|there| there.intent == *id);
            let Some(there) = there.filter(|there| there.running && stream.phase == Phase::Running) else {
                return Some((
                    Rule::Agreement,
                    format!("{id} is {:?}, on the server {there:?}", stream.phase),
                ));
            };
            if there.audio_muted != stream.audio_muted {
                return Some((Rule::Agreement, format!("{id}: muted {} and {there:?}", stream.audio_muted)));
            }
        }
        for there in kept.streams.values() {
            if client.streams.get(&there.intent).is_none_or(|stream| stream.is_over()) {
                return Some((Rule::Agreement, format!("the server has {there:?}, over for the client")));
            }
        }
        self.other_disagreement(slot, kept)
    }

    fn other_disagreement(&self, slot: usize, kept: &super::server::Kept) -> Option<(Rule, String)> {
        let member = self.slots[slot].as_ref()?;
        let client = &member.client;
        if !member.limited {
            let rooms: Vec<_> = client.rooms.keys().collect();
            if !rooms.iter().copied().eq(kept.rooms.iter()) {
                return Some((Rule::Agreement, format!("rooms {rooms:?} and {:?}", kept.rooms)));
            }
            if !client.calls.keys().eq(kept.calls.iter()) {
                return Some((Rule::Agreement, format!("calls {:?} and {:?}", client.calls, kept.calls)));
            }
            let node = &self.nodes[self.conns[member.conn?].node];
            for (name, room) in &client.rooms {
                let there =
                    node.rooms.get(name).into_iter().flatten().filter(|(login, _)| **login != client.login);
                let there = there.map(|(login, guest)| (login.clone(), guest.streams.clone())).collect();
                if room.participants != there {
                    return Some((Rule::Agreement, format!("{name}: {:?} and {there:?}", room.participants)));
                }
            }
            if !client.operations.is_empty() || !client.questions.is_empty() {
                return Some((Rule::Settles, "requests are pending for ever".to_owned()));
            }
        }
        let unsettled = member.session.streams.table.iter().find(|stream| !stream.is(Standing::Live));
        if let Some(stream) = unsettled {
            return Some((Rule::Verdict, format!("{} is {:?}", stream.client_id(), stream.standing())));
        }
        let waiting = (
            member.session.requests.len(),
            member.session.held_back.events(),
            member.session.held_back.messages(),
        );
        if !member.limited && waiting != (0, 0, 0) || member.session.client.life.askers() > 0 {
            return Some((
                Rule::Settles,
                format!("still waiting {waiting:?}: {:?}", member.session.requests),
            ));
        }
        let anchored =
            member.session.streams.table.iter().filter(|stream| stream.opened_key().is_some()).count();
        if anchored != member.media.len() {
            return Some((Rule::Agreement, format!("{} legs for {anchored} streams", member.media.len())));
        }
        None
    }

    /// Names are held by sessions that publish them, and by nobody else.
    fn look_at_names(&mut self) {
        let names: Vec<String> = self.names.iter().cloned().collect();
        for name in names {
            let publishers: Vec<SessionId> = self
                .slots
                .iter()
                .flatten()
                .filter(|m| {
                    !m.client_gone
                        && m.client.streams.values().any(|s| s.publish && !s.is_over() && s.name == name)
                })
                .map(|member| member.id)
                .collect();
            let holder = self.registry.names().get(&name).holder;
            let fine = match holder {
                Some(holder) => publishers.contains(&holder.session) && !holder.restoring,
                None => publishers.is_empty(),
            };
            if !fine {
                let what = format!("{name} is held by {holder:?}, published by {publishers:?}");
                return self.breach(Rule::RegistryClean, what);
            }
        }
    }

    /// Nobody is left: nothing is remembered of anybody.
    pub(super) fn look_at_the_end(&mut self) {
        if let Some(member) = self.slots.iter().flatten().next() {
            let what = format!("session {} does not end", member.id);
            return self.breach(Rule::RegistryClean, what);
        }
        self.look_at_names();
        let waiting = self.names.iter().any(|name| !self.registry.names().take_waiters(name).is_empty());
        let tokens = self.routes.len();
        let kept = self.registry.kept().bytes();
        let rooms = self.registry.rooms();
        if !rooms.is_empty() || rooms.bytes() > 0 {
            let what = format!("rooms of nobody are remembered: {rooms:?}");
            self.breach(Rule::RegistryClean, what);
        }
        if kept > 0 {
            self.breach(Rule::RegistryClean, format!("{kept} bytes are kept for nobody"));
        }
        if tokens > 0 || waiting {
            self.breach(Rule::RegistryClean, format!("{tokens} tokens are left, waiters {waiting}"));
        }
    }
}
