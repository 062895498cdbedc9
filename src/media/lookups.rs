//! Looks names up on threads of their own: a worker never waits for a name server.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use super::resolve::LOOKUPS_MAX;

/// A name and its addresses.
type Answer = (Arc<str>, Vec<IpAddr>);

/// The lookups of one worker. Whoever asks keeps to [`LOOKUPS_MAX`] at once.
#[derive(Debug)]
pub(crate) struct Lookups {
    sender: SyncSender<Answer>,
    answers: Receiver<Answer>,
}

impl Default for Lookups {
    fn default() -> Self {
        // Each lookup sends once, and counts as running until that is read: nobody ever waits here.
        let (sender, answers) = sync_channel(LOOKUPS_MAX);
        Self { sender, answers }
    }
}

impl Lookups {
    /// Starts a lookup. It is answered by [`Self::answer`], with no address if there is none.
    pub(crate) fn start(&self, name: Arc<str>) {
        let (sender, told) = (self.sender.clone(), name.clone());
        let work = move || {
            let addresses = ask_system(&told);
            // A worker that has ended waits for nothing.
            let _ = sender.send((told, addresses));
        };
        if std::thread::Builder::new().name("media-names".to_owned()).spawn(work).is_err() {
            let _ = self.sender.send((name, Vec::new()));
        }
    }

    /// An answer that has come. Never waits.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

fn ask_system(name: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for found in (name, 0).to_socket_addrs().into_iter().flatten() {
        let ip = found.ip().to_canonical();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_system_is_asked() {
        let (lookups, started) = (Lookups::default(), Instant::now());
        lookups.start("localhost".into());
        let (name, addresses) = loop {
            if let Some(answer) = lookups.answer() {
                break answer;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "no answer came");
            std::thread::yield_now();
        };
        assert_eq!(&*name, "localhost");
        assert!(addresses.iter().all(IpAddr::is_loopback) && !addresses.is_empty());
    }
}
