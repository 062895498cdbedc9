//! What the client says (protocol S2.1, S2.3, S2.5): kept where it is an intent,
//! forwarded while the upstream stands, answered or held while it does not.

use crate::signaling::{Peek, peek, view};

use super::{
    Close, Event, Kind,
    core::{Lent, Session},
    directory::Directory,
    link::Link,
    rooms::is_join,
};

impl Session {
    pub(super) fn client_text(&mut self, text: &[u8], directory: &mut dyn Directory) {
        match self.link {
            Link::First => {
                self.kept.touch();
                return self.first_message(text, directory);
            }
            Link::Down(_) if self.client.connection.is_none() => {
                return self.forward_or_hold(text, directory);
            }
            _ => {}
        }
        // A text that is no message is the server's to judge, like any unknown one.
        let Ok(peek) = peek(text) else {
            self.forward_or_hold(text, directory);
            return;
        };
        match &*peek.name {
            "pong" => {}
            "ping" | "pushLogs" | "sendDtmf" | "submitBugReport" => self.forward_or_drop(),
            "webRTCMetricsBatch" => {
                let Lent { streams, mut ctx, .. } = self.lend(directory);
                let _ = streams.table.forward_for_stream(&mut ctx, &peek);
            }
            _ if self.client_asks(&peek, directory) => self.kept.touch(),
            _ => self.forward_or_hold(text, directory),
        }
    }

    /// A message that we act on; false if it is none.
    fn client_asks(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) -> bool {
        match &*peek.name {
            "connection" if peek.argument(0).is_some() => {
                self.connection_again(view::Connection::of(peek), directory);
            }
            "sendData" => self.send_data(peek, directory),
            "sessionDebug" => {
                self.debug = peek.string("command").as_deref() == Some("start");
                self.forward_or_drop();
            }
            _ => return self.client_asks_part(peek, directory),
        }
        true
    }

    /// A message about a stream or a call; false if it is none.
    fn client_asks_part(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) -> bool {
        let Lent { streams, calls, mut ctx, .. } = self.lend(directory);
        let ctx = &mut ctx;
        match &*peek.name {
            "publishStream" => streams.request(ctx, peek, Kind::Publish),
            "playStream" => streams.request(ctx, peek, Kind::Play),
            "unPublishStream" => streams.stop(ctx, peek, Kind::Publish),
            "stopStream" => streams.stop(ctx, peek, Kind::Play),
            "availableStream" => streams.table.available(ctx, peek),
            "snapshot" => streams.table.snapshot(ctx, peek),
            "sendStreamEvent" => streams.table.stream_event(ctx, peek),
            "webRTCMetricsClientDescription" => streams.table.metrics_description(ctx, peek),
            "call" => calls.call(ctx, peek),
            "answer" | "hold" | "unhold" | "transfer" => calls.call_verb(ctx, peek),
            "hangup" => calls.hangup(ctx, peek),
            _ => return false,
        }
        true
    }

    /// A join starts something: nobody needs to start this client again.
    fn send_data(&mut self, peek: &Peek<'_>, directory: &mut dyn Directory) {
        let Lent { streams, rooms, mut ctx, .. } = self.lend(directory);
        if is_join(peek) {
            drop(streams.end_restart(&mut ctx));
        }
        rooms.send_data(&mut ctx, peek);
        self.go_on_when_joined(directory);
    }

    pub(super) fn client_binary(&mut self, directory: &mut dyn Directory) {
        match self.link {
            Link::First => self.pass_through("the first message is binary"),
            // It speaks something of its own, and the upstream that might know it is gone.
            Link::Down(_) if self.client.connection.is_none() => {
                self.end(Some(Close::Code(1001)), Close::NoCode, directory);
            }
            _ => self.forward_or_drop(),
        }
    }

    /// For what we do not know: it waits for the next upstream, within the bounds of the hold.
    fn forward_or_hold(&mut self, text: &[u8], directory: &mut dyn Directory) {
        if self.link.is_up() {
            self.out.forward_upstream();
            return;
        }
        let hold = &self.settings.hold;
        let until = self.now + hold.time_max;
        if let Some(limit) = self.held_back.full(text.len(), hold) {
            self.out.event(Event::LimitReached { limit });
        } else if let Some(message) = self.lend(directory).ctx.kept_message(0, text) {
            self.held_back.hold_message(until, message);
            return;
        }
        if self.client.connection.is_none() && self.held_back.messages() == 0 {
            // Without its first message nobody can say what it wanted to be.
            self.give_up("its first message is too large to wait for an upstream".to_owned(), directory);
        }
    }

    pub(super) fn run_held_timers(&mut self, directory: &mut dyn Directory) {
        if !self.held_back.expire_messages(self.now) {
            return;
        }
        self.out.event(Event::LimitReached { limit: "hold.ms_max" });
        if self.client.connection.is_none() {
            // Nobody can say what it wanted to be.
            self.give_up("no upstream for the first message".to_owned(), directory);
        }
    }

    /// What the client said before it had an upstream is heard as if said now.
    pub(super) fn hear_first_words(&mut self, directory: &mut dyn Directory) {
        for message in self.held_back.take_messages() {
            if self.link == Link::PassedThrough {
                self.out.say_upstream(message.into_vec());
                continue;
            }
            let before = self.out.len();
            self.client_text(&message, directory);
            self.out.forward_since(before, &message);
        }
    }

    /// For what loses nothing when lost: one-shot notes that nobody waits for (protocol S4.2).
    pub(super) fn forward_or_drop(&mut self) {
        if self.link.is_up() {
            self.out.forward_upstream();
        }
    }
}
