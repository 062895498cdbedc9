//! The file that a bundle is: a compressed archive that its maker alone may read. It is there under its name only when
//! it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use crate::{cli::Failure, milliseconds::since_1970};

/// Largest text that is put into it; what is longer is cut, and says so.
const ENTRY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// An archive that is being made.
pub(super) struct Archive {
    path: PathBuf,
    part: PathBuf,
    directory: String,
    builder: Builder<GzEncoder<File>>,
    entries: usize,
    is_finished: bool,
}

impl Archive {
    /// For this file; what is in it is in this directory.
    ///
    /// # Errors
    /// There is such a file and it is not to be replaced, or it cannot be written.
    pub(super) fn create(path: &Path, directory: &str, replace: bool) -> Result<Self, Failure> {
        if !replace && super::exists(path) {
            return Err(Failure::Unwritable(format!(
                "{} is there already; --force replaces it",
                path.display()
            )));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let _ = fs::remove_file(&part);
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = opened.map_err(|error| unwritable(&part, &error))?;
        let builder = Builder::new(GzEncoder::new(file, Compression::default()));
        Ok(Self {
            path: path.to_owned(),
            part,
            directory: directory.to_owned(),
            builder,
            entries: 0,
            is_finished: false,
        })
    }

    /// # Errors
    /// It cannot be written.
    pub(super) fn add(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let max = text.len().min(ENTRY_BYTES_MAX);
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        let text = match text.get(..end) {
            Some(start) if end < text.len() => &format!("{start}\n(cut: {} bytes in all)\n", text.len()),
            _ => text,
        };
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(since_1970().as_secs());
        let place = format!("{}/{name}", self.directory);
        let added = self.builder.append_data(&mut header, place, text.as_bytes());
        added.map_err(|error| unwritable(&self.part, &error))?;
        self.entries += 1;
        Ok(())
    }

    /// Puts it in its place; how many texts are in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn finish(mut self) -> Result<usize, Failure> {
        let written = self.builder.finish().and_then(|()| self.builder.get_mut().try_finish());
        let written = written.and_then(|()| fs::rename(&self.part, &self.path));
        written.map_err(|error| unwritable(&self.path, &error))?;
        self.is_finished = true;
        Ok(self.entries)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        if !self.is_finished {
            // Half of it is of no use to anybody.
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Unwritable(format!("cannot write {}: {error}", path.display()))
}
