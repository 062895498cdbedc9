//! Looking at the files again: certificates are renewed without anybody saying so, and what ends soon is told.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    config::ListenSettings,
    file_mark::FileMark,
    milliseconds::since_1970,
    telemetry::events::{self, Ending},
};

use super::{Certificates, Shown};

/// A file that changed is read when it has not changed any more for so long (or for the time between two looks, if
/// that is shorter).
const SETTLED: Duration = Duration::from_secs(1);
/// How often ends are looked at where files are not.
const ENDS_EVERY: Duration = Duration::from_secs(60);
/// An end that is so near is told, so often.
const TOLD_AHEAD: Duration = Duration::from_secs(14 * 86_400);
const TOLD_EVERY: Duration = Duration::from_secs(86_400);

/// Of all files, in the order of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<FileMark>>);

impl Stamps {
    pub(super) fn of(listen: &ListenSettings) -> Self {
        let certificates = listen.all_certificates();
        let files = certificates.iter().flat_map(|one| [Some(&one.cert), Some(&one.key), one.ocsp.as_ref()]);
        let clients = [listen.client_ca.as_ref(), listen.client_crl.as_ref()];
        Self(files.chain(clients).flatten().map(|path| FileMark::of(path)).collect())
    }
}

/// What was seen and told.
#[derive(Debug, Default)]
struct Watcher {
    /// Files that have changed, as they were at the look before.
    pending: Option<Stamps>,
    /// The state whose troubles were there at the look before, and whether they were told.
    troubled: Option<(Stamps, bool)>,
    /// When the end of a file was told, since 1970.
    told: HashMap<(PathBuf, &'static str), Duration>,
}

/// Looks at the files until the proxy shuts down.
pub(in crate::net) async fn watch(certificates: Arc<Certificates>, stopping: CancellationToken) {
    let mut watcher = Watcher::default();
    loop {
        let (of_look, mut looking) = (Arc::clone(&certificates), watcher);
        // Files may be on a disk that hangs.
        let look = tokio::task::spawn_blocking(move || {
            let pause = looking.look(&of_look);
            (looking, pause)
        });
        let Ok((looked, pause)) = look.await else { return };
        watcher = looked;
        tokio::select! {
            () = sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}

impl Watcher {
    /// One look; when the next one is due.
    fn look(&mut self, certificates: &Certificates) -> Duration {
        let Some(shown) = certificates.shown.load_full() else { return ENDS_EVERY };
        self.tell_ends(&shown, since_1970());
        let period = shown.listen.tls_watch;
        if period.is_zero() {
            return ENDS_EVERY;
        }
        let seen = Stamps::of(&shown.listen);
        if seen == shown.stamps {
            self.pending = None;
            self.tell_troubles(&shown);
            return period;
        }
        if self.pending.as_ref() != Some(&seen) {
            self.pending = Some(seen);
            return period.min(SETTLED);
        }
        self.pending = None;
        // What is wrong with another file is another line.
        self.told.retain(|(_, kind), _| *kind != Ending::Staple.as_str());
        if let Some(changes) = certificates.refresh(&shown, seen)
            && !changes.is_empty()
        {
            events::certificates_changed(&changes);
        }
        period
    }

    /// Tells what cannot be used, once it is so for longer than it takes to write the other file of a pair.
    fn tell_troubles(&mut self, shown: &Shown) {
        if shown.troubles.is_empty() {
            self.troubled = None;
            return;
        }
        match &mut self.troubled {
            Some((stamps, is_told)) if *stamps == shown.stamps => {
                if !std::mem::replace(is_told, true) {
                    for trouble in &shown.troubles {
                        events::certificate_unusable(&trouble.file.display(), &trouble.why);
                    }
                }
            }
            _ => self.troubled = Some((shown.stamps.clone(), false)),
        }
    }

    /// Tells what has ended or will soon, once a day.
    fn tell_ends(&mut self, shown: &Shown, now: Duration) {
        let mut ends = Vec::new();
        for one in &shown.identities {
            ends.extend(one.ends().map(|at| (one.file(), Ending::Certificate, at)));
            if let Some(file) = one.staple_file() {
                match one.staple() {
                    Some(Ok(until)) => {
                        let until = until.and_then(|until| i64::try_from(until).ok());
                        ends.extend(until.map(|at| (file.as_path(), Ending::Staple, at)));
                    }
                    Some(Err(why)) => {
                        self.tell(file, Ending::Staple, now, || events::staple_unusable(&file.display(), why))
                    }
                    None => {}
                }
            }
        }
        let lists = shown.clients.as_ref().and_then(|clients| clients.lists_until);
        ends.extend(
            shown.listen.client_crl.as_deref().zip(lists).map(|(file, at)| (file, Ending::Revocations, at)),
        );
        for (file, kind, at) in ends {
            let left = at - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            // Answers and lists live for days and are replaced in time: only what is over is worth a line.
            let ahead = if kind == Ending::Certificate { TOLD_AHEAD.as_secs().cast_signed() } else { 0 };
            if left < ahead {
                self.tell(file, kind, now, || events::certificate_ends(&file.display(), kind, at, left));
            }
        }
        self.told.retain(|_, told| now.saturating_sub(*told) < TOLD_EVERY);
    }

    fn tell(&mut self, file: &Path, kind: Ending, now: Duration, tell: impl FnOnce()) {
        let told = self.told.entry((file.to_owned(), kind.as_str())).or_insert(Duration::ZERO);
        if now.saturating_sub(*told) >= TOLD_EVERY {
            *told = now;
            tell();
        }
    }
}
