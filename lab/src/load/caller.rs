//! A client with real media: a signaling session and one synthetic WebRTC stream on it, without
//! any restart code. What comes back, comes back because of what is between it and the server.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use super::{
    LoadSettings,
    error::{CallerError, ClientEnd},
    incoming::Incoming,
    messages,
    socket::{Socket, Target},
    webrtc_client::{ClientOptions, ClientPool, ClientStats, WebRtcClient},
};

/// Status words remembered per caller; the oldest go first.
const STATUSES_MAX: usize = 64;

/// What a caller was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Stream statuses in their order, with their info.
    pub statuses: Vec<String>,
    /// `setRemoteSDP` messages.
    pub remote_sdps: usize,
    /// `getUserData` messages.
    pub established: usize,
    /// How the socket ended, if it did.
    pub ended: Option<String>,
}

/// One publisher or player. Dropping it ends its socket without a close frame.
pub struct Caller {
    client: Arc<WebRtcClient>,
    told: Arc<Mutex<Told>>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Caller {
    /// Connects to `settings.url`, publishes or plays `name` as `options` say, and goes on in a
    /// task of its own.
    ///
    /// # Errors
    /// The server cannot be reached or does not establish the session within
    /// `settings.connect_timeout`, or no media client can be made.
    pub async fn start(
        settings: &LoadSettings,
        pool: &ClientPool,
        options: ClientOptions,
        name: &str,
    ) -> Result<Self, CallerError> {
        let publish = options.publish;
        let client = Arc::new(pool.client(options).await.map_err(ClientEnd::from)?);
        let target = Target::resolve(settings).await?;
        let mut socket = target.connect(None).await?;
        let told = Arc::new(Mutex::new(Told::default()));
        send(&mut socket, messages::connection(0)).await?;
        let established = establish(&mut socket);
        timeout(settings.connect_timeout, established).await.map_err(|_| ClientEnd::TooSlow)??;
        told.lock().established = 1;
        let id = uuid::Uuid::new_v4().to_string();
        send(&mut socket, messages::stream(publish, &id, name, client.offer())).await?;
        let (notify, changed) = watch::channel(0);
        let conversation =
            Conversation { socket, client: Arc::clone(&client), told: Arc::clone(&told), notify, id };
        let task = tokio::spawn(conversation.run());
        Ok(Self { client, told, changed, task })
    }

    /// Numbers of its media.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.client.stats()
    }

    /// Its media.
    #[must_use]
    pub fn media(&self) -> &WebRtcClient {
        &self.client
    }

    /// What it was told so far.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.lock().clone()
    }

    /// Waits until what it was told satisfies `condition`.
    ///
    /// # Errors
    /// What it was told when `limit` has passed or its socket has ended.
    pub async fn wait_until(
        &mut self,
        limit: Duration,
        condition: impl Fn(&Told) -> bool,
    ) -> Result<Told, Box<Told>> {
        let told = Arc::clone(&self.told);
        let waiting = self.changed.wait_for(|_| condition(&told.lock()));
        let satisfied = matches!(timeout(limit, waiting).await, Ok(Ok(_)));
        let told = self.told();
        if satisfied { Ok(told) } else { Err(Box::new(told)) }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(socket: &mut Socket, text: String) -> Result<(), ClientEnd> {
    Ok(socket.send(Message::text(text)).await?)
}

async fn establish(socket: &mut Socket) -> Result<(), ClientEnd> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message?
            && Incoming::read(&text).is_ok_and(|message| message.name == "getUserData")
        {
            return Ok(());
        }
    }
    Err(ClientEnd::ClosedEarly)
}

/// The task behind a caller.
struct Conversation {
    socket: Socket,
    client: Arc<WebRtcClient>,
    told: Arc<Mutex<Told>>,
    notify: watch::Sender<u64>,
    id: String,
}

impl Conversation {
    async fn run(mut self) {
        let ended = loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    if let Err(end) = self.hear(&text).await {
                        break end.to_string();
                    }
                }
                Some(Ok(Message::Close(frame))) => break format!("closed: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => break error.to_string(),
                None => break "the socket ended".to_owned(),
            }
        };
        self.told.lock().ended = Some(ended);
        self.notify.send_modify(|count| *count += 1);
    }

    async fn hear(&mut self, text: &str) -> Result<(), ClientEnd> {
        let message = Incoming::read(text)?;
        let arguments = message.arguments();
        match &*message.name {
            "ping" => return send(&mut self.socket, messages::PONG.to_owned()).await,
            "getUserData" => self.told.lock().established += 1,
            "setRemoteSDP" if arguments.text(0) == Some(&self.id) => {
                self.told.lock().remote_sdps += 1;
                if let Some(sdp) = arguments.text(1) {
                    self.client.apply_answer(sdp).await?;
                }
            }
            "notifyStreamStatusEvent" if arguments.field("mediaSessionId") == Some(&self.id) => {
                let status = arguments.field("status").unwrap_or_default();
                let info = arguments.field("info").unwrap_or_default();
                let mut told = self.told.lock();
                if told.statuses.len() >= STATUSES_MAX {
                    told.statuses.remove(0);
                }
                told.statuses.push(format!("{status} {info}").trim_end().to_owned());
            }
            _ => return Ok(()),
        }
        self.notify.send_modify(|count| *count += 1);
        Ok(())
    }
}
