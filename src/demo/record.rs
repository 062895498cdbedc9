//! A recording of what the sessions of the demo are told and decide, from the first to the last.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::DemoError;
use crate::{
    net::{Proxy, RecordBounds, RecordOrder, Recorded},
    recording::Line,
};

/// The demo ends long before.
const TIME_MAX: Duration = Duration::from_secs(600);
const BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) struct Recording {
    proxy: Arc<Proxy>,
    id: u64,
}

/// All clients of the demo are on this machine.
pub(super) fn begin(proxy: &Arc<Proxy>) -> Result<Recording, DemoError> {
    let recorded = Recorded::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let order = RecordOrder { recorded, time_max: TIME_MAX, bytes_max: BYTES_MAX, is_anonymous: false };
    let bounds = RecordBounds { count_max: 1, bytes_max: BYTES_MAX };
    let status = proxy.record(order, bounds).map_err(|refused| DemoError::Record(refused.to_string()))?;
    Ok(Recording { proxy: Arc::clone(proxy), id: status.id })
}

impl Recording {
    /// All lines; there are no sessions any more.
    pub(super) async fn end(self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(more) = self.proxy.recorded_lines(self.id, lines.len(), Duration::ZERO).await {
            if more.lines.is_empty() {
                break;
            }
            lines.extend(more.lines);
        }
        let _ = self.proxy.forget_recording(self.id);
        let end = Line::End { reason: "the demo is over".to_owned() };
        lines.extend(serde_json::to_string(&end));
        lines
    }
}
