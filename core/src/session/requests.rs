//! Requests of the client that wait for an answer, and would wait for ever if their server died. Keeps
//! them and says what the answer is that comes too late; when that is, is for others.

use crate::signaling::synthetic;

/// What a request is told whose server died with it (protocol S4.2).
const INFO: &str = "Session not ready";

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// `sendData` by operation id.
    Data(Box<str>),
    /// `sendData` that leaves a room: operation id and room.
    Leave(Box<str>, Box<str>),
    /// `availableStream` by the client's stream id.
    Available(Box<str>),
    /// `snapshot` by the client's stream id.
    Snapshot(Box<str>),
    /// `hangup` by call id.
    Hangup(Box<str>),
}

impl Pending {
    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let ids = match self {
            Self::Leave(operation, room) => operation.len() + room.len(),
            Self::Data(id) | Self::Available(id) | Self::Snapshot(id) | Self::Hangup(id) => id.len(),
        };
        size_of::<Self>() + ids
    }

    /// The longest id in it.
    pub(super) fn longest(&self) -> &str {
        match self {
            Self::Leave(operation, room) if room.len() > operation.len() => room,
            Self::Leave(id, _)
            | Self::Data(id)
            | Self::Available(id)
            | Self::Snapshot(id)
            | Self::Hangup(id) => id,
        }
    }

    /// The answer where none will come, in the shape the SDK needs to settle it (protocol S4.2).
    pub(super) fn lost_answer(&self) -> Vec<u8> {
        match self {
            Self::Data(operation) => synthetic::data_status(operation, Err(INFO)),
            // The client cleans up either way.
            Self::Leave(operation, _) => synthetic::data_status(operation, Ok(())),
            Self::Available(id) => synthetic::available_stream(id, false, INFO),
            Self::Snapshot(id) => synthetic::snapshot_failed(id, INFO),
            Self::Hangup(id) => synthetic::call_finished(id, "FINISH"),
        }
    }
}

/// All requests of a session that wait.
#[derive(Debug, Default)]
pub(super) struct Requests(Vec<Pending>);

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// It goes upstream and waits for its answer.
    pub(super) fn note(&mut self, pending: Pending) {
        self.0.push(pending);
    }

    /// Takes the first request equal to `wanted`; false if there is none.
    pub(super) fn settle(&mut self, wanted: &Pending) -> bool {
        let found = self.0.iter().position(|pending| pending == wanted);
        if let Some(place) = found {
            self.0.swap_remove(place);
        }
        found.is_some()
    }

    /// Takes the `sendData` of this operation.
    pub(super) fn settle_data(&mut self, operation: &str) {
        self.0.retain(
            |pending| !matches!(pending, Pending::Data(id) | Pending::Leave(id, _) if **id == *operation),
        );
    }

    /// Takes the questions about a stream that nobody will answer: those that are to be answered here.
    pub(super) fn take_questions(&mut self, client_id: &str) -> Vec<Pending> {
        let mut owed = Vec::new();
        let available = Pending::Available(client_id.into());
        if self.settle(&available) {
            // One answer settles all questions whether it is available (protocol S2.4).
            while self.settle(&available) {}
            owed.push(available);
        }
        let snapshot = Pending::Snapshot(client_id.into());
        while self.settle(&snapshot) {
            owed.push(snapshot.clone());
        }
        owed
    }

    /// All of them, in order.
    pub(super) fn take_all(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.0)
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Pending::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(all: &[Pending]) -> Requests {
        Requests(all.to_vec())
    }

    #[test]
    fn an_answer_settles_one_request_and_the_data_of_an_operation() {
        let (snapshot, leave) = (Pending::Snapshot("a".into()), Pending::Leave("o".into(), "room".into()));
        let mut waiting = requests(&[snapshot.clone(), snapshot.clone(), leave]);
        assert!(waiting.settle(&snapshot));
        assert_eq!(waiting.len(), 2);
        assert!(!waiting.settle(&Pending::Snapshot("b".into())));
        waiting.settle_data("o");
        assert_eq!(waiting.take_all(), [snapshot]);
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn questions_about_a_stream_get_one_answer_or_one_each() {
        let (available, snapshot) = (Pending::Available("a".into()), Pending::Snapshot("a".into()));
        let other = Pending::Available("b".into());
        let all = [snapshot.clone(), available.clone(), other.clone(), available.clone(), snapshot.clone()];
        let mut waiting = requests(&all);
        assert_eq!(waiting.take_questions("a"), [available, snapshot.clone(), snapshot]);
        assert_eq!(waiting.take_all(), [other]);
    }

    #[test]
    fn every_request_has_an_answer_that_settles_it() {
        let all = [
            (Pending::Data("o".into()), "DataStatusEvent"),
            (Pending::Leave("o".into(), "room".into()), "DataStatusEvent"),
            (Pending::Available("a".into()), "availableStream"),
            (Pending::Snapshot("a".into()), "notifyStreamEvent"),
            (Pending::Hangup("c".into()), "finish"),
        ];
        for (pending, name) in all {
            let answer = String::from_utf8(pending.lost_answer()).unwrap_or_default();
            assert!(answer.contains(&format!("\"message\":\"{name}\"")), "{pending:?}: {answer}");
        }
    }
}
