//! One listener: what it is told, in which order, and when it is let go. Knows nothing of what is told.

use std::time::Duration;

use serde_json::json;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::News;

/// How long a listener may take nothing before it is let go.
pub(super) const STALLED_MAX: Duration = Duration::from_secs(15);

/// What is told to it.
pub(super) struct Mouth {
    pub(super) told: mpsc::Sender<News>,
    pub(super) stalled: CancellationToken,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Mouth {
    /// False: it has gone, or is let go.
    async fn tell(&self, news: News) -> bool {
        match timeout(STALLED_MAX, self.told.send(news)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.stalled.cancel();
                false
            }
        }
    }
}

/// Tells a listener the present state, then the news, until it goes. None: there is no state any more.
pub(super) async fn run(
    mut news: broadcast::Receiver<News>,
    listener: Mouth,
    present: impl Fn() -> Option<News>,
) {
    let mut missed = 0;
    loop {
        if missed > 0 && !listener.tell(News::new("lagged", &json!({ "missed": missed }))).await {
            return;
        }
        let Some(state) = present() else { return };
        if !listener.tell(state).await {
            return;
        }
        missed = loop {
            let next = tokio::select! {
                next = news.recv() => next,
                () = listener.told.closed() => return,
            };
            match next {
                Ok(one) => {
                    if !listener.tell(one).await {
                        return;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    // What is still there is older than the state that it gets now.
                    news = news.resubscribe();
                    break missed;
                }
                Err(RecvError::Closed) => return,
            }
        };
    }
}
