//! A check by HTTP: the node's page of figures (protocol S14.1), read within bounds.

use std::time::Instant;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

/// Most of a page that is read, in bytes; a longer one is no page of figures.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// What a node says of its load; what it does not say is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Connections of signaling, whoever they come from.
    pub connections: Option<f64>,
    /// Streams that are published.
    pub streams_in: Option<f64>,
    /// Streams that are played.
    pub streams_out: Option<f64>,
    /// Load average of its machine.
    pub load_average: Option<f64>,
}

impl Figures {
    /// Reads lines of `name=value`; others are passed over.
    pub(super) fn read(page: &str) -> Self {
        let mut figures = Self::default();
        for line in page.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let figure = match name.trim() {
                "connections" => &mut figures.connections,
                "streams_webrtc_in" => &mut figures.streams_in,
                "streams_webrtc_out" => &mut figures.streams_out,
                "system_load_average" | "core_load_average" => &mut figures.load_average,
                _ => continue,
            };
            *figure = value.trim().parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
        }
        figures
    }
}

/// Figures, and when they were heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) figures: Figures,
    pub(crate) at: Instant,
    /// Sessions of ours that were there then.
    pub(crate) sessions: usize,
}

/// Asks for the page; the figures in it, if there are any.
///
/// # Errors
/// There is no such page, or it cannot be read.
pub(super) async fn get(stream: TcpStream, authority: &str, path: &str) -> Result<Figures, String> {
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "holdfast-probe")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let ask = async {
        let answer = sender.send_request(request).await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("it answers with status {}", answer.status().as_u16()));
        }
        let page = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
        let page = page.map_err(|error| format!("its page cannot be read: {error}"))?.to_bytes();
        Ok(Figures::read(&String::from_utf8_lossy(&page)))
    };
    tokio::pin!(ask);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        result = &mut ask => result,
        // The answer may have come with the end.
        _ = &mut connection => ask.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_where_they_are_figures() {
        let page = "-----Connections Stats-----\nconnections=7\nconnections_websocket=7\nstreams_webrtc_in = 2 \n\
                    streams_webrtc_out=many\nsystem_load_average=-1\nx\n=\n";
        let expected = Figures { connections: Some(7.0), streams_in: Some(2.0), ..Figures::default() };
        assert_eq!(Figures::read(page), expected);
        assert_eq!(Figures::read("connections=inf"), Figures::default());
    }
}
