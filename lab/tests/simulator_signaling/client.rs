//! A client that speaks the protocol by hand, so that tests can also speak it wrongly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Nothing takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An offer with opus, VP8 and H264.
pub(crate) const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 102\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:102 H264/90000\r\na=sendonly\r\n";

/// The fixed offer of the MSE player.
pub(crate) const MSE_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 112\r\na=rtpmap:112 H264/90000\r\na=fmtp:112 packetization-mode=1; profile-level-id=420020\r\n\
    a=recvonly\r\nm=audio 0 RTP/AVP 108\r\na=rtpmap:108 mpeg4-generic/48000/1\r\na=recvonly\r\n";

/// How a connection ended, seen from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a close frame with this code.
    Closed(Option<u16>),
    /// By TCP, without one.
    Fin,
    /// By a reset.
    Reset,
    /// The server broke the protocol.
    Protocol(String),
}

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    pub(crate) token: String,
    /// Answer pings as the SDK does.
    pub(crate) pongs: bool,
    pub(crate) pings: u32,
}

impl Client {
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        let request = format!("ws://{address}/").into_client_request().unwrap();
        Self::dial_with(address, request).await.unwrap().0
    }

    pub(crate) async fn dial_with(address: SocketAddr, request: Request) -> Result<(Self, Response), Error> {
        let tcp = TcpStream::connect(address).await?;
        let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(4 << 10);
        let (socket, response) =
            tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await?;
        Ok((Self { socket, token: String::new(), pongs: true, pings: 0 }, response))
    }

    /// Dials and establishes a session.
    pub(crate) async fn establish(address: SocketAddr) -> Self {
        Self::establish_as(address, json!({"appKey": "defaultApp"})).await
    }

    pub(crate) async fn establish_as(address: SocketAddr, connection: Value) -> Self {
        let mut client = Self::dial(address).await;
        client.send("connection", connection).await;
        client.established().await;
        client
    }

    pub(crate) async fn established(&mut self) -> Value {
        let user_data = self.wait_for("getUserData").await;
        self.token = user_data["authToken"].as_str().unwrap().to_owned();
        user_data
    }

    pub(crate) async fn send(&mut self, message: &str, argument: Value) {
        self.send_text(json!({"message": message, "data": [argument]}).to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    async fn next(&mut self) -> Result<Message, Ended> {
        match self.socket.next().await {
            Some(Ok(Message::Close(frame))) => Err(Ended::Closed(frame.map(|frame| frame.code.into()))),
            Some(Ok(message)) => Ok(message),
            Some(Err(Error::Io(error))) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                Err(Ended::Reset)
            }
            Some(Err(error)) if error.to_string().contains("without closing handshake") => Err(Ended::Fin),
            Some(Err(error)) => Err(Ended::Protocol(error.to_string())),
            None => Err(Ended::Fin),
        }
    }

    /// The next message that is not a ping, as (name, data).
    pub(crate) async fn message(&mut self) -> Result<(String, Value), Ended> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.next()).await.expect("a message in time")?;
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            let name = message["message"].as_str().unwrap().to_owned();
            if name == "ping" {
                self.pings += 1;
                if self.pongs {
                    self.send("pong", Value::Null).await;
                }
                continue;
            }
            return Ok((name, message["data"].take()));
        }
    }

    /// The first element of the next message of that name; others are skipped.
    pub(crate) async fn wait_for(&mut self, wanted: &str) -> Value {
        self.wait_for_all(wanted).await[0].take()
    }

    /// The `data` of the next message of that name; others are skipped.
    pub(crate) async fn wait_for_all(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) =
                self.message().await.unwrap_or_else(|end| panic!("{end:?} instead of {wanted}"));
            if name == wanted {
                return data;
            }
        }
    }

    pub(crate) async fn wait_for_pings(&mut self, count: u32) {
        let wanted = self.pings + count;
        while self.pings < wanted {
            let message = tokio::time::timeout(PATIENCE, self.next()).await.expect("a ping in time").unwrap();
            if message.to_text().is_ok_and(|text| text.contains("\"ping\"")) {
                self.pings += 1;
                if self.pongs {
                    self.send("pong", Value::Null).await;
                }
            }
        }
    }

    /// The next binary message.
    pub(crate) async fn binary(&mut self) -> Vec<u8> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.next()).await.expect("a record in time");
            if let Message::Binary(bytes) = message.unwrap() {
                return bytes.to_vec();
            }
        }
    }

    /// Reads to the end.
    pub(crate) async fn end(&mut self) -> Ended {
        loop {
            if let Err(end) = self.message().await {
                if matches!(end, Ended::Closed(_)) {
                    // Sends the answer to the close frame.
                    while self.next().await.is_ok() {}
                }
                return end;
            }
        }
    }

    /// What came within this time, or none.
    pub(crate) async fn quiet_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.next()).await.is_err()
    }

    pub(crate) async fn publish(&mut self, id: &str, name: &str) -> Value {
        self.start("publishStream", id, name).await;
        self.status_of(id).await
    }

    pub(crate) async fn play(&mut self, id: &str, name: &str) -> Value {
        self.start("playStream", id, name).await;
        self.status_of(id).await
    }

    /// Asks for a publish or play.
    pub(crate) async fn start(&mut self, verb: &str, id: &str, name: &str) {
        let argument = json!({
            "mediaSessionId": id, "name": name, "published": verb == "publishStream", "hasVideo": true,
            "hasAudio": true, "status": "PENDING", "record": false, "mediaProvider": "WebRTC", "sdp": OFFER,
        });
        self.send(verb, argument).await;
    }

    /// The next status event of a stream.
    pub(crate) async fn status_of(&mut self, id: &str) -> Value {
        loop {
            let event = self.wait_for("notifyStreamStatusEvent").await;
            if event["mediaSessionId"] == id {
                return event;
            }
        }
    }

    pub(crate) async fn stop(&mut self, verb: &str, id: &str, name: &str) {
        let argument = json!({"mediaSessionId": id, "name": name, "published": verb == "unPublishStream"});
        self.send(verb, argument).await;
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while self.next().await.is_ok() {}
    }
}

/// Polls until the condition holds.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
