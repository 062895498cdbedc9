//! Whether a file is another one than it was, without reading it: whoever renews files writes in place, renames or
//! sets a link elsewhere, and all of that shows.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// What tells one content of a file from another: its place, its length and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMark {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileMark {
    /// Of the file at the end of all links; none if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            length: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}
