//! What a load run does, and the bounds that keep it from melting a server by accident.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::error::SettingsError;

/// What the clients do once they are established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Connect, answer pings, nothing else.
    Idle,
    /// Send `sendData` at the given rate and time its `DataStatusEvent`.
    Echo,
    /// Publish one stream each and keep it; with `--rate`, stop and publish again at the given
    /// rate.
    Publish,
    /// Some publish, the others play their streams (`--players` says how many each), and all keep
    /// them.
    PublishPlay,
    /// As publish (with `--players` as publish-play), through an outage: a stream that is reported
    /// is started again, and what came back is counted. The outage is made by --upstream-command
    /// or --upstream-control; without them it is only watched.
    Storm,
}

impl Scenario {
    /// Whether its clients have streams.
    pub(super) const fn has_streams(self) -> bool {
        matches!(self, Self::Publish | Self::PublishPlay | Self::Storm)
    }
}

/// What streams carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Media {
    /// Nothing: an offer as a browser makes it, and no packet.
    #[default]
    Signaling,
    /// Audio and video over ICE, DTLS and SRTP as a browser sends them; only the pictures are
    /// invented.
    Real,
}

/// Who ends and starts the server behind what is loaded (storm).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A command line for the shell: started before the clients come, killed with all it started
    /// (SIGKILL to its process group), started again.
    Command {
        /// What starts the server and stays in the foreground.
        command: String,
        /// `HOST:PORT` at which it listens when it is ready.
        listens: String,
    },
    /// The HTTP control port of `holdfast simulate`, as `http://IP:PORT`.
    Control(http::Uri),
}

/// When the upstream is killed, and for how long it stays away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outages {
    /// From when all streams run to the first kill.
    pub after: Duration,
    /// From a kill to the start.
    pub down: Duration,
    /// How many kills.
    pub count: u32,
    /// From a kill to the next one, at least.
    pub every: Duration,
}

impl Default for Outages {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(5),
            down: Duration::from_secs(2),
            count: 1,
            every: Duration::from_secs(20),
        }
    }
}

/// A load run.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// `ws://` or `wss://` URL of what is to be loaded.
    pub url: http::Uri,
    /// Certificates to trust for wss instead of the public roots.
    pub ca: Option<PathBuf>,
    /// What the clients do.
    pub scenario: Scenario,
    /// Number of clients.
    pub sessions: usize,
    /// New clients per second while they come.
    pub ramp_per_s: u32,
    /// How long to stay after the last client came, or after the last outage of our making.
    pub hold: Duration,
    /// Messages (echo) or publish cycles per second, over all clients; 0 = none.
    pub rate_per_s: f64,
    /// Size of one `sendData` message, in bytes.
    pub message_bytes: usize,
    /// Messages sent back to back at each turn of a client.
    pub in_flight: usize,
    /// Local addresses to connect from, in turn: one address has about 28,000 ports.
    pub local_addresses: Vec<IpAddr>,
    /// How long a client may take to be established.
    pub connect_timeout: Duration,
    /// Clients that play each published stream; they are among `sessions`.
    pub players_per_stream: usize,
    /// What streams carry.
    pub media: Media,
    /// Video bits per second of a publisher with real media, in thousands.
    pub video_kbps: u32,
    /// Threads for real media.
    pub media_threads: usize,
    /// The server that is killed and started again; `None` watches what happens.
    pub upstream: Option<Upstream>,
    /// When it is.
    pub outages: Outages,
}

/// Most clients without `--no-limit`.
pub const SESSIONS_MAX: usize = 20_000;
/// Most messages per second without `--no-limit`.
pub const RATE_MAX: f64 = 50_000.0;
/// Most new clients per second without `--no-limit`.
pub const RAMP_MAX: u32 = 5_000;
/// Largest message, in bytes: what servers and proxies take at most.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most clients with real media without `--no-limit`.
pub const MEDIA_SESSIONS_MAX: usize = 1_000;
/// Most video of all clients with real media together without `--no-limit`, in kbit/s.
pub const MEDIA_KBPS_MAX: u64 = 1_000_000;
/// Most threads for real media.
pub const MEDIA_THREADS_MAX: usize = 64;
/// Most kills of the upstream in a run.
pub const OUTAGES_MAX: u32 = 1_000;

impl LoadSettings {
    /// What the command line has as defaults.
    #[must_use]
    pub fn new(url: http::Uri) -> Self {
        Self {
            url,
            ca: None,
            scenario: Scenario::Idle,
            sessions: 100,
            ramp_per_s: 100,
            hold: Duration::from_secs(10),
            rate_per_s: 0.0,
            message_bytes: 200,
            in_flight: 1,
            local_addresses: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            players_per_stream: 0,
            media: Media::Signaling,
            video_kbps: 500,
            media_threads: 1,
            upstream: None,
            outages: Outages::default(),
        }
    }

    /// Whether each session has a stream that is to run at the end.
    #[must_use]
    pub fn keeps_streams(&self) -> bool {
        self.scenario.has_streams() && self.rate_per_s == 0.0
    }

    /// Whether client `number` publishes; otherwise it plays the stream of its group.
    pub(super) const fn publishes(&self, number: usize) -> bool {
        number.is_multiple_of(self.players_per_stream + 1)
    }

    /// Which stream client `number` publishes or plays.
    pub(super) const fn group(&self, number: usize) -> usize {
        number / (self.players_per_stream + 1)
    }

    /// Checks the run for sense and against the bounds.
    ///
    /// # Errors
    /// See [`SettingsError`]: what does not fit, or which bound is passed and how to pass it on purpose.
    pub fn check(&self, no_limit: bool) -> Result<(), SettingsError> {
        self.check_sense()?;
        if no_limit {
            return Ok(());
        }
        let passed = if self.sessions > SESSIONS_MAX {
            SettingsError::ManySessions
        } else if self.rate_per_s > RATE_MAX {
            SettingsError::ManyMessages
        } else if self.ramp_per_s > RAMP_MAX {
            SettingsError::SteepRamp
        } else if self.media == Media::Real && self.sessions > MEDIA_SESSIONS_MAX {
            SettingsError::ManyMediaSessions
        } else if self.media == Media::Real && self.total_kbps() > MEDIA_KBPS_MAX {
            SettingsError::MuchVideo { kbps: self.total_kbps() }
        } else {
            return Ok(());
        };
        Err(passed)
    }

    fn total_kbps(&self) -> u64 {
        u64::from(self.video_kbps).saturating_mul(self.sessions as u64)
    }

    fn check_sense(&self) -> Result<(), SettingsError> {
        let wrong = if self.message_bytes > MESSAGE_BYTES_MAX {
            SettingsError::LongMessages
        } else if self.sessions == 0 || self.ramp_per_s == 0 || self.in_flight == 0 {
            SettingsError::Nothing
        } else if self.media == Media::Real && !self.scenario.has_streams() {
            SettingsError::MediaWithoutStreams
        } else if self.players_per_stream > 0
            && !matches!(self.scenario, Scenario::PublishPlay | Scenario::Storm)
        {
            SettingsError::PlayersWithoutUse
        } else if self.scenario == Scenario::PublishPlay && self.players_per_stream == 0 {
            SettingsError::NoPlayers
        } else if self.sessions <= self.players_per_stream {
            SettingsError::FewSessions
        } else if !(1..=MEDIA_THREADS_MAX).contains(&self.media_threads) || self.video_kbps == 0 {
            SettingsError::MediaMeans
        } else if self.upstream.is_some() && self.scenario != Scenario::Storm {
            SettingsError::UpstreamWithoutStorm
        } else if self.outages.count == 0 || self.outages.count > OUTAGES_MAX {
            SettingsError::Kills
        } else {
            return Ok(());
        };
        Err(wrong)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn settings() -> LoadSettings {
        LoadSettings::new("ws://127.0.0.1:1".parse().unwrap())
    }

    fn refused(change: impl FnOnce(&mut LoadSettings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        let error = settings.check(false).unwrap_err().to_string();
        let passed = settings.check(true).is_ok();
        assert_eq!(passed, error.contains("--no-limit"), "nonsense stays nonsense: {error}");
        error
    }

    #[test]
    fn nobody_melts_a_server_by_accident() {
        assert_eq!(settings().check(false), Ok(()));
        refused(|run| run.sessions = SESSIONS_MAX + 1);
        refused(|run| run.rate_per_s = RATE_MAX * 2.0);
        refused(|run| run.ramp_per_s = RAMP_MAX + 1);
        let media = |run: &mut LoadSettings| {
            (run.media, run.scenario) = (Media::Real, Scenario::Publish);
        };
        let many = refused(|run| {
            media(run);
            run.sessions = MEDIA_SESSIONS_MAX + 1;
        });
        assert!(many.contains("real media"), "{many}");
        let wide = refused(|run| {
            media(run);
            (run.sessions, run.video_kbps) = (1_000, 2_000);
        });
        assert!(wide.contains("2000000 kbit/s"), "{wide}");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        refused(|run| run.ramp_per_s = 0);
        refused(|run| run.message_bytes = MESSAGE_BYTES_MAX + 1);
        refused(|run| run.media = Media::Real);
        refused(|run| run.scenario = Scenario::PublishPlay);
        refused(|run| run.players_per_stream = 1);
        refused(|run| run.media_threads = 0);
        refused(|run| run.upstream = Some(Upstream::Control("http://127.0.0.1:1".parse().unwrap())));
        refused(|run| run.outages.count = 0);
        let few = refused(|run| (run.scenario, run.players_per_stream) = (Scenario::Storm, 100));
        assert!(few.contains("--players"), "{few}");
    }

    #[test]
    fn each_publisher_comes_before_its_players() {
        let run = LoadSettings { players_per_stream: 2, ..settings() };
        let roles: Vec<(bool, usize)> =
            (0..6).map(|number| (run.publishes(number), run.group(number))).collect();
        assert_eq!(roles, [(true, 0), (false, 0), (false, 0), (true, 1), (false, 1), (false, 1)]);
    }
}
