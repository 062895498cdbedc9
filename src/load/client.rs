//! One protocol-true client: it connects, answers pings, and does what its scenario says.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::signaling::{Peek, peek, synthetic};

use super::{
    LoadSettings, Scenario, messages,
    socket::{Socket, Target},
    tally::{Tally, add, take},
};

/// Times of unanswered `sendData` that are remembered per client.
const UNANSWERED_MAX: usize = 1_024;
/// How long a client waits before it publishes again what was reported FAILED, at most: pages
/// with restart code do not come back all in the same instant.
const REPUBLISH_SPREAD: Duration = Duration::from_millis(500);

/// What all clients share.
pub(super) struct Run {
    pub(super) settings: LoadSettings,
    pub(super) target: Target,
    pub(super) tally: Tally,
    /// True when the clients shall go.
    pub(super) stop: watch::Receiver<bool>,
}

pub(super) struct Client {
    run: Arc<Run>,
    number: usize,
    socket: Socket,
    stream: StreamState,
    /// When each unanswered `sendData` was due.
    due: VecDeque<Instant>,
    next_turn: Option<Instant>,
    published_at: Instant,
    failed_at: Option<Instant>,
    publish_at: Option<Instant>,
    publishes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    None,
    Asked,
    Running,
    Stopping,
}

/// Runs client `number` until the run stops or its socket ends.
pub(super) async fn run(run: Arc<Run>, number: usize) {
    add(&run.tally.started);
    let begun = Instant::now();
    let connected = timeout(run.settings.connect_timeout, connect(&run, number)).await;
    let socket = match connected {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return run.tally.error(&error),
        Err(_) => return run.tally.error("not established in time"),
    };
    run.tally.connect.record(begun.elapsed());
    add(&run.tally.established);
    add(&run.tally.open);
    let mut client = Client::new(Arc::clone(&run), number, socket);
    match client.live().await {
        Ok(()) => {
            // The sockets that are open when the run ends are those that survived; the count
            // stays, so that the summary can tell.
            let _ = client.socket.close(None).await;
        }
        Err(error) => {
            take(&run.tally.open);
            add(&run.tally.lost);
            if client.stream == StreamState::Running {
                take(&run.tally.running);
            }
            run.tally.error(&error);
        }
    }
}

/// Waits for the end of the run, without keeping a guard.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could stop us: then the run is over as well.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

async fn connect(run: &Run, number: usize) -> Result<Socket, String> {
    let addresses = &run.settings.local_addresses;
    let from = number.checked_rem(addresses.len()).and_then(|index| addresses.get(index).copied());
    let mut socket = run.target.connect(from).await?;
    let connection = messages::connection(number);
    socket.send(Message::text(connection)).await.map_err(|error| error.to_string())?;
    loop {
        let message = socket.next().await.ok_or("closed before getUserData")?;
        match message.map_err(|error| error.to_string())? {
            Message::Text(text) => {
                match peek(text.as_bytes()).map(|peek| peek.name.into_owned()).as_deref() {
                    Ok("getUserData") => return Ok(socket),
                    Ok("fail") => return Err("refused by `fail`".to_owned()),
                    _ => {}
                }
            }
            Message::Close(_) => return Err("closed before getUserData".to_owned()),
            _ => {}
        }
    }
}

impl Client {
    fn new(run: Arc<Run>, number: usize, socket: Socket) -> Self {
        let now = Instant::now();
        Self {
            run,
            number,
            socket,
            stream: StreamState::None,
            due: VecDeque::new(),
            next_turn: None,
            published_at: now,
            failed_at: None,
            publish_at: None,
            publishes: 0,
        }
    }

    async fn live(&mut self) -> Result<(), String> {
        let mut stop = self.run.stop.clone();
        self.begin();
        loop {
            let wake = self.next_turn.into_iter().chain(self.publish_at).min();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ok(()),
                message = self.socket.next() => self.received(message).await?,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.turn().await?,
            }
        }
    }

    fn begin(&mut self) {
        let settings = &self.run.settings;
        if matches!(settings.scenario, Scenario::Publish | Scenario::Storm) {
            self.publish_at = Some(Instant::now());
        }
        if settings.scenario == Scenario::Echo && settings.rate_per_s > 0.0 {
            // Spread over one period, so that clients do not speak in step.
            let share = self.number as f64 / settings.sessions.max(1) as f64;
            self.next_turn = Some(Instant::now() + self.period().mul_f64(share));
        }
    }

    /// Time between two turns of this client.
    fn period(&self) -> Duration {
        let settings = &self.run.settings;
        let turns_per_s = settings.rate_per_s / (settings.sessions as f64 * settings.in_flight as f64);
        Duration::try_from_secs_f64(1.0 / turns_per_s).unwrap_or(Duration::from_secs(3_600))
    }

    async fn turn(&mut self) -> Result<(), String> {
        let now = Instant::now();
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            self.publish().await?;
        }
        if let Some(due) = self.next_turn.filter(|due| *due <= now) {
            self.next_turn = Some(due + self.period());
            match self.run.settings.scenario {
                Scenario::Echo => self.speak(due).await?,
                _ => self.stop_stream().await?,
            }
        }
        Ok(())
    }

    /// Sends what is due; its time counts from when it was due, not from when we got to it.
    async fn speak(&mut self, due: Instant) -> Result<(), String> {
        for _ in 0..self.run.settings.in_flight {
            let message = messages::send_data(self.run.settings.message_bytes);
            self.feed(message).await?;
            if self.due.len() < UNANSWERED_MAX {
                self.due.push_back(due);
            }
        }
        self.socket.flush().await.map_err(|error| error.to_string())
    }

    async fn publish(&mut self) -> Result<(), String> {
        self.publishes += 1;
        self.published_at = Instant::now();
        self.stream = StreamState::Asked;
        let id = messages::stream_id(self.number, self.publishes);
        self.send(messages::publish(&id, &messages::stream_name(self.number))).await
    }

    async fn stop_stream(&mut self) -> Result<(), String> {
        if self.stream != StreamState::Running {
            return Ok(());
        }
        self.stream = StreamState::Stopping;
        take(&self.run.tally.running);
        let id = messages::stream_id(self.number, self.publishes);
        let stop = synthetic::stop_stream(&id, &messages::stream_name(self.number), true, "PUBLISHING");
        self.send(String::from_utf8(stop).unwrap_or_default()).await
    }

    async fn send(&mut self, text: String) -> Result<(), String> {
        add(&self.run.tally.sent);
        self.socket.send(Message::text(text)).await.map_err(|error| error.to_string())
    }

    async fn feed(&mut self, text: String) -> Result<(), String> {
        add(&self.run.tally.sent);
        self.socket.feed(Message::text(text)).await.map_err(|error| error.to_string())
    }

    async fn received(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), String> {
        let message = message.ok_or("the socket ended")?.map_err(|error| error.to_string())?;
        match message {
            Message::Text(text) => {
                add(&self.run.tally.received);
                match peek(text.as_bytes()) {
                    Ok(peek) => self.heard(&peek).await,
                    Err(error) => Err(format!("not understood: {error}")),
                }
            }
            Message::Close(frame) => {
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                Err(format!("closed with code {code}"))
            }
            _ => Ok(()),
        }
    }

    async fn heard(&mut self, peek: &Peek<'_>) -> Result<(), String> {
        let tally = &self.run.tally;
        match &*peek.name {
            "ping" => {
                add(&tally.pings);
                self.send(messages::PONG.to_owned()).await
            }
            "getUserData" => {
                add(&tally.established_again);
                Ok(())
            }
            "DataStatusEvent" => {
                add(&tally.answered);
                if peek.string("status").as_deref() != Some("ACCEPTED") {
                    add(&tally.answered_failed);
                }
                if let Some(due) = self.due.pop_front() {
                    tally.answer.record(due.elapsed());
                }
                Ok(())
            }
            "notifyStreamStatusEvent" => {
                self.stream_status(peek);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn stream_status(&mut self, peek: &Peek<'_>) {
        let tally = &self.run.tally;
        let mine = messages::stream_id(self.number, self.publishes);
        if peek.string("mediaSessionId").as_deref() != Some(&*mine) {
            return;
        }
        match peek.string("status").as_deref() {
            Some("PUBLISHING") if self.stream == StreamState::Asked => {
                self.stream = StreamState::Running;
                add(&tally.publishing);
                add(&tally.running);
                tally.publish.record(self.published_at.elapsed());
                if let Some(failed) = self.failed_at.take() {
                    add(&tally.back);
                    tally.restore.record(failed.elapsed());
                }
                self.plan_next_cycle();
            }
            Some("FAILED") => self.stream_failed(),
            Some("UNPUBLISHED") => {
                self.stream = StreamState::None;
                self.publish_at = Some(Instant::now());
            }
            _ => {}
        }
    }

    fn plan_next_cycle(&mut self) {
        let settings = &self.run.settings;
        if settings.scenario == Scenario::Publish && settings.rate_per_s > 0.0 {
            self.next_turn = Some(self.next_turn.unwrap_or_else(Instant::now) + self.period());
        }
    }

    fn stream_failed(&mut self) {
        let tally = &self.run.tally;
        let now = Instant::now();
        if self.stream == StreamState::Running {
            add(&tally.reported);
            take(&tally.running);
            self.failed_at = Some(now);
        } else {
            add(&tally.refused);
        }
        self.stream = StreamState::None;
        if self.run.settings.scenario == Scenario::Storm {
            let share = (self.number % 997) as f64 / 997.0;
            self.publish_at = Some(now + REPUBLISH_SPREAD.mul_f64(share));
        }
    }
}
