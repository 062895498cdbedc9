//! What session cores order: which stream it is for, and what it does about it.

use super::*;

impl Core {
    /// Carries out an order.
    pub(crate) fn order(&mut self, order: Order, now: Instant) {
        self.kept.tally.orders += 1;
        let key = order.key();
        match order {
            Order::Command(command) => self.command(command, now),
            Order::Break(key, Fault::Step) => {
                self.with(key, now, |_, _| std::panic::resume_unwind(Box::new(Fault::Step)));
            }
            Order::Break(_, Fault::Worker) => std::panic::resume_unwind(Box::new(Fault::Worker)),
        }
        touch(&mut self.touched, key);
    }

    fn command(&mut self, command: MediaCommand<Client>, now: Instant) {
        match command {
            MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264, client } => {
                self.open(Opening { key, kind, epoch, client_offer, refuse_h264, client }, now);
            }
            MediaCommand::Attach { key, epoch, narrow, refuse_h264, beside } => {
                let attach = if beside { Stream::attach_beside } else { Stream::attach };
                self.with(key, now, |s, ctx| attach(s, epoch, narrow, refuse_h264, ctx));
            }
            MediaCommand::UpstreamAnswer { key, epoch, sdp } => {
                self.with(key, now, |s, ctx| s.upstream_answer(epoch, sdp, ctx));
            }
            MediaCommand::LetGo { key } => self.with(key, now, Stream::let_go),
            MediaCommand::Return { key } => self.with(key, now, Stream::come_back),
            MediaCommand::Detach { key } => self.with(key, now, Stream::detach),
            MediaCommand::Muted { key, video } => self.with(key, now, |s, ctx| s.mute(video, ctx.now)),
            MediaCommand::Revive { key } => self.with(key, now, Stream::revive),
            MediaCommand::Close { key } => self.close(key, now),
        }
    }

    pub(super) fn with(
        &mut self,
        key: StreamKey,
        now: Instant,
        act: impl FnOnce(&mut Stream, &mut Context<'_>),
    ) {
        let (mut streams, mut context) = self.context(now);
        streams.step(key, &mut context, act);
    }

    fn open(&mut self, opening: Opening, now: Instant) {
        let key = opening.key;
        if self.streams.contains_key(&key) {
            return;
        }
        let has_room = self.kept.streams.fetch_add(1, Ordering::Relaxed) < self.kept.settings.streams_max;
        let facts = opening.client.facts.clone();
        let (streams, mut context) = self.context(now);
        match caught(|| Stream::open(opening, has_room, &mut context)) {
            Ok(Some(stream)) => {
                context.tally.streams_opened += 1;
                streams.by_key.insert(key, stream);
            }
            Ok(None) => {
                self.kept.streams.fetch_sub(1, Ordering::Relaxed);
            }
            Err(panicked) => {
                self.told(key, &panicked, now);
                self.kept.lament(Reporter::new(key, facts), panicked.to_string());
            }
        }
    }

    pub(super) fn close(&mut self, key: StreamKey, now: Instant) {
        self.with(key, now, Stream::close);
        self.bury(now);
        self.remove(key);
    }
}
