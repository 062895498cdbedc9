//! What the client says (protocol S2.1, S2.3, S2.5): kept where it is an intent,
//! forwarded while the upstream stands, answered or held while it does not.

use crate::signaling::{
    ClientMessage, peek_into,
    view::{RoomCommand, SendData},
};

use super::{
    Close, Event, Kind,
    core::{Lent, Session},
    directory::Directory,
    link::Link,
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
        let Ok(peek) = peek_into(text, ClientMessage::is_looked_into) else {
            self.forward_or_hold(text, directory);
            return;
        };
        self.client_says(ClientMessage::of(&peek), text, directory);
    }

    /// What comes again and again changes nothing that is kept.
    fn client_says(&mut self, message: ClientMessage<'_>, text: &[u8], directory: &mut dyn Directory) {
        use ClientMessage as Said;
        match message {
            Said::Ping | Said::Pong => {}
            // Its word wins (rule R4): what it stops is asked for nowhere any more.
            Said::UnPublishStream(_) | Said::StopStream(_) if self.moving.holds_client() => {
                self.return_from_move("the client stops a stream", directory);
                self.move_goes_on(directory);
            }
            _ if self.waits_for_move(text, directory) => return,
            Said::PublishStream(_) | Said::PlayStream(_) | Said::SendData(_)
                if self.follows(message, text, directory) =>
            {
                return;
            }
            _ => {}
        }
        match message {
            Said::Pong => return,
            Said::Ping | Said::OneShot => return self.lend(directory).ctx.forward_or_drop(),
            Said::MetricsBatch(batch) => {
                let Lent { streams, mut ctx, .. } = self.lend(directory);
                let _ = streams.table.forward_for_stream(&mut ctx, batch.media_session_id());
                return;
            }
            Said::Connection(connection) if connection.argument().is_some() => {
                self.connection_again(connection, directory);
            }
            Said::Connection(_) | Said::ConnectMediaTransport(_) | Said::Other => {
                return self.forward_or_hold(text, directory);
            }
            Said::PublishStream(publish) => {
                self.with_streams(directory, |streams, ctx| streams.request(ctx, publish, Kind::Publish));
            }
            Said::PlayStream(play) => {
                self.with_streams(directory, |streams, ctx| streams.request(ctx, play, Kind::Play));
            }
            Said::UnPublishStream(stop) => {
                self.with_streams(directory, |streams, ctx| streams.stop(ctx, stop, Kind::Publish));
            }
            Said::StopStream(stop) => {
                self.with_streams(directory, |streams, ctx| streams.stop(ctx, stop, Kind::Play));
            }
            Said::AvailableStream(question) => {
                self.with_streams(directory, |streams, ctx| streams.table.available(ctx, question));
            }
            Said::Snapshot(question) => {
                self.with_streams(directory, |streams, ctx| streams.table.snapshot(ctx, question));
            }
            Said::SendStreamEvent(event) => {
                self.with_streams(directory, |streams, ctx| streams.table.stream_event(ctx, event));
            }
            Said::MetricsDescription(metrics) => {
                self.with_streams(directory, |streams, ctx| streams.table.metrics_description(ctx, metrics));
            }
            Said::SendData(data) => self.send_data(data, directory),
            Said::Call(call) => {
                let Lent { calls, mut ctx, .. } = self.lend(directory);
                calls.call(&mut ctx, call);
            }
            Said::CallVerb(verb) => {
                let Lent { calls, mut ctx, .. } = self.lend(directory);
                calls.call_verb(&mut ctx, verb);
            }
            Said::Hangup(hangup) => {
                let Lent { calls, mut ctx, .. } = self.lend(directory);
                calls.hangup(&mut ctx, hangup);
            }
            Said::SessionDebug(debug) => {
                self.debug = debug.starts();
                self.lend(directory).ctx.forward_or_drop();
            }
        }
        self.kept.touch();
    }

    /// A join starts something: nobody needs to start this client again.
    fn send_data(&mut self, data: SendData<'_>, directory: &mut dyn Directory) {
        let Lent { streams, rooms, mut ctx, .. } = self.lend(directory);
        let operation = ctx.client_id(data.operation_id());
        let command = data.room_command();
        if let (Some(_), Some(RoomCommand::Join(_))) = (&operation, &command) {
            drop(streams.end_restart(&mut ctx));
        }
        rooms.send_data(&mut ctx, data, operation.as_deref(), command);
        self.go_on_when_joined(directory);
    }

    pub(super) fn client_binary(&mut self, directory: &mut dyn Directory) {
        if self.moving.holds_client() {
            self.return_from_move("the client speaks something of its own", directory);
            self.move_goes_on(directory);
        }
        match self.link {
            Link::First => self.pass_through("the first message is binary"),
            // It speaks something of its own, and the upstream that might know it is gone.
            Link::Down(_) if self.client.connection.is_none() => {
                self.end(Some(Close::Code(1001)), Close::NoCode, directory);
            }
            _ => self.lend(directory).ctx.forward_or_drop(),
        }
    }

    /// For what we do not know: it waits for the next upstream, within the bounds of the hold.
    fn forward_or_hold(&mut self, text: &[u8], directory: &mut dyn Directory) {
        if self.waits_for_move(text, directory) {
            return;
        }
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
}
