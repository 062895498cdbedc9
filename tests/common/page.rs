//! A page: a client that behaves as the SDK does (protocol S2, S3) and remembers all it was told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use holdfast::load::webrtc_client::{ClientOptions, ClientPool, ClientStats, WebRtcClient};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame};

use super::PATIENCE;

/// Messages that wait to be sent.
const QUEUE_MAX: usize = 1_024;

/// An offer with opus, VP8 and H264 and credentials; nobody will use it.
pub const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:canary-ice-password-1234\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:canary-ice-password-1234\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na=sendonly\r\n";

/// The fixed offer of the MSE player.
pub const MSE_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 112\r\na=rtpmap:112 H264/90000\r\na=fmtp:112 packetization-mode=1; profile-level-id=420020\r\n\
    a=recvonly\r\nm=audio 0 RTP/AVP 108\r\na=rtpmap:108 mpeg4-generic/48000/1\r\na=recvonly\r\n";

/// One message of the server.
#[derive(Clone, Debug)]
pub struct Heard {
    pub name: String,
    pub data: Value,
    pub at: Instant,
}

/// All that the page was told.
#[derive(Debug, Default)]
pub struct Told {
    pub messages: Vec<Heard>,
    pub binary: Vec<Vec<u8>>,
    pub pings: usize,
    /// How the socket ended, if it did.
    pub ended: Option<String>,
}

impl Told {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.messages.iter().filter(move |heard| heard.name == name).map(|heard| &heard.data[0])
    }

    /// The statuses of a stream, in order.
    pub fn statuses(&self, id: &str) -> Vec<String> {
        let events = self.all("notifyStreamStatusEvent").filter(|event| event["mediaSessionId"] == id);
        events.map(|event| event["status"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The statuses of a call, in order.
    pub fn call_statuses(&self, id: &str) -> Vec<String> {
        let events = self.messages.iter().filter(|heard| heard.data[0]["callId"] == id);
        events.map(|heard| heard.data[0]["status"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Room events, as (name, info).
    pub fn room_events(&self) -> Vec<(String, Value)> {
        let events = self.all("OnDataEvent").map(|event| &event["payload"]);
        events
            .map(|event| (event["name"].as_str().unwrap_or_default().to_owned(), event["info"].clone()))
            .collect()
    }

    fn remote_sdps(&self, id: &str) -> impl Iterator<Item = &Heard> {
        let (name, id) = ("setRemoteSDP", id.to_owned());
        self.messages.iter().filter(move |heard| heard.name == name && heard.data[0] == id)
    }
}

enum Order {
    Send(Message),
    /// Neither reads nor writes any more; the socket stays open.
    GoSilent,
    Close,
}

/// A page with its socket. Dropping it cuts the socket without a goodbye.
pub struct Page {
    told: Arc<Mutex<Told>>,
    media: Arc<Mutex<HashMap<String, Arc<WebRtcClient>>>>,
    orders: mpsc::Sender<Order>,
    changed: watch::Receiver<u64>,
    task: JoinHandle<()>,
    /// Where it connects from.
    pub address: SocketAddr,
    pub user_data: Value,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Page {
    /// Opens a socket to `target` (path and query) and says nothing.
    pub async fn open(address: SocketAddr, target: &str) -> Self {
        Self::try_open(address, target).await.unwrap()
    }

    pub async fn try_open(address: SocketAddr, target: &str) -> Result<Self, String> {
        let mut request = format!("ws://{address}{target}").into_client_request().unwrap();
        request.headers_mut().insert("origin", "https://page.example".parse().unwrap());
        let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let own_address = tcp.local_addr().unwrap();
        let (socket, _) =
            tokio_tungstenite::client_async(request, tcp).await.map_err(|error| error.to_string())?;
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let (notify, changed) = watch::channel(0);
        let told = Arc::new(Mutex::new(Told::default()));
        let media = Arc::new(Mutex::new(HashMap::new()));
        let life = Life { socket, told: Arc::clone(&told), media: Arc::clone(&media), queue, notify };
        let task = tokio::spawn(life.run());
        Ok(Self { told, media, orders, changed, task, address: own_address, user_data: Value::Null })
    }

    /// An established session of the default application.
    pub async fn establish(address: SocketAddr) -> Self {
        Self::establish_as(address, json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC", "MSE"]}))
            .await
    }

    /// An established session with this `connection`.
    pub async fn establish_as(address: SocketAddr, connection: Value) -> Self {
        let mut page = Self::open(address, "/").await;
        page.connect(connection).await;
        page
    }

    /// Sends `connection` and waits for its answer.
    pub async fn connect(&mut self, connection: Value) {
        self.send("connection", connection);
        self.user_data = self
            .wait("getUserData and getVersion", |told| {
                told.all("getVersion").next()?;
                told.all("getUserData").next().cloned()
            })
            .await;
    }

    pub fn send(&self, name: &str, argument: Value) {
        self.send_text(json!({"message": name, "data": [argument]}).to_string());
    }

    pub fn send_text(&self, text: String) {
        self.order(Order::Send(Message::text(text)));
    }

    fn order(&self, order: Order) {
        // An ended page sends into the void, as a browser does.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.orders.try_send(order) {
            panic!("more than {QUEUE_MAX} messages wait to be sent");
        }
    }

    /// Its network is gone: it neither reads nor writes, its socket stays open.
    pub fn go_silent(&self) {
        self.order(Order::GoSilent);
    }

    /// `session.disconnect()`: closes the socket and waits for its end.
    pub async fn disconnect(&self) {
        self.order(Order::Close);
        self.wait("the end of the socket", |told| told.ended.clone()).await;
    }

    /// Looks at what it was told.
    pub fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock())
    }

    /// Waits until `pick` finds something.
    pub async fn wait<T>(&self, what: &str, pick: impl FnMut(&Told) -> Option<T>) -> T {
        self.wait_for(PATIENCE, what, pick).await
    }

    /// As [`Page::wait`], with another patience.
    pub async fn wait_for<T>(
        &self,
        patience: Duration,
        what: &str,
        mut pick: impl FnMut(&Told) -> Option<T>,
    ) -> T {
        let mut changed = self.changed.clone();
        let wait = async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = pick(&self.told.lock()) {
                    return found;
                }
                if changed.changed().await.is_err() {
                    // The task has ended; nothing will come any more.
                    let found = pick(&self.told.lock());
                    return found.unwrap_or_else(|| panic!("in vain: {what}: {}", self.summary()));
                }
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(found) => found,
            Err(_) => panic!("in vain: {what}: {}", self.summary()),
        }
    }

    /// What it was told, without descriptions and pings.
    pub fn summary(&self) -> String {
        let told = self.told.lock();
        let messages = told.messages.iter().filter(|heard| heard.name != "setRemoteSDP");
        let lines: Vec<String> = messages.map(|heard| format!("{} {}", heard.name, heard.data)).collect();
        format!("ended: {:?}, pings {}\n{}", told.ended, told.pings, lines.join("\n"))
    }

    /// Waits for so many more pings: time passes, and the proxy keeps the page company.
    pub async fn wait_for_pings(&self, more: usize) {
        let wanted = self.look(|told| told.pings) + more;
        self.wait("pings", |told| (told.pings >= wanted).then_some(())).await;
    }

    pub fn is_open(&self) -> bool {
        self.look(|told| told.ended.is_none())
    }

    pub fn statuses(&self, id: &str) -> Vec<String> {
        self.look(|told| told.statuses(id))
    }

    /// How often the stream was given a remote description.
    pub fn remote_sdps(&self, id: &str) -> usize {
        self.look(|told| told.remote_sdps(id).count())
    }

    /// Those of them that revived a silent client leg: new ICE credentials for the same transport.
    pub fn revivals(&self, id: &str) -> usize {
        self.look(|told| told.remote_sdps(id).filter(|heard| heard.data[2] == false).count())
    }

    /// How often a callback of the session as a whole fired.
    pub fn session_callbacks(&self) -> usize {
        self.look(|told| {
            ["getUserData", "getVersion", "registered", "fail"]
                .iter()
                .map(|name| told.all(name).count())
                .sum()
        })
    }

    /// Waits for this status of a stream.
    pub async fn wait_status(&self, id: &str, status: &str) {
        self.wait(&format!("{status} of {id}"), |told| {
            told.statuses(id).iter().any(|found| found == status).then_some(())
        })
        .await;
    }

    /// Waits for this status of a stream; its info.
    pub async fn status_info(&self, id: &str, status: &str) -> String {
        self.wait(&format!("{status} of {id}"), |told| {
            let event = told
                .all("notifyStreamStatusEvent")
                .find(|event| event["mediaSessionId"] == id && event["status"] == status)?;
            Some(event["info"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    pub fn publish(&self, id: &str, name: &str) {
        self.send("publishStream", stream(id, name, true, "WebRTC", OFFER));
    }

    pub fn play(&self, id: &str, name: &str) {
        self.send("playStream", stream(id, name, false, "WebRTC", OFFER));
    }

    /// Publishes and waits until it runs.
    pub async fn publishing(&self, id: &str, name: &str) {
        self.publish(id, name);
        self.wait_status(id, "PUBLISHING").await;
    }

    /// Plays and waits until it runs.
    pub async fn playing(&self, id: &str, name: &str) {
        self.play(id, name);
        self.wait_status(id, "PLAYING").await;
    }

    pub fn unpublish(&self, id: &str, name: &str) {
        self.send(
            "unPublishStream",
            json!({"mediaSessionId": id, "name": name, "published": true, "hasVideo": true, "hasAudio": true,
                "status": "PUBLISHING", "record": false}),
        );
    }

    pub fn stop(&self, id: &str, name: &str) {
        self.send(
            "stopStream",
            json!({"mediaSessionId": id, "name": name, "published": false, "hasVideo": true, "hasAudio": true,
                "status": "PLAYING", "record": false}),
        );
    }

    pub fn send_data(&self, operation: &str, payload: Value) {
        self.send("sendData", json!({"operationId": operation, "payload": payload}));
    }

    /// How `sendData` was answered, as often as it was.
    pub fn data_statuses(&self, operation: &str) -> Vec<String> {
        self.look(|told| {
            let events = told.all("DataStatusEvent").filter(|event| event["operationId"] == operation);
            events.map(|event| event["status"].as_str().unwrap_or_default().to_owned()).collect()
        })
    }

    /// Waits until requests are answered again: the session stands.
    pub async fn works(&self) {
        for attempt in 0..1_000 {
            let operation = format!("works-{}-{attempt}", rand::random::<u64>());
            self.send_data(&operation, json!({"are you": "there"}));
            let status = self
                .wait("an answer to sendData", |told| {
                    let mut answers = told.all("DataStatusEvent");
                    answers
                        .find(|event| event["operationId"] == operation)
                        .map(|event| event["status"].clone())
                })
                .await;
            if status == "ACCEPTED" {
                return;
            }
            super::let_pass(Duration::from_millis(20)).await;
        }
        panic!("in vain: the session stands: {}", self.summary());
    }

    /// Sends a room command and waits for its answer.
    pub async fn room_command(&self, operation: &str, command: &str, options: Value) -> String {
        self.send_data(operation, json!({"command": command, "options": options}));
        self.wait(&format!("the answer to {command}"), |told| {
            told.all("DataStatusEvent")
                .find(|event| event["operationId"] == operation)
                .map(|event| event["status"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Publishes or plays with a real media client; answers are applied as they come.
    pub async fn start_media(
        &self,
        pool: &ClientPool,
        id: &str,
        name: &str,
        options: ClientOptions,
    ) -> Arc<WebRtcClient> {
        let publish = options.publish;
        let client = Arc::new(pool.client(options).await.unwrap());
        self.media.lock().insert(id.to_owned(), Arc::clone(&client));
        let argument = stream(id, name, publish, "WebRTC", client.offer());
        self.send(if publish { "publishStream" } else { "playStream" }, argument);
        client
    }
}

/// The argument of `publishStream` and `playStream`.
pub fn stream(id: &str, name: &str, publish: bool, provider: &str, sdp: &str) -> Value {
    json!({"mediaSessionId": id, "name": name, "published": publish, "hasVideo": true, "hasAudio": true,
        "status": "PENDING", "record": false, "mediaProvider": provider, "sdp": sdp, "bitrate": 0,
        "minBitrate": 0, "maxBitrate": 0})
}

/// Waits until the numbers of a media client satisfy the condition.
pub async fn media_until(
    client: &WebRtcClient,
    what: &str,
    condition: impl Fn(&ClientStats) -> bool,
) -> ClientStats {
    match client.wait_for(PATIENCE, condition).await {
        Ok(stats) => stats,
        Err(stats) => panic!("in vain: {what}: {stats:#?}"),
    }
}

/// The task behind a page.
struct Life {
    socket: tokio_tungstenite::WebSocketStream<TcpStream>,
    told: Arc<Mutex<Told>>,
    media: Arc<Mutex<HashMap<String, Arc<WebRtcClient>>>>,
    queue: mpsc::Receiver<Order>,
    notify: watch::Sender<u64>,
}

impl Life {
    async fn run(mut self) {
        let ended = loop {
            tokio::select! {
                order = self.queue.recv() => match order {
                    Some(Order::Send(message)) => {
                        if let Err(error) = self.socket.send(message).await {
                            break error.to_string();
                        }
                    }
                    Some(Order::GoSilent) => std::future::pending().await,
                    Some(Order::Close) => {
                        if let Err(error) = self.socket.close(None).await {
                            break error.to_string();
                        }
                    }
                    None => break "dropped".to_owned(),
                },
                message = self.socket.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(end) = self.hear(message).await {
                            break end;
                        }
                    }
                    Some(Err(error)) => break error.to_string(),
                    None => break "the end of the connection".to_owned(),
                },
            }
        };
        self.told.lock().ended = Some(ended);
        self.notify.send_modify(|count| *count += 1);
    }

    async fn hear(&mut self, message: Message) -> Option<String> {
        match message {
            Message::Text(text) => {
                let mut message: Value = serde_json::from_str(&text).unwrap();
                let name = message["message"].as_str().unwrap().to_owned();
                let data = message["data"].take();
                if name == "ping" {
                    self.told.lock().pings += 1;
                    let pong = r#"{"message":"pong","data":[null]}"#;
                    if let Err(error) = self.socket.send(Message::text(pong)).await {
                        return Some(error.to_string());
                    }
                } else {
                    self.apply_answer(&name, &data).await;
                    self.told.lock().messages.push(Heard { name, data, at: Instant::now() });
                }
            }
            Message::Binary(bytes) => self.told.lock().binary.push(bytes.to_vec()),
            Message::Close(frame) => return Some(close_text(frame.as_ref())),
            _ => {}
        }
        self.notify.send_modify(|count| *count += 1);
        None
    }

    async fn apply_answer(&self, name: &str, data: &Value) {
        if name != "setRemoteSDP" {
            return;
        }
        let client = data[0].as_str().and_then(|id| self.media.lock().get(id).cloned());
        if let (Some(client), Some(sdp)) = (client, data[1].as_str()) {
            client.apply_answer(sdp).await.unwrap();
        }
    }
}

fn close_text(frame: Option<&CloseFrame>) -> String {
    frame.map_or_else(|| "closed".to_owned(), |frame| format!("closed {}", u16::from(frame.code)))
}
