//! The second kind of socket: binary media for MSE and WSPlayer players (protocol S2.9).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::counters::ViolationKind;
use super::dispatch::{Argument, text};
use super::settings::StreamVerb;
use super::shared::Shared;
use super::world::{ConnectionId, Outbox, Outgoing, Progress, Role, SessionNumber, World};

impl World {
    /// `connectMediaTransport`, the first message of a media socket.
    pub(super) fn attach_media_socket(&mut self, connection: ConnectionId, argument: &Argument) {
        let session = text(argument, "authToken").and_then(|token| self.tokens.get(token)).copied();
        let Some(session) = session else {
            self.violation(connection, ViolationKind::UnknownMediaToken, String::new());
            if let Some(socket) = self.connections.get_mut(&connection) {
                socket.role = Role::Spent;
            }
            self.close(connection, Some(1008), "unknown token");
            return;
        };
        if let Some(socket) = self.connections.get_mut(&connection) {
            socket.role = Role::Media(session);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.media_sockets.push(connection);
        }
        self.note(Some(session), "media socket", "", "", "");
        self.pair_media_sockets(session);
    }

    /// On a media socket clients answer pings, nothing else.
    pub(super) fn receive_on_media_socket(&mut self, connection: ConnectionId, verb: &str) {
        match verb {
            "pong" => self.pong(connection),
            "connectMediaTransport" | "connection" => {
                self.violation(connection, ViolationKind::SecondConnection, verb.to_owned());
            }
            _ => self.violation(connection, ViolationKind::UnknownVerb, format!("media socket: {verb}")),
        }
    }

    pub(super) fn media_socket_ended(&mut self, connection: ConnectionId, session: SessionNumber) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        session.media_sockets.retain(|socket| *socket != connection);
        let ids: Vec<String> = session.streams.iter().cloned().collect();
        for id in ids {
            if let Some(stream) = self.streams.get_mut(&id)
                && stream.media_socket == Some(connection)
            {
                stream.media_socket = None;
                if let Some(feed) = stream.feed.take() {
                    feed.abort();
                }
            }
        }
    }

    /// Gives each playing MSE or WSPlayer stream without a socket a socket without a stream.
    pub(super) fn pair_media_sockets(&mut self, session: SessionNumber) {
        let Some(known) = self.sessions.get(&session) else { return };
        let mut waiting: Vec<(u64, String)> = Vec::new();
        let mut free = known.media_sockets.clone();
        for stream in known.streams.iter().filter_map(|id| self.streams.get(id)) {
            if let Some(socket) = stream.media_socket {
                free.retain(|other| *other != socket);
            } else if stream.verb == StreamVerb::Play
                && stream.progress == Progress::Live
                && stream.provider != "WebRTC"
            {
                waiting.push((stream.serial, stream.id.clone()));
            }
        }
        waiting.sort_unstable();
        for ((_, id), socket) in waiting.into_iter().zip(free) {
            self.feed_media_socket(&id, socket);
        }
    }

    fn feed_media_socket(&mut self, id: &str, socket: ConnectionId) {
        let Some(shared) = self.shared.upgrade() else { return };
        let Some(outbox) = self.connections.get(&socket).map(|socket| socket.outbox.clone()) else { return };
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.media_socket = Some(socket);
        let records = if stream.provider == "MSE" { self.backend.play_mse(id, &stream.name) } else { None };
        let feed = if let Some(records) = records {
            tokio::spawn(pass_records(records, outbox))
        } else {
            let form = if stream.provider == "MSE" { FakeForm::Mse } else { FakeForm::WsPlayer };
            tokio::spawn(make_records(shared, outbox, form, self.epoch))
        };
        stream.feed = Some(feed.abort_handle());
    }
}

async fn pass_records(mut records: tokio::sync::mpsc::Receiver<Bytes>, outbox: Outbox) {
    while let Some(record) = records.recv().await {
        if outbox.queue.send(Outgoing::Binary(record)).await.is_err() {
            return;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FakeForm {
    Mse,
    WsPlayer,
}

/// Counts into the socket, so that a test can see what was lost at a splice.
async fn make_records(shared: std::sync::Arc<Shared>, outbox: Outbox, form: FakeForm, epoch: u64) {
    let interval =
        shared.world().settings.streams.fake_frame_interval.max(std::time::Duration::from_millis(1));
    let step = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for counter in 0_u32.. {
        ticks.tick().await;
        shared.thawed().await;
        let record = match form {
            FakeForm::Mse => mse_record(counter, step, epoch),
            FakeForm::WsPlayer => wsplayer_record(counter, step),
        };
        if outbox.queue.send(Outgoing::Binary(record)).await.is_err() {
            return;
        }
        shared.world().counters.fake_records += 1;
    }
}

/// One record of protocol S2.9: type 9, timestamp, length; the payload is a tag that says key frame
/// on every 25th and codec configuration on the first, the simulated process and the counter.
fn mse_record(counter: u32, step_ms: u32, epoch: u64) -> Bytes {
    let mut record = BytesMut::with_capacity(9 + 17);
    record.put_u8(9);
    record.put_u32(counter.saturating_mul(step_ms));
    record.put_u32(17);
    record.put_u8(if counter.is_multiple_of(25) { 0x17 } else { 0x27 });
    record.put_u32(u32::from(counter != 0) << 24);
    record.put_u64(epoch);
    record.put_u32(counter);
    record.freeze()
}

/// A video message (kind 1 in bits 2 and 3), key frame in bit 4 on every 25th, with a timestamp.
fn wsplayer_record(counter: u32, step_ms: u32) -> Bytes {
    let mut record = BytesMut::with_capacity(9);
    record.put_u8(0b0000_0101 | if counter.is_multiple_of(25) { 0b0001_0000 } else { 0 });
    record.put_u32(counter.saturating_mul(step_ms));
    record.put_u32(counter);
    record.freeze()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_fake_record_says_its_length_and_counter() {
        let record = mse_record(26, 40, 3);
        assert_eq!(record[0], 9);
        assert_eq!(u32::from_be_bytes(record[1..5].try_into().unwrap()), 26 * 40);
        assert_eq!(u32::from_be_bytes(record[5..9].try_into().unwrap()) as usize, record.len() - 9);
        assert_eq!(record[9], 0x27);
        assert_eq!(u64::from_be_bytes(record[14..22].try_into().unwrap()), 3);
        assert_eq!(u32::from_be_bytes(record[22..26].try_into().unwrap()), 26);
    }

    #[test]
    fn the_first_fake_record_is_a_key_frame_with_configuration() {
        let record = mse_record(0, 40, 1);
        assert_eq!((record[9], record[10]), (0x17, 0));
        assert_eq!(wsplayer_record(0, 40)[0] & 0b0001_1100, 0b0001_0100);
    }
}
