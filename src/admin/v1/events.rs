//! `GET /v1/events`: news as they come, as server-sent events.
//!
//! Who may read may listen. A browser's `EventSource` cannot say a token, so a page that has one reads the answer
//! of `fetch` as it comes; the token never stands in an address, where logs and histories would keep it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse as _, Response, Sse, sse},
};
use futures_util::stream;

use super::{
    super::{Desk, feed::News},
    Refused,
};
use crate::local_http::Lasting;

/// How long whoever lost the proxy is asked to wait before it comes again.
const RETRY: Duration = Duration::from_secs(2);

pub(super) async fn events(State(desk): State<Arc<Desk>>) -> Result<Response, Refused> {
    let proxy = desk.proxy()?;
    let listener = desk.feed.listen(&proxy, desk.begun).ok_or_else(|| {
        let why = "there are admin.event_listeners_max listeners already";
        Refused(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    })?;
    let told = stream::unfold(listener.news, async |mut news| {
        let one = news.recv().await?;
        Some((Ok::<_, Infallible>(written(&one)), news))
    });
    let mut response = Sse::new(told).into_response();
    // What stands between must pass on each event as it comes.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.extensions_mut().insert(Lasting(listener.stalled));
    Ok(response)
}

fn written(news: &News) -> sse::Event {
    let event = sse::Event::default().event(news.name).data(&news.data);
    if news.name == "state" { event.retry(RETRY) } else { event }
}
