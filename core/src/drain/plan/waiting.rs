//! Whom a drain waits for: those who cannot move, those who are stuck, and those who hold for them what they left;
//! and when it waits no longer.

use crate::{
    drain::moving::{Moving, stuck_pause},
    ids::SessionId,
    session::Timestamp,
};

use super::{Act, Choose, HOLD_EVERY, Plan, Stage, Unmoved};

impl Plan {
    /// These are not tried again for a while, each time longer.
    pub(super) fn pause(&mut self, members: &[SessionId], why: &str) {
        for session in members {
            let times = self.unmoved.get(session).map_or(0, |unmoved| unmoved.times);
            let until = self.now + stuck_pause(times);
            let unmoved = Unmoved { why: why.to_owned(), until, times: times.saturating_add(1) };
            self.unmoved.insert(*session, unmoved);
        }
    }

    /// Those who have moved hold for the others what they left: they let go by themselves after a while.
    pub(super) fn hold(&mut self, acts: &mut Vec<Act>) {
        if self.hold_at <= self.now {
            self.hold_at = self.now + HOLD_EVERY;
            acts.extend(self.moving.iter().flat_map(Moving::holding).copied().map(Act::Hold));
        }
    }

    /// Whoever is stuck is waited for until the time to force has come, or the drain is called off.
    pub(super) fn force_those_who_are_stuck(&mut self, acts: &mut Vec<Act>) {
        let is_called_off = self.stage == Stage::Cancelled;
        if !is_called_off && !self.is_to_force() {
            return;
        }
        for web in &mut self.moving {
            while is_called_off || self.allowance >= 1.0 {
                let Some(session) = web.take_stuck() else { break };
                self.allowance -= 1.0;
                self.counts.forced += 1;
                acts.push(Act::Force { session, to: web.to });
            }
        }
    }

    /// A web waits: its members are named with the reason, and forced when the time for that comes.
    pub(super) fn wait(&mut self, members: Vec<SessionId>, reason: &str) {
        self.left.add(reason, members.len());
        self.waiting.push_back(members);
    }

    pub(super) fn force_at(&self) -> Option<Timestamp> {
        self.wish.force_after.map(|after| self.wished + after)
    }

    pub(super) fn is_to_force(&self) -> bool {
        self.force_at().is_some_and(|at| at <= self.now)
    }

    pub(super) fn force_those_who_wait(&mut self, choose: &mut Choose<'_>, acts: &mut Vec<Act>) {
        if !self.is_to_force() {
            return;
        }
        while self.allowance >= 1.0 {
            let Some(web) = self.waiting.pop_front() else { return };
            let Some(to) = choose() else { return self.waiting.push_front(web) };
            // Whole, and to one node: who left before the others would be seen to leave their room, and who went
            // elsewhere would not see them again. Dials have a pace of their own.
            for session in web {
                self.allowance -= 1.0;
                self.counts.forced += 1;
                self.speed.count(self.now.since(self.began));
                acts.push(Act::Force { session, to });
            }
        }
    }
}
