//! Dice, messages and settings.

use serde_json::{Value, json};

use crate::settings::{RestoreMode, SessionSettings, Takeover};

use super::super::random::Random;

/// Random choices from one seed.
#[derive(Debug)]
pub(super) struct Dice(Random);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Random::new(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ 0x1405_7B7E_F767_814F))
    }

    pub(super) fn seed(&mut self) -> u64 {
        self.0.next()
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.up_to(high - low)
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.0.up_to(99) < chance
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let last = choices.len() as u64 - 1;
        choices[self.0.up_to(last) as usize].clone()
    }
}

/// An envelope with one argument.
pub(super) fn message(name: &str, argument: Value) -> Value {
    json!({"message": name, "data": [argument]})
}

pub(super) fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// The settings of one process.
pub(super) fn settings(dice: &mut Dice) -> SessionSettings {
    let mut settings = SessionSettings::default();
    let ms = std::time::Duration::from_millis;
    let restore = &mut settings.restore;
    restore.mode = dice.pick(&[
        RestoreMode::Auto,
        RestoreMode::Auto,
        RestoreMode::Notify,
        RestoreMode::Restart,
        RestoreMode::Resume,
    ]);
    restore.tries_max = dice.pick(&[100, 100, 8]);
    restore.burst_hold = ms(dice.pick(&[300, 300, 300, 0]));
    restore.report_after = ms(dice.pick(&[5_000, 5_000, 1_000, 0]));
    restore.player_hold = ms(dice.pick(&[10_000, 10_000, 0]));
    // No two clients of a run seem to be the same.
    restore.takeover = dice.pick(&[Takeover::SameClient, Takeover::Anybody]);
    restore.name_in_use_max = ms(dice.pick(&[60_000, 20_000]));
    settings.locality = dice.percent(70);
    settings.keepalive.missing_pings = dice.pick(&[10, 10, 3]);
    if dice.percent(25) {
        settings.bounds.streams_max = 3;
        settings.bounds.calls_max = 1;
        settings.bounds.rooms_max = 1;
        settings.bounds.pending_requests_max = 2;
        settings.hold.count_max = 2;
        settings.hold.bytes_max = 2_000;
    }
    settings
}
