//! `/metrics`: what a running proxy counts and is, in the text format of Prometheus.
//!
//! Reads what is counted elsewhere (`telemetry::counts`) and what there is already (`net::View`), at the time of
//! the scrape; decides nothing and keeps nothing. All names, with unit and meaning, are in `docs/metrics.md`,
//! which a test compares with a scrape. Labels are closed sets and names of the configuration: no name of a
//! stream, no address and nothing else that a peer chooses, so that a scrape is as long as the configuration
//! makes it.

mod clients;
mod http;
mod media;
mod nodes;
mod outages;
mod page;
mod process;
mod reload;
mod room;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text},
    registry::Registry,
};

use crate::net::{Proxy, View};

use page::Page;

/// The media type of a scrape.
pub(crate) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What is told of one moment.
#[derive(Debug)]
struct Scrape {
    view: View,
    tasks: usize,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page::new(encoder);
        process::write(page, self.tasks)?;
        reload::write(page, &self.view)?;
        room::write(page, &self.view)?;
        clients::write(page, &self.view)?;
        http::write(page, &self.view)?;
        nodes::write(page, &self.view)?;
        outages::write(page, &self.view)?;
        media::write(page, &self.view)
    }
}

/// A scrape of this proxy.
///
/// # Errors
/// A number has no text; none of ours has not.
pub(crate) async fn scrape(proxy: &Proxy) -> Result<String, fmt::Error> {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut registry = Registry::with_prefix("holdfast");
    registry.register_collector(Box::new(Scrape { view: View::of(proxy).await, tasks }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}
