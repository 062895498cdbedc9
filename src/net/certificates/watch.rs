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

use super::{Certificates, Shown, clients::RevocationLists};

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
    /// When the end of a file was told, since 1970; apart whether it was over.
    told: HashMap<(PathBuf, &'static str, bool), Duration>,
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

/// How long before its end a list is told that clients are refused without: when nine tenths of its time are over, so that
/// those that are replaced in time are never told, however long they live.
fn ahead_of(lists: &RevocationLists) -> i64 {
    let lives = lists.from.zip(lists.until).map_or(0, |(from, until)| until - from);
    (lives / 10).clamp(0, TOLD_AHEAD.as_secs().cast_signed())
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
        self.told.retain(|(_, kind, _), _| *kind == Ending::Certificate.as_str());
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
            let Some(staple) = one.staple(now.as_secs()) else { continue };
            if let Some(why) = staple.trouble {
                let tell = || events::staple_unusable(&staple.file.display(), why, staple.is_shown);
                self.tell((staple.file, Ending::Staple, !staple.is_shown), now, tell);
            } else {
                let until = staple.until.and_then(|until| i64::try_from(until).ok());
                ends.extend(until.map(|at| (staple.file, Ending::Staple, at)));
            }
        }
        let lists = shown.clients.as_ref().and_then(|clients| clients.lists.as_ref());
        if let Some((lists, at)) = lists.and_then(|lists| Some((lists, lists.until?))) {
            let kind = Ending::Revocations { refuses: lists.refuses_when_ended };
            ends.push((lists.file.as_path(), kind, at));
        }
        for (file, kind, at) in ends {
            let left = at - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let ahead = match kind {
                Ending::Certificate => TOLD_AHEAD.as_secs().cast_signed(),
                Ending::Revocations { refuses: true } => lists.map_or(0, ahead_of),
                // These live for days and are replaced in time: only what is over is worth a line.
                Ending::Staple | Ending::Revocations { refuses: false } => 0,
            };
            if left < ahead {
                let tell = || events::certificate_ends(&file.display(), kind, at, left);
                self.tell((file, kind, left <= 0), now, tell);
            }
        }
        self.told.retain(|_, told| now.saturating_sub(*told) < TOLD_EVERY);
    }

    fn tell(&mut self, (file, kind, is_over): (&Path, Ending, bool), now: Duration, tell: impl FnOnce()) {
        let told = self.told.entry((file.to_owned(), kind.as_str(), is_over)).or_insert(Duration::ZERO);
        if now.saturating_sub(*told) >= TOLD_EVERY {
            *told = now;
            tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_in_the_last_tenth_of_its_time() {
        let day = 86_400;
        let ahead = |days: i64| {
            let lists = RevocationLists {
                file: PathBuf::new(),
                from: Some(day),
                until: Some(day + days * day),
                refuses_when_ended: true,
            };
            ahead_of(&lists)
        };
        assert_eq!((ahead(7), ahead(30), ahead(1_000)), (7 * day / 10, 3 * day, 14 * day));
        assert_eq!(ahead(-7), 0, "it ends before it began");
    }
}
