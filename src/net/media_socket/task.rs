//! The life of one media socket.

use std::{future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    config::LimitSettings,
    ids::NodeId,
    net::{
        admission::Newcomer,
        closing,
        live::{Note, Place},
        memory::Account,
        shared::Shared,
    },
    session::{Close, Epoch, LossCause, Mail, SessionId},
    upstream::{ClientRequest, DialFailure, Dialed},
    wire::{
        read::End,
        scratch,
        side::{Pace, Side},
        websocket::{Opcode, Role},
    },
};

use super::{
    Start,
    pump::{Bounds, Pump, Stopped},
    routes::MediaRoute,
    token_in, with_token,
};

/// How often a media socket looks whether its client still takes bytes.
const STALL_CHECK: Duration = Duration::from_secs(1);

type DialTask = Pin<Box<dyn Future<Output = Result<Dialed, DialFailure>> + Send>>;

/// A dial under way, and for what.
struct Dialing {
    task: DialTask,
    epoch: Epoch,
    token: Arc<str>,
}

/// One media socket.
pub(super) struct MediaSocket {
    shared: Arc<Shared>,
    id: SessionId,
    request: Arc<ClientRequest>,
    /// The client's first message.
    message: Vec<u8>,
    /// The client's token, if a session of ours has it.
    token: Option<String>,
    session: Option<SessionId>,
    epoch: Epoch,
    pump: Pump,
    dialing: Option<Dialing>,
    /// In an outage: when to give up.
    wait_until: Option<Instant>,
    /// After a failed dial: not before.
    retry_at: Option<Instant>,
    /// The server closed this socket and keeps its session: when the player hears it, and how.
    ends: Option<(Instant, Close)>,
    series: Series,
    /// What held when it began.
    limits: Arc<LimitSettings>,
    /// What it has of its client's address: given back with a token that is ours, or as soon as the server
    /// sends media, which it does for a token of its own only.
    newcomer: Option<Box<Newcomer>>,
    _place: Place,
}

/// Tries to get an upstream in one epoch, since one last stayed.
#[derive(Debug, Default)]
struct Series {
    epoch: Epoch,
    failures: u32,
    connected_at: Option<Instant>,
}

impl Series {
    /// One more has failed. A connection that stayed for long enough was a success, and ends the
    /// series.
    fn failed(&mut self, stable_after: Duration) {
        let stayed = self.connected_at.take().is_some_and(|since| since.elapsed() >= stable_after);
        self.failures = if stayed { 0 } else { self.failures.saturating_add(1) };
    }
}

/// What happened.
enum Happened {
    Stopped(Stopped),
    RouteChanged,
    Dialed(Result<Dialed, DialFailure>),
    RetryDue,
    EndDue,
    WaitOver,
    StallCheck,
    Shutdown,
}

impl MediaSocket {
    pub(super) fn new(shared: &Arc<Shared>, start: Start, message: &[u8]) -> Self {
        let Start { client, upstream, node, request, id, place, newcomer } = start;
        let limits = shared.limits.load_full();
        let bounds = Bounds {
            message_bytes_max: limits.message_bytes_max,
            client_buffer_bytes_max: limits.client_buffer_bytes_max,
            upstream_buffer_bytes_max: limits.upstream_buffer_bytes_max,
        };
        let mut socket = Self {
            shared: Arc::clone(shared),
            id,
            request,
            message: message.to_vec(),
            token: None,
            session: None,
            epoch: Epoch(0),
            pump: Pump::new(client, bounds, Account::new(Arc::clone(&shared.memory)), shared.clock.now()),
            dialing: None,
            wait_until: None,
            retry_at: None,
            ends: None,
            series: Series::default(),
            limits,
            newcomer,
            _place: place,
        };
        socket.begin(upstream, node);
        socket
    }

    /// Takes the upstream that is there if it is the right one.
    fn begin(&mut self, upstream: Option<Side>, node: NodeId) {
        // A message too large to keep cannot be presented again, whosever token is in it.
        let fits = self.message.len() <= self.shared.session_settings.load().bounds.stream_bytes_max;
        let token = if fits { token_in(&self.message) } else { None };
        let known = token.and_then(|token| Some((self.shared.media_routes.get(&token)?, token)));
        let Some((route, token)) = known else {
            // Not a token of ours: whoever gave it to the client will know it.
            tracing::info!(session = %self.id, "media socket with an unknown token");
            self.pump.upstream = upstream;
            let message = std::mem::take(&mut self.message);
            self.present(&message);
            return;
        };
        tracing::info!(session = %self.id, of = %route.session, "media socket");
        self.token = Some(token);
        self.newcomer = None;
        self.session = Some(route.session);
        let here = self.shared.live.mailbox(route.session).is_some_and(|mailbox| mailbox.node() == node);
        match (route.upstream_token, upstream) {
            (Some(token), Some(upstream)) if here => {
                self.epoch = route.epoch;
                self.pump.upstream = Some(upstream);
                self.series = Series { epoch: route.epoch, failures: 0, connected_at: Some(Instant::now()) };
                let message = with_token(&self.message, &token);
                self.present(&message);
            }
            (_, upstream) => self.drop_upstream(upstream),
        }
    }

    fn present(&mut self, message: &[u8]) {
        if let Some(upstream) = &mut self.pump.upstream {
            upstream.queue_message(Opcode::Text, message);
        }
    }

    fn drop_upstream(&self, upstream: Option<Side>) {
        if let Some(upstream) = upstream {
            closing::close(&self.shared, upstream, Close::NoCode);
        }
    }

    fn route(&self) -> Option<MediaRoute> {
        self.shared.media_routes.get(self.token.as_deref()?)
    }

    /// Runs until the client, the session or the patience ends.
    pub(super) async fn run(mut self) {
        loop {
            // The route is asked for before waiting for its change: no change is missed.
            let route = self.route();
            if self.token.is_some() {
                match &route {
                    Some(route) => self.follow(route),
                    // Its session has ended, by itself or because the process does.
                    None => {
                        let code = if self.shared.leaving.is_closing() { 1012 } else { 1000 };
                        return self.finish(Close::Code(code), Close::NoCode);
                    }
                }
            }
            let changed = route.map(|route| route.changed);
            let happened = self.next(changed.as_deref()).await;
            if let Some((client, upstream)) = self.handle(happened) {
                return self.finish(client, upstream);
            }
        }
    }

    /// Makes sure that a dial is under way when the session stands where this socket does not.
    fn follow(&mut self, route: &MediaRoute) {
        self.session = Some(route.session);
        let Some(token) = &route.upstream_token else {
            // The session is lost as well: then the server meant no end of the stream.
            self.dialing = None;
            self.ends = None;
            return self.wait();
        };
        if self.series.epoch != route.epoch {
            self.series = Series { epoch: route.epoch, ..Series::default() };
            (self.ends, self.retry_at) = (None, None);
        }
        let connected = self.pump.upstream.is_some() && self.epoch == route.epoch;
        let on_the_way = self.dialing.as_ref().is_some_and(|dialing| dialing.epoch == route.epoch);
        let too_early = self.retry_at.is_some_and(|at| Instant::now() < at);
        if connected || on_the_way || too_early || self.ends.is_some() {
            return;
        }
        self.wait();
        self.retry_at = None;
        let mailbox = self.shared.live.mailbox(route.session);
        let place = mailbox.map_or((NodeId::default(), None), |mailbox| (mailbox.node(), mailbox.address()));
        let (pool, request) = (Arc::clone(&self.shared.pool), Arc::clone(&self.request));
        let task = Box::pin(async move { pool.dial_node(place, &request).await });
        self.dialing = Some(Dialing { task, epoch: route.epoch, token: Arc::clone(token) });
    }

    /// Starts the clock of an outage, unless it runs already or there is none.
    fn wait(&mut self) {
        if self.pump.upstream.is_none() && self.wait_until.is_none() {
            self.wait_until = Instant::now().checked_add(self.limits.media_socket_wait);
        }
    }

    async fn next(&mut self, changed: Option<&Notify>) -> Happened {
        let changed = changed.map(Notify::notified);
        tokio::pin!(changed);
        if let Some(changed) = changed.as_mut().as_pin_mut() {
            changed.enable();
        }
        // Between asking for the route and `enable` it may have changed.
        if self.token.is_some() && self.route_differs() {
            return Happened::RouteChanged;
        }
        let clock = self.shared.clock;
        let pump = &mut self.pump;
        let dialing = &mut self.dialing;
        let wait_until = self.wait_until;
        let retry_at = self.retry_at;
        let ends_at = self.ends.map(|(at, _)| at);
        tokio::select! {
            biased;
            () = self.shared.stopping.cancelled() => Happened::Shutdown,
            stopped = poll_fn(|cx| scratch::with(|scratch| pump.poll(cx, scratch, clock.now()))) => {
                Happened::Stopped(stopped)
            }
            () = async { match changed.as_pin_mut() {
                Some(changed) => changed.await,
                None => std::future::pending().await,
            } } => Happened::RouteChanged,
            result = async { match dialing {
                Some(dialing) => dialing.task.as_mut().await,
                None => std::future::pending().await,
            } } => Happened::Dialed(result),
            () = at(retry_at) => Happened::RetryDue,
            () = at(ends_at) => Happened::EndDue,
            () = at(wait_until) => Happened::WaitOver,
            () = sleep(STALL_CHECK) => Happened::StallCheck,
        }
    }

    fn route_differs(&self) -> bool {
        let expected = self.dialing.as_ref().map_or(self.epoch, |dialing| dialing.epoch);
        match self.route() {
            None => true,
            Some(route) => {
                route.epoch != expected
                    && route.upstream_token.is_some()
                    && self.retry_at.is_none()
                    && self.ends.is_none()
            }
        }
    }

    /// `Some`: the end, and how to close the client and the upstream.
    fn handle(&mut self, happened: Happened) -> Option<(Close, Close)> {
        match happened {
            Happened::Stopped(Stopped::Client(end)) => Some(self.client_ended(end)),
            Happened::Stopped(Stopped::Upstream(end)) => self.upstream_ended(end),
            Happened::Stopped(Stopped::Memory) => {
                tracing::warn!(session = %self.id, "memory is full; a media socket is closed");
                Some((Close::Code(1009), Close::NoCode))
            }
            Happened::Stopped(Stopped::Flows) => {
                self.newcomer = None;
                self.report_flow();
                None
            }
            Happened::Dialed(Ok(dialed)) => {
                self.take_over(dialed);
                None
            }
            Happened::Dialed(Err(failure)) => {
                tracing::info!(session = %self.id, %failure, "media socket: upstream dial failed");
                self.dialing = None;
                self.try_again(Close::Code(1001))
            }
            Happened::RouteChanged => None,
            Happened::RetryDue => {
                self.retry_at = None;
                None
            }
            Happened::EndDue => self.ends.take().map(|(_, close)| (close, Close::NoCode)),
            Happened::WaitOver => {
                tracing::warn!(session = %self.id, "media socket: no upstream in time");
                Some((Close::Code(1001), Close::NoCode))
            }
            Happened::StallCheck => self.check_stall(),
            Happened::Shutdown => Some((Close::Code(1012), Close::NoCode)),
        }
    }

    fn client_ended(&mut self, end: End) -> (Close, Close) {
        let answer = end.answer();
        match end {
            End::Closed(_, reason) => {
                self.pump.parting = reason;
                (answer, answer)
            }
            End::Broke(error) => {
                tracing::warn!(session = %self.id, %error, "the player broke the WebSocket protocol");
                (answer, Close::Code(1001))
            }
            End::Dropped | End::Reset => (answer, Close::NoCode),
        }
    }

    fn upstream_ended(&mut self, end: End) -> Option<(Close, Close)> {
        if let Some(upstream) = self.pump.upstream.take() {
            closing::close(&self.shared, upstream, end.answer());
        }
        let cause = end.loss();
        match end {
            End::Closed(_, reason) => self.pump.parting = reason,
            End::Broke(error) => {
                tracing::warn!(session = %self.id, %error, "the upstream broke the WebSocket protocol");
            }
            End::Dropped | End::Reset => {}
        }
        self.upstream_lost(cause)
    }

    fn upstream_lost(&mut self, cause: LossCause) -> Option<(Close, Close)> {
        self.pump.upstream = None;
        let code = cause.as_close();
        if self.token.is_none() {
            return Some((code, Close::Abort));
        }
        tracing::info!(session = %self.id, ?cause, "media socket: upstream lost");
        self.wait();
        let close = if let LossCause::Closed(_) = cause { code } else { Close::Code(1001) };
        if means_an_end(cause) {
            // Unless the session is lost in the next moment, the stream is over.
            let at = Instant::now().checked_add(self.shared.session_settings.load().restore.burst_hold);
            self.ends = at.map(|at| (at, close));
            return None;
        }
        self.try_again(close)
    }

    /// Waits for the next try, unless there were enough of them: then the player hears how the last one
    /// ended.
    fn try_again(&mut self, close: Close) -> Option<(Close, Close)> {
        let settings = self.shared.session_settings.load();
        let restore = &settings.restore;
        self.series.failed(restore.stable_after);
        let tries_max = self.limits.media_socket_tries_max;
        if self.series.failures > tries_max {
            tracing::warn!(session = %self.id, tries = tries_max, "media socket: no upstream stays");
            return Some((close, Close::NoCode));
        }
        let doublings = self.series.failures.saturating_sub(1).min(16);
        let most = restore.backoff_initial.saturating_mul(2_u32.saturating_pow(doublings));
        let wait = most.min(restore.backoff_max).mul_f64(rand::random::<f64>());
        self.retry_at = Instant::now().checked_add(wait);
        None
    }

    fn take_over(&mut self, dialed: Dialed) {
        let Some(dialing) = self.dialing.take() else { return };
        let old = self.pump.change_upstream(Side::new(dialed.socket, Role::Server, &dialed.leftover));
        self.drop_upstream(old);
        self.epoch = dialing.epoch;
        self.wait_until = None;
        self.retry_at = None;
        self.series.connected_at = Some(Instant::now());
        let message = with_token(&self.message, &dialing.token);
        self.present(&message);
        tracing::info!(session = %self.id, epoch = self.epoch.0, "media socket: upstream connected");
    }

    fn report_flow(&self) {
        if let Some(session) = self.session
            && let Some(mailbox) = self.shared.live.mailbox(session)
        {
            mailbox.post(Note::Mail(Mail::MediaSocketFlows(self.epoch)));
        }
    }

    fn check_stall(&mut self) -> Option<(Close, Close)> {
        let limits = &self.limits;
        let (pace, idle) = (Pace::new(limits), limits.passthrough_idle_timeout);
        let now = self.shared.clock.now();
        if self.pump.client.is_too_slow(pace, now) {
            tracing::warn!(session = %self.id, "the player takes too few bytes; dropped");
            return Some((Close::Abort, Close::NoCode));
        }
        if self.pump.upstream.as_mut().is_some_and(|upstream| upstream.is_too_slow(pace, now)) {
            return self.upstream_lost(LossCause::Stalled);
        }
        // One of a session of ours ends with it.
        let alone = self.token.is_none() && !idle.is_zero();
        (alone && now.since(self.pump.heard_at) >= idle).then_some((Close::Code(1001), Close::Code(1001)))
    }

    fn finish(self, client: Close, upstream: Close) {
        let Self { shared, pump, id, newcomer, .. } = self;
        tracing::info!(session = %id, "media socket ended");
        let Pump { client: player, upstream: server, parting, .. } = pump;
        let part = |mut side: Side, close| {
            if close != Close::Abort && !parting.is_empty() {
                side.queue_close_with(close, &parting);
            }
            side
        };
        closing::close_holding(&shared, part(player, client), client, newcomer);
        if let Some(server) = server {
            closing::close(&shared, part(server, upstream), upstream);
        }
    }
}

/// Whether a server that ends a media socket like this means the stream, not itself: a close frame that
/// does not say that it is going away.
const fn means_an_end(cause: LossCause) -> bool {
    matches!(cause, LossCause::Closed(code) if !matches!(code, 1001 | 1006 | 1011..=1014))
}

/// Completes at this moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
