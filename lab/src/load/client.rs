//! One protocol-true client: it connects, answers pings, and does what its scenario says. What
//! becomes of its stream is in `stream.rs`.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    LoadSettings, Scenario,
    counters::{Counters, add, take},
    error::ClientEnd,
    incoming::Incoming,
    media::RunMedia,
    messages,
    socket::{Socket, Target},
    stream::Stream,
    upstream::Outage,
};

/// Times of unanswered `sendData` that are remembered per client.
const UNANSWERED_MAX: usize = 1_024;
/// How long a client waits before it asks again whether its session is back.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The code of a close frame without one (RFC 6455 7.1.5).
const NO_CODE: u16 = 1005;

/// What all clients share.
pub(super) struct Run {
    pub(super) settings: LoadSettings,
    pub(super) target: Target,
    pub(super) counters: Counters,
    /// Real media, if there is any.
    pub(super) media: Option<Arc<RunMedia>>,
    /// Per group of players: whether its stream is published.
    pub(super) published: Vec<watch::Sender<bool>>,
    /// The outage that we make.
    pub(super) outage: watch::Receiver<Outage>,
    /// True when the clients shall go.
    pub(super) stop: watch::Receiver<bool>,
}

pub(super) struct Client {
    pub(super) run: Arc<Run>,
    pub(super) number: usize,
    pub(super) socket: Socket,
    pub(super) stream: Stream,
    /// When each unanswered `sendData` was due.
    due: VecDeque<Instant>,
    pub(super) next_turn: Option<Instant>,
    /// Since when the server listens again, until this session is known to be back.
    asks_since: Option<Instant>,
    ask_at: Option<Instant>,
}

/// Runs client `number` until the run stops or its socket ends.
pub(super) async fn run(run: Arc<Run>, number: usize) {
    add(&run.counters.started);
    let begun = Instant::now();
    let connected = timeout(run.settings.connect_timeout, connect(&run, number)).await;
    let socket = match connected {
        Ok(Ok(socket)) => socket,
        Ok(Err(end)) => return run.counters.error(&end),
        Err(_) => return run.counters.error(&ClientEnd::TooSlow),
    };
    run.counters.connect.record(begun.elapsed());
    add(&run.counters.established);
    add(&run.counters.open);
    let mut client = Client::new(Arc::clone(&run), number, socket);
    match client.live().await {
        Ok(()) => {
            // The sockets that are open when the run ends are those that survived; the count
            // stays, so that the summary can tell.
            let _ = client.socket.close(None).await;
        }
        Err(end) => {
            take(&run.counters.open);
            add(&run.counters.lost);
            client.stream_lost();
            run.counters.error(&end);
        }
    }
}

/// Waits for the end of the run, without keeping a guard.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could stop us: then the run is over as well.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

/// Waits until the publisher of the group publishes.
async fn is_published(published: &mut Option<watch::Receiver<bool>>) {
    if let Some(published) = published {
        // The senders live as long as the run.
        let _ = published.wait_for(|published| *published).await;
    }
}

async fn connect(run: &Run, number: usize) -> Result<Socket, ClientEnd> {
    let addresses = &run.settings.local_addresses;
    let from = number.checked_rem(addresses.len()).and_then(|index| addresses.get(index).copied());
    let mut socket = run.target.connect(from).await?;
    let connection = messages::connection(number);
    socket.send(Message::text(connection)).await?;
    loop {
        match socket.next().await.ok_or(ClientEnd::ClosedEarly)?? {
            Message::Text(text) => match Incoming::read(&text).map(|message| message.name).as_deref() {
                Ok("getUserData") => return Ok(socket),
                Ok("fail") => return Err(ClientEnd::Fail),
                _ => {}
            },
            Message::Close(_) => return Err(ClientEnd::ClosedEarly),
            _ => {}
        }
    }
}

impl Client {
    fn new(run: Arc<Run>, number: usize, socket: Socket) -> Self {
        let stream = Stream::new(run.settings.publishes(number), run.settings.group(number));
        Self {
            run,
            number,
            socket,
            stream,
            due: VecDeque::new(),
            next_turn: None,
            asks_since: None,
            ask_at: None,
        }
    }

    async fn live(&mut self) -> Result<(), ClientEnd> {
        let mut stop = self.run.stop.clone();
        let mut outage = self.run.outage.clone();
        let controlled = self.run.settings.upstream.is_some();
        let mut published = self.run.published.get(self.stream.group).map(watch::Sender::subscribe);
        self.begin();
        loop {
            let wake = [self.next_turn, self.stream.start_at, self.ask_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ok(()),
                message = self.socket.next() => self.received(message).await?,
                Ok(()) = outage.changed(), if controlled => {
                    let outage = *outage.borrow_and_update();
                    self.outage_moved(outage);
                }
                () = is_published(&mut published), if self.stream.waits => self.stream.publisher_is_there(),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.turn().await?,
            }
        }
    }

    /// As soon as the server listens, the client asks for something, and goes on asking until it gets
    /// it: then its session is back.
    fn outage_moved(&mut self, outage: Outage) {
        self.asks_since = outage.listening;
        self.ask_at = outage.listening;
    }

    fn begin(&mut self) {
        let settings = &self.run.settings;
        if settings.scenario.has_streams() {
            self.stream.start_at = Some(Instant::now());
        }
        if settings.scenario == Scenario::Echo && settings.rate_per_s > 0.0 {
            // Spread over one period, so that clients do not speak in step.
            let share = self.number as f64 / settings.sessions.max(1) as f64;
            self.next_turn = Some(Instant::now() + self.period().mul_f64(share));
        }
    }

    /// Time between two turns of this client.
    pub(super) fn period(&self) -> Duration {
        let settings = &self.run.settings;
        let turns_per_s = settings.rate_per_s / (settings.sessions as f64 * settings.in_flight as f64);
        Duration::try_from_secs_f64(1.0 / turns_per_s).unwrap_or(Duration::from_secs(3_600))
    }

    async fn turn(&mut self) -> Result<(), ClientEnd> {
        let now = Instant::now();
        if self.stream.start_at.is_some_and(|at| at <= now) {
            self.stream.start_at = None;
            self.start_stream().await?;
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = None;
            self.due.push_back(now);
            self.send(messages::send_data(self.run.settings.message_bytes)).await?;
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
    async fn speak(&mut self, due: Instant) -> Result<(), ClientEnd> {
        for _ in 0..self.run.settings.in_flight {
            let message = messages::send_data(self.run.settings.message_bytes);
            self.feed(message).await?;
            if self.due.len() < UNANSWERED_MAX {
                self.due.push_back(due);
            }
        }
        Ok(self.socket.flush().await?)
    }

    pub(super) async fn send(&mut self, text: String) -> Result<(), ClientEnd> {
        add(&self.run.counters.sent);
        Ok(self.socket.send(Message::text(text)).await?)
    }

    async fn feed(&mut self, text: String) -> Result<(), ClientEnd> {
        add(&self.run.counters.sent);
        Ok(self.socket.feed(Message::text(text)).await?)
    }

    async fn received(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), ClientEnd> {
        match message.ok_or(ClientEnd::Ended)?? {
            Message::Text(text) => {
                add(&self.run.counters.received);
                self.heard(&Incoming::read(&text)?).await
            }
            Message::Close(frame) => {
                Err(ClientEnd::Closed(frame.map_or(NO_CODE, |frame| u16::from(frame.code))))
            }
            _ => Ok(()),
        }
    }

    async fn heard(&mut self, message: &Incoming<'_>) -> Result<(), ClientEnd> {
        let counters = &self.run.counters;
        match &*message.name {
            "ping" => {
                add(&counters.pings);
                self.send(messages::PONG.to_owned()).await
            }
            "getUserData" => {
                add(&counters.established_again);
                Ok(())
            }
            "DataStatusEvent" => {
                self.data_answered(message.arguments().field("status") == Some("ACCEPTED"));
                Ok(())
            }
            "setRemoteSDP" => {
                let arguments = message.arguments();
                let sdp = arguments.text(1).unwrap_or_default();
                if sdp.contains("\no=Holdfast ") {
                    add(&self.run.counters.anchored);
                }
                if let Some(media) = self.awaits_description(&arguments)
                    && let Err(error) = media.apply_answer(sdp).await
                {
                    self.run.counters.error(&error);
                }
                Ok(())
            }
            "notifyStreamStatusEvent" => {
                self.stream_status(&message.arguments());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn data_answered(&mut self, accepted: bool) {
        let counters = &self.run.counters;
        add(&counters.answered);
        if let Some(due) = self.due.pop_front() {
            counters.answer.record(due.elapsed());
        }
        if accepted {
            if let Some(since) = self.asks_since.take() {
                counters.session_restored.record(since.elapsed());
            }
        } else {
            add(&counters.answered_failed);
            self.ask_at = self.asks_since.map(|_| Instant::now() + ASK_AGAIN);
        }
    }
}
