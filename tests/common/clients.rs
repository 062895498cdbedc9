//! Clients of the load generator that stay until they are told to go.

use holdfast::load::{self, LoadSettings, Progress, Summary};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// How long they may take to come to what is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Clients that are there.
pub struct Clients {
    stop: watch::Sender<bool>,
    task: JoinHandle<Summary>,
    progress: watch::Receiver<Option<Progress>>,
}

impl Clients {
    /// They come.
    pub fn start(settings: LoadSettings) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (told, progress) = watch::channel(None);
        let task = tokio::spawn(async move {
            let tell = move |progress: Progress| {
                told.send_replace(Some(progress));
            };
            load::run(settings, stopped, tell).await.unwrap()
        });
        Self { stop, task, progress }
    }

    /// Waits until they are as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Progress) -> bool) {
        let as_wanted = self.progress.wait_for(|now| now.as_ref().is_some_and(&wanted));
        let waited = timeout(PATIENCE, as_wanted).await;
        drop(waited.unwrap_or_else(|_| panic!("in vain waited for {what}")).unwrap());
    }

    /// They go; all that they saw.
    pub async fn end(self) -> Summary {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}
