//! The stream of a client: it publishes, or plays what the publisher of its group publishes.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Scenario,
    client::Client,
    counters::{add, take},
    error::ClientEnd,
    incoming::Arguments,
    messages,
    webrtc_client::WebRtcClient,
};

/// How long a client waits before it starts again what was reported FAILED, at most: pages with
/// restart code do not come back all in the same instant.
const RESTART_SPREAD: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    Asked,
    Running,
    Stopping,
}

/// Where the stream of a client stands.
pub(super) struct Stream {
    pub(super) publishes: bool,
    pub(super) group: usize,
    /// When it is to be started.
    pub(super) start_at: Option<Instant>,
    /// A player whose publisher is not there.
    pub(super) waits: bool,
    state: State,
    asked_at: Instant,
    failed_at: Option<Instant>,
    tries: u32,
    media: Option<Arc<WebRtcClient>>,
}

impl Stream {
    pub(super) fn new(publishes: bool, group: usize) -> Self {
        Self {
            publishes,
            group,
            start_at: None,
            waits: false,
            state: State::None,
            asked_at: Instant::now(),
            failed_at: None,
            tries: 0,
            media: None,
        }
    }

    pub(super) fn publisher_is_there(&mut self) {
        self.waits = false;
        self.start_at = Some(Instant::now());
    }
}

impl Client {
    pub(super) async fn start_stream(&mut self) -> Result<(), ClientEnd> {
        let run = Arc::clone(&self.run);
        let publishes = self.stream.publishes;
        let published = run.published.get(self.stream.group).is_none_or(|published| *published.borrow());
        if !publishes && !published {
            self.stream.waits = true;
            return Ok(());
        }
        self.stream.tries += 1;
        self.stream.asked_at = Instant::now();
        self.stream.state = State::Asked;
        let media = match &run.media {
            None => None,
            Some(all) => Some(all.client(self.number, publishes).await?),
        };
        let id = messages::stream_id(self.number, self.stream.tries);
        let name = messages::stream_name(self.stream.group);
        let offer = media.as_ref().map_or(messages::OFFER, |media| media.offer());
        let request = messages::stream(publishes, &id, &name, offer);
        self.stream.media = media;
        self.send(request).await
    }

    pub(super) async fn stop_stream(&mut self) -> Result<(), ClientEnd> {
        if self.stream.state != State::Running {
            return Ok(());
        }
        self.stream.state = State::Stopping;
        take(&self.run.counters.running);
        let id = messages::stream_id(self.number, self.stream.tries);
        let name = messages::stream_name(self.stream.group);
        self.send(messages::unpublish(&id, &name)).await
    }

    /// The socket is gone, and the stream with it.
    pub(super) fn stream_lost(&mut self) {
        if self.stream.state == State::Running {
            take(&self.run.counters.running);
        }
        self.end_stream();
    }

    /// The media that a `setRemoteSDP` is for, if it is ours.
    pub(super) fn awaits_description(&self, arguments: &Arguments) -> Option<Arc<WebRtcClient>> {
        let mine = messages::stream_id(self.number, self.stream.tries);
        self.stream.media.clone().filter(|_| arguments.text(0) == Some(&mine))
    }

    pub(super) fn stream_status(&mut self, arguments: &Arguments) {
        let mine = messages::stream_id(self.number, self.stream.tries);
        if arguments.field("mediaSessionId") != Some(&mine) {
            return;
        }
        match arguments.field("status") {
            Some("PUBLISHING" | "PLAYING") if self.stream.state == State::Asked => self.stream_runs(),
            Some("FAILED") => self.stream_failed(),
            Some("UNPUBLISHED") => {
                self.end_stream();
                self.stream.start_at = Some(Instant::now());
            }
            _ => {}
        }
    }

    fn stream_runs(&mut self) {
        let counters = &self.run.counters;
        self.stream.state = State::Running;
        add(&counters.running);
        let took = self.stream.asked_at.elapsed();
        if self.stream.publishes {
            add(&counters.publishing);
            counters.publish.record(took);
            self.tell_players(true);
        } else {
            add(&counters.playing);
            counters.play.record(took);
        }
        if let Some(failed) = self.stream.failed_at.take() {
            add(&counters.back);
            counters.restore.record(failed.elapsed());
            if let Some(listening) = self.run.outage.borrow().listening {
                counters.stream_restored.record(listening.elapsed());
            }
        }
        self.plan_next_cycle();
    }

    fn plan_next_cycle(&mut self) {
        let settings = &self.run.settings;
        if settings.scenario == Scenario::Publish && settings.rate_per_s > 0.0 {
            self.next_turn = Some(self.next_turn.unwrap_or_else(Instant::now) + self.period());
        }
    }

    fn stream_failed(&mut self) {
        let counters = &self.run.counters;
        let now = Instant::now();
        if self.stream.state == State::Running {
            add(&counters.reported);
            take(&counters.running);
            self.stream.failed_at = Some(now);
        } else {
            add(&counters.refused);
        }
        self.end_stream();
        if self.run.settings.scenario == Scenario::Storm {
            let share = (self.number % 997) as f64 / 997.0;
            self.stream.start_at = Some(now + RESTART_SPREAD.mul_f64(share));
        }
    }

    fn end_stream(&mut self) {
        self.stream.state = State::None;
        if self.stream.publishes {
            self.tell_players(false);
        }
        self.stream.media = None;
        if let Some(media) = &self.run.media {
            media.leave(self.number);
        }
    }

    fn tell_players(&self, is_published: bool) {
        if let Some(published) = self.run.published.get(self.stream.group) {
            published.send_replace(is_published);
        }
    }
}
