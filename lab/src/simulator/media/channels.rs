//! Who publishes and who plays each name, and when its publisher was last asked for a key frame. Knows
//! nothing of transports: publishers and players are ids.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::mse::MseFeed;

/// How often a publisher is asked again while a player waits for its first key frame.
pub(super) const KEY_FRAME_RETRY: Duration = Duration::from_millis(200);
/// The shortest time between two key-frame requests to one publisher.
const KEY_FRAME_REQUEST_GAP: Duration = Duration::from_millis(50);

/// One name.
#[derive(Default)]
pub(super) struct Channel {
    publisher: Option<String>,
    players: Vec<String>,
    pub(super) mse: MseFeed,
    asked_at: Option<Instant>,
}

impl Channel {
    pub(super) fn publisher(&self) -> Option<&str> {
        self.publisher.as_deref()
    }

    pub(super) fn players(&self) -> &[String] {
        &self.players
    }

    /// The publisher, if it may be asked for a key frame again.
    pub(super) fn may_be_asked(&self, now: Instant) -> Option<&str> {
        let too_soon = |at: Instant| now.saturating_duration_since(at) < KEY_FRAME_REQUEST_GAP;
        if self.asked_at.is_some_and(too_soon) { None } else { self.publisher() }
    }

    /// The publisher was asked for a key frame.
    pub(super) const fn note_asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    fn is_to_be_asked_again(&self, now: Instant) -> bool {
        self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= KEY_FRAME_RETRY)
    }

    fn is_empty(&self) -> bool {
        self.publisher.is_none() && self.players.is_empty() && self.mse.is_empty()
    }
}

/// All names that somebody publishes or plays.
#[derive(Default)]
pub(super) struct Channels {
    by_name: HashMap<String, Channel>,
}

impl Channels {
    pub(super) fn get(&self, name: &str) -> Option<&Channel> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Channel> {
        self.by_name.get_mut(name)
    }

    pub(super) fn is_published(&self, name: &str) -> bool {
        self.get(name).is_some_and(|channel| channel.publisher.is_some())
    }

    /// `id` publishes this name from now on.
    pub(super) fn publish(&mut self, name: &str, id: &str) {
        self.of(name).publisher = Some(id.to_owned());
    }

    /// `id` plays this name from now on.
    pub(super) fn play(&mut self, name: &str, id: &str) {
        self.of(name).players.push(id.to_owned());
    }

    /// `id` plays this name by MSE from now on.
    pub(super) fn play_mse(&mut self, name: &str, id: String, records: mpsc::Sender<Bytes>) {
        self.of(name).mse.attach(id, records);
    }

    fn of(&mut self, name: &str) -> &mut Channel {
        self.by_name.entry(name.to_owned()).or_default()
    }

    /// `id` is gone, whatever it did.
    pub(super) fn leave(&mut self, id: &str) {
        self.by_name.retain(|_, channel| {
            channel.mse.detach(id);
            channel.players.retain(|player| player != id);
            if channel.publisher() == Some(id) {
                channel.publisher = None;
                channel.mse.source_lost();
            }
            !channel.is_empty()
        });
    }

    /// The published names for which somebody waits for a key frame, and whether its publisher is to be
    /// asked again now. `waits` says whether one of these players does.
    pub(super) fn waiting(
        &self,
        now: Instant,
        mse_key_frame: Duration,
        waits: impl Fn(&[String]) -> bool,
    ) -> Vec<(String, bool)> {
        self.by_name
            .iter()
            .filter(|(_, channel)| channel.publisher.is_some())
            .filter(|(_, channel)| {
                channel.mse.waits() || channel.mse.wants_another(mse_key_frame) || waits(&channel.players)
            })
            .map(|(name, channel)| (name.clone(), channel.is_to_be_asked_again(now)))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lasts_as_long_as_anybody_is_there() {
        let mut channels = Channels::default();
        channels.publish("cam", "p");
        channels.play("cam", "v");
        assert!(channels.is_published("cam") && !channels.is_published("other"));
        assert_eq!(channels.get("cam").unwrap().players(), ["v"]);
        channels.leave("p");
        assert!(!channels.is_published("cam") && channels.get("cam").is_some());
        channels.leave("v");
        assert!(channels.get("cam").is_none());
    }

    #[test]
    fn a_publisher_is_asked_neither_too_often_nor_in_vain() {
        let mut channels = Channels::default();
        let now = Instant::now();
        channels.play("cam", "v");
        let waiting =
            |channels: &Channels, now| channels.waiting(now, Duration::ZERO, |players| players == ["v"]);
        assert!(waiting(&channels, now).is_empty(), "nobody could be asked");
        channels.publish("cam", "p");
        assert_eq!(waiting(&channels, now), [("cam".to_owned(), true)]);
        let channel = channels.get_mut("cam").unwrap();
        assert_eq!(channel.may_be_asked(now), Some("p"));
        channel.note_asked(now);
        assert_eq!(channel.may_be_asked(now + KEY_FRAME_REQUEST_GAP / 2), None);
        assert_eq!(channel.may_be_asked(now + KEY_FRAME_REQUEST_GAP), Some("p"));
        assert_eq!(waiting(&channels, now), [("cam".to_owned(), false)]);
        assert_eq!(waiting(&channels, now + KEY_FRAME_RETRY), [("cam".to_owned(), true)]);
    }
}
