//! `/v1/sessions`: who is connected, a page at a time, and one of them.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;

use super::{super::Desk, Answer, Refused, nodes};
use crate::{
    net::{Order, PAGE_DEFAULT, PAGE_MAX, SessionLedger, SessionPage, SessionQuery},
    session::SessionId,
};

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// Part of the name of a stream.
    stream: Option<String>,
    /// Address of the client.
    client: Option<IpAddr>,
    /// Name of the node.
    node: Option<String>,
    /// `appKey` of the client.
    app_key: Option<String>,
    /// In an outage, or not.
    outage: Option<bool>,
    /// Which come first.
    order: Order,
    /// The `next` of the page before.
    after: u64,
    /// Most of them.
    limit: Option<usize>,
}

pub(super) async fn all(
    State(desk): State<Arc<Desk>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Answer<SessionPage> {
    let Query(wanted) = wanted.map_err(|error| Refused::bad_request(error.body_text()))?;
    let proxy = desk.proxy()?;
    let node = wanted.node.map(|name| nodes::find(&proxy, &name)).transpose()?.map(|node| node.id);
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(Refused::bad_request(format!("limit: expected 1 to {PAGE_MAX}")));
    }
    let query = SessionQuery {
        stream: wanted.stream,
        client: wanted.client,
        node,
        app_key: wanted.app_key,
        in_outage: wanted.outage,
        order: wanted.order,
        after: wanted.after,
        limit,
    };
    Ok(Json(proxy.find_sessions(&query).await))
}

pub(super) async fn one(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Answer<SessionLedger> {
    let number = id.strip_prefix('s').and_then(|number| number.parse().ok());
    let number = number.ok_or_else(|| Refused::bad_request("expected the id of a session, such as s12"))?;
    let found = desk.proxy()?.ledger(SessionId(number)).await;
    found.map(Json).ok_or_else(|| Refused::not_found(format!("there is no session {id} now")))
}
