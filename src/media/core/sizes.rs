//! What is kept, counted for the simulation: each with its size and the bound that holds for it.

use super::*;

impl Core {
    /// Names, sizes and bounds of all that grows with what peers do.
    pub(crate) fn sizes(&self, promised: &MediaSettings) -> Vec<(&'static str, usize, usize)> {
        let mut sizes = vec![
            ("events between calls", self.tables.events.len(), 0),
            ("further sockets and connections", self.tables.upstreams.len(), promised.upstream_sockets_max),
            ("last words", self.kept.last_words.len(), 0),
        ];
        for stream in self.streams.values() {
            stream.sizes(promised, &mut sizes);
        }
        sizes
    }

    /// What is left of streams that are closed.
    pub(crate) fn left(&self) -> Vec<&'static str> {
        let tables = [
            ("streams", self.streams.is_empty()),
            ("streams counted", self.kept.streams.load(Ordering::Relaxed) == 0),
            ("routes of clients", self.tables.clients.is_empty()),
            ("routes of upstreams", self.tables.upstreams.is_empty()),
        ];
        tables.into_iter().filter(|(_, is_empty)| !is_empty).map(|(what, _)| what).collect()
    }
}
