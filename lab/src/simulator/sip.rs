//! The SIP side: registration, scripted outgoing calls, incoming calls (protocol S2.5, S2.6, S12.6).
//! No media flows in calls.

use serde_json::{Value, json};

use super::counters::ViolationKind;
use super::dispatch::{Argument, flag, text};
use super::fake::{self, Direction};
use super::settings::CallOutcome;
use super::world::{ConnectionId, SessionNumber, World};

/// A call between a client and the scripted other side.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) session: SessionNumber,
    pub(super) incoming: bool,
    pub(super) status: &'static str,
    pub(super) caller: String,
    pub(super) callee: String,
}

impl World {
    /// Registers a session that brought SIP credentials.
    pub(super) fn register(&self, session: SessionNumber) {
        let wants = self.sessions.get(&session).is_some_and(|session| {
            session.connection.contains_key("sipLogin")
                && flag(&session.connection, "sipRegisterRequired", true)
        });
        let sip = self.settings.sip.clone();
        if !wants || sip.register_never {
            return;
        }
        let delay = sip.register_delay + self.settings.sessions.user_data_delay;
        self.later(delay, move |world| {
            let Some(known) = world.sessions.get_mut(&session) else { return };
            known.registered = true;
            world.send(session, "registered", &json!([{"status": "REGISTERED"}]));
        });
    }

    pub(super) fn call_verb(
        &mut self,
        connection: ConnectionId,
        session: SessionNumber,
        verb: &str,
        argument: &Argument,
    ) {
        let Some(id) = text(argument, "callId").map(str::to_owned) else {
            self.violation(connection, ViolationKind::MalformedMessage, format!("{verb}: no callId"));
            return;
        };
        self.note(Some(session), "call verb", "", &id, verb);
        if verb == "call" {
            self.place_call(session, &id, argument);
            return;
        }
        if self.calls.get(&id).is_none_or(|call| call.session != session) {
            self.violation(connection, ViolationKind::UnknownCall, format!("{verb} {id}"));
            return;
        }
        match verb {
            "answer" => self.call_step(&id, "talk", "ESTABLISHED"),
            "hangup" => {
                self.end_call(&id, "FINISH");
            }
            "hold" => self.call_step(&id, "hold", "HOLD"),
            "unhold" => self.call_step(&id, "talk", "ESTABLISHED"),
            "transfer" => {
                let delay = self.settings.sip.step_delay;
                self.call_step(&id, "notifyTransferEvent", "PENDING");
                self.later(delay, move |world| {
                    world.call_step(&id, "notifyTransferEvent", "COMPLETED");
                    world.end_call(&id, "FINISH");
                });
            }
            _ => {}
        }
    }

    fn place_call(&mut self, session: SessionNumber, id: &str, argument: &Argument) {
        let call = Call {
            id: id.to_owned(),
            session,
            incoming: false,
            status: "PENDING",
            caller: text(argument, "caller").unwrap_or_default().to_owned(),
            callee: text(argument, "callee").unwrap_or_default().to_owned(),
        };
        self.add_call(call);
        let settings = self.settings.clone();
        let offer = text(argument, "sdp").unwrap_or_default();
        let answer = fake::answer(offer, settings.streams.answer_shape, Direction::Both, &[]);
        let (id, step) = (id.to_owned(), settings.sip.step_delay);
        let outcome = settings.sip.outcome;
        self.after(step, move |world| {
            world.call_step(&id, "notifyTryingResponse", "TRYING");
            let ended = match (outcome, &answer) {
                (CallOutcome::Busy, _) => Some("BUSY"),
                (CallOutcome::Failed, _) | (_, Err(_)) => Some("FAILED"),
                _ => None,
            };
            world.after(step, move |world| {
                if let Some(status) = ended {
                    world.end_call(&id, status);
                    return;
                }
                world.call_step(&id, "ring", "RING");
                if outcome == CallOutcome::Rings {
                    return;
                }
                world.after(step, move |world| {
                    if let (Some(call), Ok(sdp)) = (world.calls.get(&id), answer) {
                        let session = call.session;
                        world.send(session, "setRemoteSDP", &json!([id, sdp, true]));
                        world.call_step(&id, "talk", "ESTABLISHED");
                    }
                });
            });
        });
    }

    fn add_call(&mut self, call: Call) {
        if let Some(session) = self.sessions.get_mut(&call.session) {
            session.calls.insert(call.id.clone());
        }
        self.calls.insert(call.id.clone(), call);
    }

    /// Lets a session's phone ring; returns the id of the call.
    pub(super) fn incoming_call(
        &mut self,
        session: SessionNumber,
        caller: &str,
        id: Option<String>,
    ) -> String {
        let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let callee = self
            .sessions
            .get(&session)
            .and_then(|session| text(&session.connection, "sipLogin").map(str::to_owned))
            .unwrap_or_default();
        let call = Call {
            id: id.clone(),
            session,
            incoming: true,
            status: "RING",
            caller: caller.to_owned(),
            callee: callee.clone(),
        };
        self.add_call(call);
        // The SDP must be known before the call is announced, or the SDK cannot answer.
        self.send(session, "setRemoteSDP", &json!([id, fake::call_offer(), false]));
        let announcement = json!([{
            "callId": id, "incoming": true, "status": "PENDING", "caller": caller, "callee": callee,
            "hasAudio": true, "hasVideo": true, "mediaProvider": "WebRTC", "visibleName": caller,
            "isMsrp": false, "holdForTransfer": false, "custom": {},
        }]);
        self.send(session, "notifyIncomingCall", &announcement);
        self.call_step(&id, "ring", "RING");
        id
    }

    /// Tells the client of a step of its call.
    fn call_step(&mut self, id: &str, message: &str, status: &'static str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if message != "notifyTransferEvent" {
            call.status = status;
        }
        let (session, event) = (call.session, event(call, status));
        self.send(session, message, &event);
    }

    /// Ends a call with `finish`. False when there is none.
    pub(super) fn end_call(&mut self, id: &str, status: &'static str) -> bool {
        let Some(call) = self.calls.remove(id) else { return false };
        if let Some(session) = self.sessions.get_mut(&call.session) {
            session.calls.remove(id);
        }
        self.send(call.session, "finish", &event(&call, status));
        true
    }
}

fn event(call: &Call, status: &str) -> Value {
    json!([{
        "callId": call.id, "status": status, "incoming": call.incoming,
        "caller": call.caller, "callee": call.callee,
    }])
}
