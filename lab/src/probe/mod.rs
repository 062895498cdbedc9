//! `holdfast probe`: asks a server what it does, harmlessly and within seconds: everything that the protocol
//! reference calls unknown (protocol S12.8, S13).
//!
//! It knows WCS from the protocol alone and shares nothing with the simulated server but the lower half of WebRTC.
//! What it did not see it calls unknown. It dials a bounded number of times, ends in a bounded time, and leaves
//! no name and no session behind.

mod answer;
mod dial;
mod doors;
mod error;
mod findings;
mod greeting;
mod like;
mod messages;
mod operators;
mod patience;
mod question;
mod quick;
mod redact;
mod report;
mod resume;
mod session;
mod settings;
mod stream;
mod streams;
mod transcript;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};

pub use like::{HEAD_BYTES_MAX, LikeError, switches};
pub use question::{Assumed, Needs, QUESTIONS, Question, Verdict};
pub use redact::Redactor;
pub use report::{Outcome, REPORT_SCHEMA, Report, Row};
pub use settings::{
    DIALS_MAX, DIALS_MIN, NAME_BYTES_MAX, PATIENT_TIME_MAX, PUBLISH_TIME_MAX, ProbeSettings, QUICK_TIME_MAX,
};
pub use transcript::{Head, Position, TRANSCRIPT_SCHEMA, Transcript};

use crate::load::webrtc_client::{ClientOptions, ClientPool, PoolSettings, WebRtcClient};
use dial::{Dialler, SharedDialler};
use error::DialError;
use findings::Findings;
use greeting::{Established, NotEstablished, establish};
use messages::Wishes;
use session::{Live, Session};

/// How long connections may take to end when all is asked.
const END_TIME_MAX: Duration = Duration::from_secs(3);
/// What cleaning up gets although the time of the run is over.
const CLEANING_TIME: Duration = Duration::from_millis(500);

/// What a run has in common.
struct Probe {
    settings: ProbeSettings,
    dialler: SharedDialler,
    findings: Findings,
    transcript: Arc<Transcript>,
    /// Media; none where it cannot be had.
    pool: Option<ClientPool>,
    deadline: Instant,
    connections: AtomicUsize,
    live: Live,
}

/// A run that is over.
pub struct Probed {
    /// What was found.
    pub report: Report,
    /// What was said.
    pub transcript: Arc<Transcript>,
}

/// Why the questions could not be asked.
enum Obstacle {
    /// Nobody was reached.
    Unreachable(String),
    /// Somebody was, who is no WCS.
    NoWcs(String),
    /// A WCS that does not let us in, or ends what it began.
    Refuses(String),
}

/// Asks everything that `settings` allow. Whoever drops this future has its connections closed in the background.
pub async fn run(settings: ProbeSettings, mut stop: watch::Receiver<bool>) -> Probed {
    let transcript = Arc::new(Transcript::new(settings.anonymise));
    if let Some(credentials) = dial::credentials(&settings.url) {
        transcript.redactor().learn("credentials", credentials);
        let password = credentials.split_once(':').map_or("", |(_, password)| password);
        transcript.redactor().learn("credentials", password);
    }
    if let Some(custom) = &settings.custom {
        transcript.redactor().learn_all("secret", custom);
    }
    let begun = Instant::now();
    let dialler = match Dialler::new(&settings).await {
        Ok(dialler) => Arc::new(dialler),
        Err(error) => {
            let obstacle = Obstacle::Unreachable(error.to_string());
            let report = Report::of(&settings, &Findings::new(), Some(obstacle), begun, 0, &transcript);
            return Probed { report, transcript };
        }
    };
    let probe = Probe {
        pool: pool(&dialler),
        deadline: begun + settings.time_max(),
        settings,
        dialler,
        findings: Findings::new(),
        transcript: Arc::clone(&transcript),
        connections: AtomicUsize::new(0),
        live: Arc::new(watch::Sender::new(0)),
    };
    let stopped = async {
        // Whoever cannot say so any more does not stop it.
        if stop.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let obstacle = tokio::select! {
        obstacle = probe.ask() => obstacle,
        () = stopped => Some(Obstacle::Refuses("the run was ended before all was asked".to_owned())),
    };
    let mut live = probe.live.subscribe();
    let _ = timeout(END_TIME_MAX, live.wait_for(|count| *count == 0)).await;
    let dials = probe.dialler.dials().await;
    let report = Report::of(&probe.settings, &probe.findings, obstacle, begun, dials, &transcript);
    Probed { report, transcript }
}

/// Media that goes out where the server is reached.
fn pool(dialler: &Dialler) -> Option<ClientPool> {
    let address = dialler.address()?;
    let any: std::net::SocketAddr =
        if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let way_out = std::net::UdpSocket::bind(any).ok()?;
    // Sends nothing; it only asks the system for the way.
    way_out.connect(address).ok()?;
    let bind_ip = way_out.local_addr().ok()?.ip();
    ClientPool::start(PoolSettings { bind_ip, ..PoolSettings::default() }).ok()
}

impl Probe {
    /// All that is to be asked; why it could not be, if so.
    async fn ask(&self) -> Option<Obstacle> {
        let mark = self.mark();
        let main = match establish(self, &Wishes { mark: &mark, ..Wishes::default() }).await {
            Ok(main) => main,
            Err(NotEstablished::Refused { session, info }) => {
                doors::refused(self, session, &info).await;
                return Some(Obstacle::Refuses(format!(
                    "it refuses the connection: {info}. Nothing else could be asked; --app-key and --custom say who asks"
                )));
            }
            Err(NotEstablished::Dial(error)) => return Some(obstacle(&error)),
            Err(other) => return Some(Obstacle::NoWcs(other.text())),
        };
        greeting::note(self, &main);
        let Established { session, token, .. } = main;
        let aside = async {
            doors::media_sockets(self, token.as_deref()).await;
            doors::refusal(self).await;
            resume::ask(self).await;
            doors::room(self).await;
        };
        let quick = async {
            tokio::join!(quick::ask(self, &session), aside);
        };
        let silent = async {
            if self.settings.patient {
                patience::missed_pongs(self).await;
            }
        };
        let all = async {
            quick.await;
            self.ask_more().await;
        };
        tokio::join!(all, silent, operators::ask(self));
        let ended = session.ended();
        session.close().await;
        ended.map(|end| {
            Obstacle::Refuses(format!("it ended a session that did nothing wrong, by {}", end.text()))
        })
    }

    /// What takes a publish or time.
    async fn ask_more(&self) {
        let publishes = async {
            if let Some(name) = &self.settings.publish {
                streams::ask(self, name).await;
                if self.settings.patient {
                    patience::names(self, name).await;
                }
            }
        };
        let keeps = async {
            if self.settings.patient {
                patience::kept(self).await;
            }
        };
        tokio::join!(publishes, keeps);
    }

    /// Dials a connection.
    async fn open(&self) -> Result<Session, DialError> {
        let dialled = self.dialler.dial().await?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Session::begin(number, dialled, Arc::clone(&self.transcript), Arc::clone(&self.live)))
    }

    /// `limit`, or what is left of the run.
    fn limit(&self, limit: Duration) -> Duration {
        limit.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// As [`limit`](Self::limit), for what is owed to the server although the time is over.
    fn cleaning_limit(&self, limit: Duration) -> Duration {
        self.limit(limit).max(CLEANING_TIME)
    }

    /// Something by which a connection is known again.
    fn mark(&self) -> String {
        format!("holdfast-probe-mark-{}", uuid::Uuid::new_v4().simple())
    }

    /// A player with its offer.
    async fn play_offer(&self) -> Option<WebRtcClient> {
        self.pool.as_ref()?.client(ClientOptions::play()).await.ok()
    }
}

fn obstacle(error: &DialError) -> Obstacle {
    if error.reached() {
        Obstacle::NoWcs(error.to_string())
    } else {
        Obstacle::Unreachable(error.to_string())
    }
}
