//! `/v1/nodes`: the nodes, and what an operator wishes of them.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};

use super::{
    super::{Desk, access::Allowed},
    Answer, Refused, read,
};
use crate::{
    net::{DRAIN_RATE, DrainOrder, DrainStatus, NodeStatus, Proxy},
    session::NodeId,
    telemetry::events,
};

/// The nodes of all pools.
#[derive(Debug, Serialize)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

/// A node, and the drain of it that runs or ran.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Node {
    #[serde(flatten)]
    pub(in crate::admin) status: NodeStatus,
    pub(in crate::admin) drain: Option<DrainStatus>,
}

impl Node {
    pub(in crate::admin) fn all(proxy: &Proxy) -> Vec<Self> {
        proxy.nodes().into_iter().map(|status| with_drain(proxy, status)).collect()
    }
}

/// How a node is to be emptied. All of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Drain {
    /// Sessions per second.
    rate: Option<u32>,
    /// After so long those that cannot move unseen are restored elsewhere as after an outage.
    force_after_ms: Option<u64>,
    /// Also if no other node of its pool is up.
    force: bool,
}

impl Drain {
    fn order(&self, then_maintenance: bool) -> Result<DrainOrder, Refused> {
        let rate = self.rate.unwrap_or(DRAIN_RATE);
        if rate == 0 || rate > 100_000 {
            return Err(Refused::bad_request("rate: expected sessions per second, 1 to 100000"));
        }
        let force_after = self.force_after_ms.map(Duration::from_millis);
        Ok(DrainOrder { rate, force_after, then_maintenance, is_forced: self.force })
    }
}

pub(super) async fn all(State(desk): State<Arc<Desk>>) -> Answer<Nodes> {
    Ok(Json(Nodes { nodes: Node::all(&*desk.proxy()?) }))
}

pub(super) async fn one(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Answer<Node> {
    let proxy = desk.proxy()?;
    find(&proxy, &name).map(|status| Json(with_drain(&proxy, status)))
}

pub(super) async fn drain(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Extension(allowed): Extension<Allowed>,
    body: Bytes,
) -> Result<(StatusCode, Json<DrainStatus>), Refused> {
    empty(&desk, &name, allowed, &body, false)
}

pub(super) async fn maintenance(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Extension(allowed): Extension<Allowed>,
    body: Bytes,
) -> Result<(StatusCode, Json<DrainStatus>), Refused> {
    empty(&desk, &name, allowed, &body, true)
}

fn empty(
    desk: &Desk,
    name: &str,
    allowed: Allowed,
    body: &[u8],
    then_maintenance: bool,
) -> Result<(StatusCode, Json<DrainStatus>), Refused> {
    let order = read::<Drain>(body)?.order(then_maintenance)?;
    let proxy = desk.proxy()?;
    let node = find(&proxy, name)?.id;
    let action = if then_maintenance { "maintenance" } else { "drain" };
    let begun = proxy.drain(node, order).map_err(|refused| {
        Refused::conflict(format!("{name}: {refused}; with force it is done all the same"))
    });
    events::admin_action(action, name, &allowed, begun.is_ok());
    begun.map(|status| (StatusCode::ACCEPTED, Json(status)))
}

pub(super) async fn undrain(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    Extension(allowed): Extension<Allowed>,
) -> Answer<Node> {
    let proxy = desk.proxy()?;
    let node = find(&proxy, &name)?.id;
    let done = proxy.undrain(node).map_err(|refused| Refused::conflict(format!("{name}: {refused}")));
    events::admin_action("undrain", &name, &allowed, done.is_ok());
    done?;
    find(&proxy, &name).map(|status| Json(with_drain(&proxy, status)))
}

pub(super) async fn drain_status(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
) -> Answer<DrainStatus> {
    let proxy = desk.proxy()?;
    let node = find(&proxy, &name)?.id;
    let status = proxy.drain_status(node);
    status.map(Json).ok_or_else(|| Refused::not_found(format!("{name} was not drained of late")))
}

/// How sessions are to be evened out. All of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rebalance {
    /// Sessions per second.
    rate: Option<u32>,
}

/// The nodes that have more than their share, and are being relieved.
#[derive(Debug, Serialize)]
pub(super) struct Relieved {
    relieved: Vec<DrainStatus>,
}

pub(super) async fn rebalance(
    State(desk): State<Arc<Desk>>,
    Extension(allowed): Extension<Allowed>,
    body: Bytes,
) -> Result<(StatusCode, Json<Relieved>), Refused> {
    let rate = Drain { rate: read::<Rebalance>(&body)?.rate, ..Drain::default() }.order(false)?.rate;
    let relieved = desk.proxy()?.rebalance(rate);
    events::admin_action("rebalance", "", &allowed, true);
    Ok((StatusCode::ACCEPTED, Json(Relieved { relieved })))
}

pub(super) fn find(proxy: &Proxy, name: &str) -> Result<NodeStatus, Refused> {
    let nodes = proxy.nodes();
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let unknown = || Refused::not_found(format!("there is no node `{name}`; there is {}", names.join(", ")));
    nodes.iter().find(|node| node.name == name).cloned().ok_or_else(unknown)
}

fn with_drain(proxy: &Proxy, status: NodeStatus) -> Node {
    let id: NodeId = status.id;
    Node { drain: proxy.drain_status(id), status }
}
