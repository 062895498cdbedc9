//! What all sessions have together, asked of each of them for a scrape: a session alone knows where its
//! streams stand, and keeps no counter of it anywhere else.
//!
//! A session that is stuck is not waited for longer than a bound, and is told of as one that did not answer.

use std::{convert::Infallible, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::session::Tally;

use super::live::{Live, Note};

/// How long sessions may take to answer.
const COUNT_TIME_MAX: Duration = Duration::from_secs(1);
/// How old a census may be that is told again.
const CENSUS_AGE_MAX: Duration = Duration::from_millis(250);

/// A question to all sessions, and their answers so far.
#[derive(Debug)]
pub(crate) struct Counting {
    census: Arc<Mutex<Census>>,
    /// Gone when everybody has answered, or cannot any more.
    _open: mpsc::Sender<Infallible>,
}

/// All sessions at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    /// What they have.
    pub(crate) tally: Tally,
    /// Sessions that were asked and did not answer in time.
    pub(crate) silent: usize,
}

impl Counting {
    /// What one session has.
    pub(crate) fn answer(&self, tally: &Tally) {
        let mut census = self.census.lock();
        census.tally.add(tally);
        census.silent = census.silent.saturating_sub(1);
    }
}

/// The last census, for those who ask at almost the same time: however many scrape, sessions are asked a few times
/// a second at most.
#[derive(Debug, Default)]
pub(crate) struct Register {
    last: tokio::sync::Mutex<Option<(Instant, Census)>>,
}

impl Register {
    /// What all sessions have, as of a moment ago at most. Who comes while they are being asked waits for that.
    pub(super) async fn read(&self, live: &Live) -> Census {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, census)) if at.elapsed() < CENSUS_AGE_MAX => census.clone(),
            _ => {
                let census = take(live).await;
                *last = Some((Instant::now(), census.clone()));
                census
            }
        }
    }
}

/// Asks all sessions.
async fn take(live: &Live) -> Census {
    let census = Arc::new(Mutex::new(Census::default()));
    let (open, mut closed) = mpsc::channel(1);
    let counting = Arc::new(Counting { census: Arc::clone(&census), _open: open });
    live.post_to_all(|| {
        census.lock().silent += 1;
        Note::Count(Arc::clone(&counting))
    });
    drop(counting);
    if timeout(COUNT_TIME_MAX, closed.recv()).await.is_err() {
        return census.lock().clone();
    }
    // Whoever ended before its turn has nothing.
    Census { silent: 0, ..census.lock().clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{Division, Files, Use},
        net::live::Place,
    };
    use std::net::Ipv4Addr;

    fn place(live: &Arc<Live>) -> Option<Place> {
        let files = Files::new(Division::new(1_024, 0, 0));
        live.take_place(files.take(Use::Session, 2)?, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_does_not_answer_costs_a_second_and_is_told_of() {
        let live = Live::new(2);
        let (stuck, ended) = (place(&live), place(&live));
        let stuck = stuck.as_ref().map(|place| place.register(Ipv4Addr::LOCALHOST.into()));
        drop(ended.as_ref().map(|place| place.register(Ipv4Addr::LOCALHOST.into())));
        let begun = tokio::time::Instant::now();
        assert_eq!(take(&live).await.silent, 1);
        assert_eq!(begun.elapsed().as_secs(), 1);
        drop(stuck);
        assert_eq!(take(&live).await.silent, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_at_once_the_sessions_are_asked_once() {
        let (live, register) = (Live::new(1), Register::default());
        let place = place(&live);
        let session = place.as_ref().map(|place| place.register(Ipv4Addr::LOCALHOST.into()));
        let all = futures_util::future::join_all((0..50).map(|_| register.read(&live))).await;
        assert!(all.iter().all(|census| census.silent == 1));
        let notes = || session.as_ref().map(|one| one.mailbox.take(std::task::Waker::noop()).len());
        assert_eq!(notes(), Some(1), "fifty were answered by one question");
        tokio::time::advance(CENSUS_AGE_MAX).await;
        register.read(&live).await;
        assert_eq!(notes(), Some(1), "and a later one by another");
    }
}
