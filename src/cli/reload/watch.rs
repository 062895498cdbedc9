//! Whether a file is another one than it was: looked at by its name every so often, so that an editor that writes
//! beside it and renames, and a symbolic link that is set elsewhere, are seen as well as what is written in place.
//! What is in the files is read by others.

use std::{path::PathBuf, time::Duration};

use tokio::time::sleep;

use crate::file_mark::FileMark;

/// What files were when they were read last.
#[derive(Debug)]
pub(in crate::cli) struct Watch {
    files: Vec<(PathBuf, Option<FileMark>)>,
}

impl Watch {
    /// Of these files, as they are now.
    pub(in crate::cli) fn new(files: &[PathBuf]) -> Self {
        Self { files: files.iter().map(|path| (path.clone(), FileMark::of(path))).collect() }
    }

    /// They are read from now on: what they were before is of no interest.
    pub(super) fn take(&mut self) {
        self.files.iter_mut().for_each(|(path, known)| *known = FileMark::of(path));
    }

    /// Looks at these files from now on. What was changed while they were read is another one still.
    pub(super) fn look_at(&mut self, files: &[PathBuf]) {
        let known = std::mem::take(&mut self.files);
        let of = |path: &PathBuf| {
            let known = known.iter().find(|(one, _)| one == path).map(|(_, mark)| *mark);
            (path.clone(), known.unwrap_or_else(|| FileMark::of(path)))
        };
        self.files = files.iter().map(of).collect();
    }

    /// Completes when a file is another one than it was, and was the same twice in a row: somebody may still be
    /// writing. Never without an interval.
    pub(super) async fn changed(&mut self, interval: Option<Duration>) {
        let Some(interval) = interval else { return std::future::pending().await };
        let mut last = None;
        loop {
            sleep(interval).await;
            let now: Vec<Option<FileMark>> = self.files.iter().map(|(path, _)| FileMark::of(path)).collect();
            let is_other = self.files.iter().map(|(_, mark)| mark).ne(now.iter());
            if is_other && last.as_ref() == Some(&now) {
                self.files.iter_mut().zip(now).for_each(|((_, known), now)| *known = now);
                return;
            }
            last = Some(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_renamed_or_linked_elsewhere_is_another_one() {
        let folder = std::env::temp_dir().join(format!("holdfast-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [file, link, one, two] = ["file", "link", "one", "two"].map(|name| folder.join(name));
        for path in [&file, &one, &two] {
            fs::write(path, "a").unwrap();
        }
        symlink(&one, &link).unwrap();
        let mut watch = Watch::new(&[file.clone(), link.clone()]);
        let second = Some(Duration::from_secs(1));
        let is_changed = async |watch: &mut Watch| {
            tokio::time::timeout(Duration::from_secs(10), watch.changed(second)).await.is_ok()
        };
        assert!(!is_changed(&mut watch).await, "it is as it was");
        fs::write(folder.join("new"), "b").unwrap();
        fs::rename(folder.join("new"), &file).unwrap();
        assert!(is_changed(&mut watch).await, "an editor writes beside it");
        symlink(&two, folder.join("link.new")).unwrap();
        fs::rename(folder.join("link.new"), &link).unwrap();
        assert!(is_changed(&mut watch).await, "as a mounted ConfigMap is changed");
        assert!(!is_changed(&mut watch).await, "once each");
        fs::remove_file(&file).unwrap();
        assert!(is_changed(&mut watch).await && !is_changed(&mut watch).await);
        watch.look_at(&[link]);
        fs::write(&file, "c").unwrap();
        assert!(!is_changed(&mut watch).await, "nobody asks for that one any more");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_being_written_is_waited_for() {
        let file = std::env::temp_dir().join(format!("holdfast-watched-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        let mut watch = Watch::new(std::slice::from_ref(&file));
        let (begun, path) = (tokio::time::Instant::now(), file.clone());
        let write = async move {
            for n in 1..=5_u64 {
                fs::write(&path, "x".repeat(usize::try_from(n).unwrap())).unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::join!(write, watch.changed(Some(Duration::from_secs(1))));
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
        fs::remove_file(&file).unwrap();
    }
}
