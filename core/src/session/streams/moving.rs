//! Streams go to another node with their session: asked for there while the node that has them keeps them, and let
//! go there when all are proven, or back as they were (rule R15).

use crate::{
    media::Fact,
    session::{
        MediaCommand, Output,
        context::Context,
        stream::{Standing, Stream},
    },
    settings::SessionSettings,
};

use super::{Streams, table::StreamTable, words::stop};

impl Streams {
    /// Each is asked for at the node that leads now, publishes first (rule R5).
    pub(in crate::session) fn set_out(&mut self, ctx: &mut Context<'_>) {
        for stream in self.table.iter_mut() {
            stream.sets_out();
            if stream.is_moving() {
                ctx.hold_name_for_restore(stream, true);
            }
        }
        for publishes in [true, false] {
            while let Some(stream_id) = self.table.find(|stream| {
                stream.is_moving() && stream.is(Standing::Live) && stream.kind().is_publish() == publishes
            }) {
                self.replay_stream(ctx, stream_id);
                if self.table.get(stream_id).is_some_and(|stream| stream.is(Standing::Live)) {
                    // Nothing asks for it: the time of the move ends that.
                    break;
                }
            }
        }
    }

    /// The move came to nothing: they are as they were.
    pub(in crate::session) fn come_back(&mut self, ctx: &mut Context<'_>) {
        for stream in self.table.iter_mut().filter(|stream| stream.is_left()) {
            if !stream.kind().is_publish() {
                ctx.directory.stop_awaiting_name(stream.name(), ctx.id);
            }
            stream.comes_back();
            if let Some(key) = stream.opened_key() {
                ctx.out.media(MediaCommand::Return { key });
            }
            ctx.hold_name_for_restore(stream, false);
        }
        self.settle_names(ctx);
    }
}

impl StreamTable {
    /// Why they cannot move unseen now.
    pub(in crate::session) fn bound_by(&self, settings: &SessionSettings) -> Option<&'static str> {
        self.iter().find_map(|stream| stream.bound_by(settings.restore.move_effects))
    }

    /// Whether each is proven where it was to go.
    pub(in crate::session) fn have_arrived(&self) -> bool {
        !self.iter().any(Stream::is_moving)
    }

    /// Whether others may still play at the node that is left what is published here.
    pub(in crate::session) fn are_needed_there(&self) -> bool {
        self.publishes().any(Stream::is_left)
    }

    /// The node that was left has them no more: its connection is closed.
    pub(in crate::session) fn let_go(&mut self, ctx: &mut Context<'_>) {
        for stream in self.iter_mut() {
            if stream.take_left().is_some() {
                ctx.let_leg_go(stream);
            }
        }
    }

    /// The node is gone that they were leaving.
    pub(in crate::session) fn lose_left(&mut self, ctx: &mut Context<'_>) {
        for stream in self.iter_mut().filter(|stream| stream.is_left()) {
            stream.loses_left(ctx.now);
            ctx.let_leg_go(stream);
        }
    }
}

impl Context<'_> {
    fn let_leg_go(&mut self, stream: &Stream) {
        if let Some(key) = stream.opened_key() {
            self.out.media(MediaCommand::LetGo { key });
        }
    }

    /// The stream is over for its client: the node that is left is rid of it as well.
    pub(super) fn stop_left(&mut self, stream: &mut Stream) {
        let Some(upstream_id) = stream.take_left() else { return };
        if self.link.is_up() {
            self.out.push(Output::SendLeft(stop(&upstream_id, stream.name(), stream.kind())));
        }
        self.let_leg_go(stream);
    }
}

/// Why a move comes to nothing of which the media workers say this.
pub(in crate::session) fn ends_a_move(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::UpstreamFailed { reason, .. }
        | Fact::OutOfSockets { reason, .. }
        | Fact::Unanchorable { reason }
        | Fact::ClientGone { reason }
        | Fact::Broken { reason } => reason.clone(),
        Fact::CodecChanged { .. } => "the publisher changes its codec".to_owned(),
        Fact::NoVideo { .. } => "the publisher sends no video".to_owned(),
        _ => return None,
    })
}
