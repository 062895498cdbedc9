//! Section `[restore]`: how sessions and streams come back after an outage.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::number::{Between, Ms};

/// What becomes of a WebRTC stream that already had its answer when its upstream was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum RestoreMode {
    /// The first of `anchor`, `resume` and `notify` that fits.
    #[default]
    Auto,
    /// Re-attach to the kept session by token, media untouched; `notify` where that fails.
    Resume,
    /// FAILED per stream, then a second `getUserData`: pages that start in ESTABLISHED start
    /// again.
    // Protocol S3.6.
    Restart,
    /// FAILED per stream on the open session: pages with restart code restart.
    Notify,
    /// The client's socket is closed as the upstream's was.
    Passthrough,
    /// Media goes on over the same client transport; needs `media.mode = "anchor"`.
    Anchor,
}

impl RestoreMode {
    /// As it is written in the file and in flags.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Notify => "notify",
            Self::Passthrough => "passthrough",
            Self::Anchor => "anchor",
        }
    }
}

impl fmt::Display for RestoreMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who may take over a stream name whose holder is silent (rule R7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "clap", value(rename_all = "snake_case"))]
pub enum Takeover {
    /// The same client as far as can be known: same `connection` but for the token, same `Origin` and
    /// `User-Agent`, same `listen.identity_headers`.
    #[default]
    SameClient,
    /// Whoever knows the name.
    Anybody,
    /// Nobody: the vendor's patience with silent clients is the only one.
    Never,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameClient => "same_client",
            Self::Anybody => "anybody",
            Self::Never => "never",
        })
    }
}

/// The rules of a restore that have a number. Vendor's names refer to the auto-restore example
/// of the WCS SDK.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestoreSettings {
    /// Default mode; `[app."KEY"]` may say otherwise for one application. Default `auto`.
    pub mode: RestoreMode,
    /// Vendor's "restore connection". False: the loss of the upstream ends the client's socket
    /// as well, in every mode. Default true.
    pub connection: bool,
    /// Ceiling of the first delay after a failed try; the delay is drawn from zero to the
    /// ceiling, which doubles with each try. Default 250 ms.
    #[serde(rename = "backoff_initial_ms", with = "Ms::<1, 3_600_000>")]
    pub backoff_initial: Duration,
    /// Vendor's "restore timeout": what the ceiling grows to. Default 3 s.
    #[serde(rename = "backoff_max_ms", with = "Ms::<1, 3_600_000>")]
    pub backoff_max: Duration,
    /// Vendor's "restore max tries": dials until the session is given up, unless a connection lasts
    /// (R10).
    /// Default 100; 0 = no limit.
    #[serde(with = "Between::<0, 1_000_000>")]
    pub tries_max: u32,
    /// How long a connection must last to be a success: tries and backoff start afresh after it.
    /// One that ends earlier counts as a failed try, whatever it said before. Default 10 s.
    #[serde(rename = "stable_after_ms", with = "Ms::<0, 3_600_000>")]
    pub stable_after: Duration,
    /// Longest `Retry-After` of a refusal that is honoured; a longer one counts as this long.
    /// Default 30 s; zero = not honoured.
    #[serde(rename = "retry_after_ms_max", with = "Ms::<0, 3_600_000>")]
    pub retry_after_max: Duration,
    /// How long a burst of stream failures is held to see whether the connection dies with it
    /// (R3). Default 300 ms; zero = forwarded at once.
    #[serde(rename = "burst_hold_ms", with = "Ms::<0, 10_000>")]
    pub burst_hold: Duration,
    /// Where FAILED is owed, it goes out at the latest this long after the loss. Default 5 s.
    #[serde(rename = "report_after_ms", with = "Ms::<0, 600_000>")]
    pub report_after: Duration,
    /// How long a player is held whose publisher was lost, not stopped (R9). Default 10 s;
    /// zero = off.
    #[serde(rename = "player_hold_ms", with = "Ms::<0, 600_000>")]
    pub player_hold: Duration,
    /// How long a resume by token may stay unanswered before an ordinary `connection` is sent on
    /// a new socket (R8). Default 3 s.
    #[serde(rename = "resume_wait_ms", with = "Ms::<100, 60_000>")]
    pub resume_wait: Duration,
    /// Mode `restart`: how long to wait, after FAILED, for a client that publishes anew by itself
    /// before the second `getUserData` is sent. Default 1 s.
    #[serde(rename = "restart_wait_ms", with = "Ms::<0, 60_000>")]
    pub restart_wait: Duration,
    /// How long a replay is retried that is refused because a dead session still holds the
    /// stream's name (R7); WCS needs about 50 s to notice. Default 60 s.
    #[serde(rename = "name_in_use_ms_max", with = "Ms::<0, 600_000>")]
    pub name_in_use_max: Duration,
    /// Time between two of these retries. Default 2 s.
    #[serde(rename = "name_retry_ms", with = "Ms::<50, 60_000>")]
    pub name_retry: Duration,
    /// Who may take over the name of a stream whose holder shows no sign of life. Default
    /// `same_client`.
    pub takeover: Takeover,
    /// How long the holder of a stream name may take to show a sign of life when another session
    /// wants that name (R7). Default 2 s.
    #[serde(rename = "prove_alive_ms", with = "Ms::<100, 60_000>")]
    pub prove_alive: Duration,
    /// How long `connection` may stay unanswered before the try counts as failed. Default 10 s.
    #[serde(rename = "answer_timeout_ms", with = "Ms::<100, 600_000>")]
    pub answer_timeout: Duration,
    /// How long a replayed stream may take to prove itself before it is reported (R2).
    /// Default 10 s.
    #[serde(rename = "proof_timeout_ms", with = "Ms::<100, 600_000>")]
    pub proof_timeout: Duration,
    /// A direct WebRTC stream that lived through a longer silence than this needs a verdict
    /// (R12); browsers give up ICE after about 15 s. Default 15 s.
    #[serde(rename = "ice_patience_ms", with = "Ms::<1_000, 600_000>")]
    pub ice_patience: Duration,
    /// Firefox cannot be given new addresses for its media (it waits for the answer that the SDK
    /// never makes), and gives up ICE after this long a silence: its anchored streams that were
    /// silent for so long are reported as soon as the client is heard. Default 27 s.
    #[serde(rename = "firefox_ice_patience_ms", with = "Ms::<1_000, 600_000>")]
    pub firefox_ice_patience: Duration,
    /// How long a move to another node may take until all is proven there (R15); one that takes longer comes
    /// to nothing. Default 5 s.
    #[serde(rename = "move_timeout_ms", with = "Ms::<100, 60_000>")]
    pub move_timeout: Duration,
    /// How long a session that publishes keeps what it left after a move, for players that have not moved
    /// yet; whoever moves them tells it to go on. Default 10 s; zero = not at all.
    #[serde(rename = "move_hold_ms", with = "Ms::<0, 600_000>")]
    pub move_hold: Duration,
    /// Streams that are recorded or pushed on (`record`, `rtmpUrl`) may move, though both nodes do it for a
    /// moment. Default false: they bind their session to its node.
    pub move_effects: bool,
    /// Reasons of a `fail` that are no refusal but a backend in trouble (R8): the try counts as
    /// failed and is repeated. Compared without regard to case.
    pub transient_reasons: Vec<String>,
}

impl RestoreSettings {
    /// Whether a `fail` with this text may be retried with the same credentials.
    #[must_use]
    pub fn is_transient(&self, reason: &str) -> bool {
        let reason = reason.trim();
        self.transient_reasons.iter().any(|known| known.eq_ignore_ascii_case(reason))
    }
}

impl Default for RestoreSettings {
    fn default() -> Self {
        let reasons = ["Internal Server Error", "Bad Gateway", "Service Unavailable", "Gateway Timeout"];
        Self {
            mode: RestoreMode::Auto,
            connection: true,
            backoff_initial: Duration::from_millis(250),
            backoff_max: Duration::from_secs(3),
            tries_max: 100,
            stable_after: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(30),
            burst_hold: Duration::from_millis(300),
            report_after: Duration::from_secs(5),
            player_hold: Duration::from_secs(10),
            resume_wait: Duration::from_secs(3),
            restart_wait: Duration::from_secs(1),
            name_in_use_max: Duration::from_secs(60),
            name_retry: Duration::from_secs(2),
            takeover: Takeover::SameClient,
            prove_alive: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(10),
            proof_timeout: Duration::from_secs(10),
            ice_patience: Duration::from_secs(15),
            firefox_ice_patience: Duration::from_secs(27),
            move_timeout: Duration::from_secs(5),
            move_hold: Duration::from_secs(10),
            move_effects: false,
            transient_reasons: reasons.map(str::to_owned).to_vec(),
        }
    }
}
