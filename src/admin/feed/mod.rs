//! News of a running proxy for whoever listens: what changes, when it does, and figures once a second.
//!
//! One task looks, for all listeners, and only while there is one. Nothing waits for a listener: whoever falls
//! behind hears how much it missed and gets the present state anew, and whoever takes nothing at all is let go.

mod listener;
mod look;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::net::Proxy;

use look::Look;

/// News that wait for the slowest listener.
const NEWS_MAX: usize = 64;
/// How often is looked whether something changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often figures are told.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// To count streams each session is asked: where there are many, not every second.
const SESSIONS_PER_SECOND_MAX: usize = 5_000;

/// Something that is told, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// What it is.
    pub(super) name: &'static str,
    /// All of it, in JSON.
    pub(super) data: Arc<str>,
}

impl News {
    fn new(name: &'static str, data: &impl Serialize) -> Self {
        // What is told are plain figures and names.
        let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
        Self { name, data: data.into() }
    }
}

/// Where the news come from.
#[derive(Debug)]
pub(super) struct Feed {
    news: broadcast::Sender<News>,
    places: Arc<Semaphore>,
    /// Somebody looks.
    is_looked: Mutex<bool>,
}

/// One who listens.
#[derive(Debug)]
pub(super) struct Listener {
    /// What it is to be told.
    pub(super) news: mpsc::Receiver<News>,
    /// Cancelled when it took nothing for too long.
    pub(super) stalled: CancellationToken,
}

impl Feed {
    /// For so many listeners at once.
    pub(super) fn new(listeners_max: usize) -> Arc<Self> {
        Arc::new(Self {
            news: broadcast::Sender::new(NEWS_MAX),
            places: Arc::new(Semaphore::new(listeners_max)),
            is_looked: Mutex::new(false),
        })
    }

    /// One more listener, who hears the present state first; none: there are enough.
    pub(super) fn listen(self: &Arc<Self>, proxy: &Arc<Proxy>, begun: Instant) -> Option<Listener> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let present = {
            let proxy = Arc::downgrade(proxy);
            move || Some(look::state(&*proxy.upgrade()?, begun))
        };
        let listener = self.attach(place, present);
        let mut is_looked = self.is_looked.lock();
        if !std::mem::replace(&mut *is_looked, true) {
            tokio::spawn(watch(Arc::clone(self), Arc::downgrade(proxy)));
        }
        drop(is_looked);
        Some(listener)
    }

    fn attach(
        &self,
        place: OwnedSemaphorePermit,
        present: impl Fn() -> Option<News> + Send + 'static,
    ) -> Listener {
        // One waits to be written, all others wait here, within their bound.
        let (told, news) = mpsc::channel(1);
        let stalled = CancellationToken::new();
        let told = listener::Mouth { told, stalled: stalled.clone(), _place: place };
        tokio::spawn(listener::run(self.news.subscribe(), told, present));
        Listener { news, stalled }
    }

    /// Whether nobody listens any more; then nobody looks either.
    fn is_over(&self) -> bool {
        let mut is_looked = self.is_looked.lock();
        let is_over = self.news.receiver_count() == 0;
        if is_over {
            *is_looked = false;
        }
        is_over
    }

    fn tell(&self, news: News) {
        // Nobody listens: there is nobody to tell.
        let _ = self.news.send(news);
    }
}

/// Looks until nobody listens, or the proxy is gone.
async fn watch(feed: Arc<Feed>, proxy: Weak<Proxy>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Look> = None;
    let mut sampled: Option<Instant> = None;
    let mut streams = (Instant::now(), None);
    while !feed.is_over() {
        looks.tick().await;
        let Some(proxy) = proxy.upgrade() else {
            *feed.is_looked.lock() = false;
            return;
        };
        let now = Look::of(&proxy);
        if let Some(before) = &before {
            now.since(before).into_iter().for_each(|news| feed.tell(news));
        }
        before = Some(now);
        if sampled.is_some_and(|at| at.elapsed() < SAMPLE_INTERVAL) {
            continue;
        }
        // From the moment that was due, so that looking takes nothing from the pace.
        sampled = Some(
            sampled
                .map_or_else(Instant::now, |at| (at + SAMPLE_INTERVAL).max(Instant::now() - LOOK_INTERVAL)),
        );
        let pause = Duration::from_secs((proxy.facts().sessions / SESSIONS_PER_SECOND_MAX) as u64);
        let counted = match streams {
            (at, Some(counted)) if at.elapsed() < pause => counted,
            _ => {
                streams.0 = Instant::now();
                proxy.count_streams().await
            }
        };
        streams.1 = Some(counted.clone());
        feed.tell(News::new("sample", &proxy.sample(counted)));
    }
}

#[cfg(test)]
mod tests;
