//! What a node tells operators and balancers (protocol S14): the page of figures and the agent.

use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use super::Probe;

/// What a page or an agent may take.
const TIME_MAX: Duration = Duration::from_secs(3);
/// What is read of a page, in bytes.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// What is read of an agent, in bytes.
const LINE_BYTES_MAX: usize = 1_024;
/// Figures that Holdfast makes use of.
const FIGURES: [&str; 4] =
    ["connections_websocket", "streams_webrtc_in", "streams_webrtc_out", "wcs_version"];

/// Looks at what was named.
pub(super) async fn ask(probe: &Probe) {
    if let Some(url) = &probe.settings.stat {
        match timeout(probe.limit(TIME_MAX), page(url)).await {
            Ok(Ok(text)) => figures(probe, &text),
            Ok(Err(why)) => probe.findings.see_with("stat_page", "no_page", why),
            Err(_) => probe.findings.see_with("stat_page", "silent", "no answer in time"),
        }
    }
    if let Some(address) = &probe.settings.agent {
        match timeout(probe.limit(TIME_MAX), line(address)).await {
            Ok(Ok(text)) => agent(probe, &text),
            Ok(Err(error)) => probe.findings.see_with("agent", "no_agent", error.to_string()),
            Err(_) => probe.findings.see_with("agent", "silent", "no line in time"),
        }
    }
}

async fn page(url: &Uri) -> Result<String, String> {
    let host = url.host().ok_or("the URL has no host")?;
    let port = url.port_u16().unwrap_or(80);
    if url.scheme_str() != Some("http") {
        return Err("expected http://HOST:PORT/?action=stat".to_owned());
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|e| text(&e))?;
    let connection = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connection.map_err(|error| text(&error))?;
    let serving = tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| text(&error))?).await;
    let answer = answer.map_err(|error| text(&error))?;
    if !answer.status().is_success() {
        return Err(format!("HTTP {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
    serving.abort();
    Ok(String::from_utf8_lossy(&body.map_err(|error| text(&error))?.to_bytes()).into_owned())
}

fn figures(probe: &Probe, text: &str) {
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim()).collect();
    if names.is_empty() {
        return probe.findings.see_with("stat_page", "other", "a page without figures");
    }
    let missing: Vec<&str> = FIGURES.into_iter().filter(|figure| !names.contains(figure)).collect();
    if missing.is_empty() {
        probe.findings.see_with("stat_page", "figures", format!("{} figures", names.len()));
    } else {
        probe.findings.see_with("stat_page", "some_figures", format!("without {}", missing.join(", ")));
    }
}

async fn line(address: &str) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut text = Vec::new();
    stream.take(LINE_BYTES_MAX as u64).read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn agent(probe: &Probe, text: &str) {
    let known = ["up", "down", "fail", "stopped", "ready", "drain", "maint"];
    let words = text.split('#').next().unwrap_or_default();
    let mut words = words.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let understood = words.any(|word| {
        known.contains(&word) || word.strip_suffix('%').is_some_and(|n| n.parse::<u32>().is_ok())
    });
    probe.findings.see_with("agent", if understood { "answers" } else { "other" }, text);
}
