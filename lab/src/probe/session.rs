//! One connection in conversation: everything that the server says is kept with its time, pings are answered, and
//! whoever waits for something sees it as soon as it is there. What it means is decided elsewhere.
//!
//! It understands what protocol S1 and S9 allow: unknown messages and fields, `data` that is missing, `[]`,
//! `[null]`, an object.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use super::{
    dial::{Dialled, Socket},
    error::End,
    settings::{HEARD_BYTES_MAX, MESSAGES_MAX},
    transcript::{Direction, Transcript},
};

/// Messages waiting to be written.
const QUEUE_MAX: usize = 64;
/// How long the server may take to answer our close frame.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the server may leave a message unread.
const SEND_TIME_MAX: Duration = Duration::from_secs(3);

/// A message of the server.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) at: Instant,
    pub(super) name: String,
    /// `data`, if it was there.
    pub(super) data: Option<Value>,
}

impl Said {
    /// The first argument; `data` itself where it is no array.
    pub(super) fn argument(&self) -> &Value {
        match &self.data {
            Some(Value::Array(arguments)) => arguments.first().unwrap_or(&Value::Null),
            Some(data) => data,
            None => &Value::Null,
        }
    }

    /// The argument at `index`.
    pub(super) fn at_index(&self, index: usize) -> Option<&Value> {
        self.data.as_ref()?.get(index)
    }

    /// The text under `key` in the first argument.
    pub(super) fn field(&self, key: &str) -> Option<&str> {
        self.argument().get(key)?.as_str()
    }

    /// Whether it is a status of the stream with this id.
    pub(super) fn is_status_of(&self, id: &str) -> bool {
        matches!(&*self.name, "notifyStreamStatusEvent" | "notifyVideoFormat")
            && self.field("mediaSessionId") == Some(id)
    }

    /// Whether it is a `fail` about the stream with this id.
    pub(super) fn is_fail_of(&self, id: &str) -> bool {
        self.name == "fail" && ["id", "mediaSessionId"].iter().any(|key| self.field(key) == Some(id))
    }
}

/// What came on a connection so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) messages: Vec<Said>,
    /// When WebSocket pings came.
    pub(super) pings: Vec<Instant>,
    /// Binary messages, and the bytes of them.
    pub(super) binary: (usize, usize),
    /// How and when it ended.
    pub(super) ended: Option<(End, Instant)>,
    bytes: usize,
}

impl Heard {
    /// The first message of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Said> {
        self.messages.iter().find(|said| said.name == name)
    }

    /// When messages of this name came.
    pub(super) fn times(&self, name: &str) -> Vec<Instant> {
        self.messages.iter().filter(|said| said.name == name).map(|said| said.at).collect()
    }
}

/// A connection. Dropping it closes it as the SDK does, in the background.
pub(super) struct Session {
    pub(super) number: usize,
    pub(super) headers: HeaderMap,
    pub(super) opened: Instant,
    heard: Arc<Mutex<Heard>>,
    changed: watch::Receiver<u64>,
    outgoing: mpsc::Sender<Message>,
    answers_pings: Arc<AtomicBool>,
    tcp: std::net::TcpStream,
    transcript: Arc<Transcript>,
    task: JoinHandle<()>,
}

/// Counts the connections that are open.
pub(super) type Live = Arc<watch::Sender<usize>>;

/// One that is.
struct Living(Live);

impl Living {
    fn new(live: Live) -> Self {
        live.send_modify(|count| *count += 1);
        Self(live)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Session {
    /// Begins to read and write.
    pub(super) fn begin(number: usize, dialled: Dialled, transcript: Arc<Transcript>, live: Live) -> Self {
        let Dialled { socket, tcp, headers } = dialled;
        let (outgoing, queue) = mpsc::channel(QUEUE_MAX);
        let (notify, changed) = watch::channel(0);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let answers_pings = Arc::new(AtomicBool::new(true));
        transcript.note(number, Direction::Event, "open");
        let reader = Reader {
            number,
            heard: Arc::clone(&heard),
            notify,
            answers_pings: Arc::clone(&answers_pings),
            transcript: Arc::clone(&transcript),
            first_sent: None,
        };
        let living = Living::new(live);
        let task = tokio::spawn(async move {
            reader.run(socket, queue).await;
            drop(living);
        });
        Self {
            number,
            headers,
            opened: Instant::now(),
            heard,
            changed,
            outgoing,
            answers_pings,
            tcp,
            transcript,
            task,
        }
    }

    /// Says a message with one argument; `null` for none.
    pub(super) async fn say(&self, name: &str, argument: &Value) {
        let text = json!({"message": name, "data": [argument]}).to_string();
        // An error means that the connection has ended, which whoever waits will see.
        let _ = self.outgoing.send(Message::text(text)).await;
    }

    /// Stops or resumes the answers to pings.
    pub(super) fn set_answers_pings(&self, answers: bool) {
        self.answers_pings.store(answers, Ordering::Relaxed);
    }

    /// Looks at what came.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.lock())
    }

    /// Waits until `find` finds something in what came; none when `limit` has passed or the connection ended.
    pub(super) async fn wait<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&Heard) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                changed.borrow_and_update();
                let (found, ended) = self.look(|heard| (find(heard), heard.ended.is_some()));
                if found.is_some() || ended || changed.changed().await.is_err() {
                    return found;
                }
            }
        };
        match timeout(limit, search).await {
            Ok(Some(found)) => Some(found),
            // The last word may have come with the end.
            Ok(None) => self.look(|heard| find(heard)),
            Err(_) => None,
        }
    }

    /// Waits for the first message after `from` messages that `wanted` wants.
    pub(super) async fn next(
        &self,
        limit: Duration,
        from: usize,
        wanted: impl Fn(&Said) -> bool,
    ) -> Option<Said> {
        self.wait(limit, |heard| heard.messages.iter().skip(from).find(|said| wanted(said)).cloned()).await
    }

    /// How many messages came.
    pub(super) fn count(&self) -> usize {
        self.look(|heard| heard.messages.len())
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<End> {
        self.look(|heard| heard.ended.as_ref().map(|(end, _)| end.clone()))
    }

    /// Waits for its end.
    pub(super) async fn end(&self, limit: Duration) -> Option<(End, Instant)> {
        self.wait(limit, |heard| heard.ended.clone()).await
    }

    /// Closes it as the SDK does, and waits until the server has let go.
    pub(super) async fn close(self) {
        let Self { outgoing, task, .. } = self;
        drop(outgoing);
        // The task bounds itself.
        let _ = task.await;
    }

    /// Resets its TCP connection: the server sees a lost client.
    pub(super) async fn reset(self) {
        self.transcript.note(self.number, Direction::Event, "reset by the probe");
        // An error leaves a FIN, which is a loss as well.
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        self.task.abort();
        // Until the task has let go of its handle nothing is closed.
        let _ = self.task.await;
    }
}

/// The task behind a session.
struct Reader {
    number: usize,
    heard: Arc<Mutex<Heard>>,
    notify: watch::Sender<u64>,
    answers_pings: Arc<AtomicBool>,
    transcript: Arc<Transcript>,
    /// What we said first, to know an echo by.
    first_sent: Option<String>,
}

impl Reader {
    async fn run(mut self, socket: Socket, mut queue: mpsc::Receiver<Message>) {
        let (mut sink, mut stream) = socket.split();
        // Since when we wait for the answer to our close frame.
        let mut closing: Option<Instant> = None;
        let end = loop {
            let close_by = closing.unwrap_or_else(Instant::now) + CLOSE_TIME_MAX;
            let outgoing = tokio::select! {
                biased;
                () = sleep_until(close_by.into()), if closing.is_some() => break End::ByUs,
                message = stream.next() => match self.received(message, closing.is_some()) {
                    Ok(answer) => answer,
                    Err(end) => break end,
                },
                message = queue.recv(), if closing.is_none() => Some(message.unwrap_or(Message::Close(None))),
            };
            let Some(message) = outgoing else { continue };
            if let Message::Text(text) = &message {
                self.transcript.note(self.number, Direction::Out, text);
                self.first_sent.get_or_insert_with(|| text.to_string());
            }
            if matches!(message, Message::Close(_)) {
                closing = Some(Instant::now());
            }
            match timeout(SEND_TIME_MAX, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if closing.is_some() => break End::ByUs,
                Ok(Err(error)) => break end_of(error),
                Err(_) => break End::Protocol("it does not read".to_owned()),
            }
        };
        if let End::Closed(_) = end {
            // Lets the library answer the close frame.
            let _ = timeout(CLOSE_TIME_MAX, sink.close()).await;
        }
        self.transcript.note(self.number, Direction::Event, &format!("ended by {}", end.text()));
        self.heard.lock().ended = Some((end, Instant::now()));
        self.notify.send_modify(|count| *count += 1);
    }

    /// Takes what came; the answer, if one is due.
    fn received(
        &self,
        message: Option<Result<Message, Error>>,
        closing: bool,
    ) -> Result<Option<Message>, End> {
        let answer = match message {
            None if closing => return Err(End::ByUs),
            None => return Err(End::Fin),
            Some(Err(_)) if closing => return Err(End::ByUs),
            Some(Err(error)) => return Err(end_of(error)),
            Some(Ok(Message::Text(text))) => self.text(&text)?,
            Some(Ok(Message::Binary(bytes))) => {
                let mut heard = self.heard.lock();
                heard.binary.0 += 1;
                heard.binary.1 += bytes.len();
                if heard.binary.0 > MESSAGES_MAX {
                    return Err(End::Flood);
                }
                None
            }
            Some(Ok(Message::Ping(_))) => {
                let mut heard = self.heard.lock();
                if heard.pings.len() >= MESSAGES_MAX {
                    return Err(End::Flood);
                }
                heard.pings.push(Instant::now());
                None
            }
            Some(Ok(Message::Close(_))) if closing => return Err(End::ByUs),
            Some(Ok(Message::Close(frame))) => {
                return Err(End::Closed(frame.map_or(1005, |frame| frame.code.into())));
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => None,
        };
        self.notify.send_modify(|count| *count += 1);
        Ok(answer)
    }

    fn text(&self, text: &str) -> Result<Option<Message>, End> {
        self.transcript.note(self.number, Direction::In, text);
        if self.first_sent.as_deref() == Some(text) {
            return Err(End::Echo);
        }
        let Ok(Value::Object(mut envelope)) = serde_json::from_str::<Value>(text) else {
            return Err(End::NoSignaling("text that is no JSON object"));
        };
        let Some(Value::String(name)) = envelope.remove("message") else {
            return Err(End::NoSignaling("JSON without the name of a message"));
        };
        let is_ping = name == "ping";
        let mut heard = self.heard.lock();
        heard.bytes = heard.bytes.saturating_add(text.len());
        if heard.messages.len() >= MESSAGES_MAX || heard.bytes > HEARD_BYTES_MAX {
            return Err(End::Flood);
        }
        heard.messages.push(Said { at: Instant::now(), name, data: envelope.remove("data") });
        let answers = is_ping && self.answers_pings.load(Ordering::Relaxed);
        Ok(answers.then(|| Message::text(r#"{"message":"pong","data":[null]}"#)))
    }
}

fn end_of(error: Error) -> End {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Fin,
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset => End::Reset,
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => End::Fin,
        Error::Capacity(_) => End::TooLong,
        error => End::Protocol(error.to_string()),
    }
}
