//! Where lines end up: stderr, or a file that can be opened anew. Only the thread of a queue comes here; it may wait
//! for as long as the other end does.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::{Access, access};

/// The pause before the next try where the other end does not block and takes nothing.
const RETRY: Duration = Duration::from_millis(10);

/// What takes whole lines.
pub(super) trait Sink: Send {
    /// Takes lines, each with its newline.
    ///
    /// # Errors
    /// They are lost, at least in part.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;

    /// What was moved away is left, and its name opened again.
    ///
    /// # Errors
    /// It cannot be opened; what was open stays so.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Anything that is written to byte by byte.
pub(super) struct Stream<W>(pub(super) W);

impl<W: Write + Send> Sink for Stream<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        write_patiently(&mut self.0, lines).1
    }
}

/// A file that lines are put behind.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// The last line in it has no end.
    is_torn: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)?, is_torn: false })
    }
}

/// Whether lines could be put behind this file, or it could be made; makes nothing.
pub(super) fn may_write(path: &Path) -> io::Result<()> {
    if path.exists() {
        return OpenOptions::new().append(true).open(path).map(drop);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            write_patiently(&mut self.file, b"\n").1?;
            self.is_torn = false;
        }
        let (written, result) = write_patiently(&mut self.file, lines);
        if result.is_err() {
            self.is_torn =
                written.checked_sub(1).and_then(|last| lines.get(last)).is_some_and(|byte| *byte != b'\n');
        }
        result
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.is_torn = false;
        Ok(())
    }
}

/// Writes all of it, however long that takes; stderr may have been set not to block by its other users. How much was
/// written, whatever came of it.
fn write_patiently(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(RETRY),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_reads_in_pieces_gets_all_and_a_dead_one_is_an_error() {
        struct Pieces(Vec<u8>, usize);
        impl Write for Pieces {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 += 1;
                match self.1 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    2 => Err(io::ErrorKind::WouldBlock.into()),
                    9 => Err(io::ErrorKind::BrokenPipe.into()),
                    _ => {
                        self.0.push(bytes[0]);
                        Ok(1)
                    }
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut pieces = Pieces(Vec::new(), 0);
        write_patiently(&mut pieces, b"line\n").1.unwrap();
        assert_eq!(pieces.0, b"line\n");
        let (written, result) = write_patiently(&mut pieces, b"more");
        assert_eq!((written, result.is_err()), (1, true));
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew_and_kept_if_it_cannot_be() {
        let directory = std::env::temp_dir().join(format!("holdfast-sink-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (path, old) = (directory.join("a.log"), directory.join("a.log.1"));
        fs::write(&path, "before\n").unwrap();
        let mut file = LogFile::open(&path).unwrap();
        file.write(b"one\n").unwrap();
        fs::rename(&path, &old).unwrap();
        file.write(b"two\n").unwrap();
        file.reopen().unwrap();
        file.write(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(file.reopen().is_err());
        file.write(b"four\n").unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn whether_a_file_could_be_written_is_found_out_without_one() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("holdfast-may-{}", std::process::id()));
        may_write(&path).unwrap();
        assert!(!path.exists());
        assert!(may_write(&path.join("below")).is_err() && may_write(&directory).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error_and_what_follows_begins_a_line() {
        let mut full = LogFile::open(Path::new("/dev/full")).unwrap();
        assert_eq!(full.write(b"line\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        let path = std::env::temp_dir().join(format!("holdfast-torn-{}", std::process::id()));
        let mut torn = LogFile::open(&path).unwrap();
        torn.file.write_all(b"half a li").unwrap();
        torn.is_torn = true;
        torn.write(b"whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a li\nwhole\n");
        fs::remove_file(&path).unwrap();
    }
}
