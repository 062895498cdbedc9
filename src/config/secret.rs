//! Secrets that stand in files: read within a bound, and told if everybody may read them too.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Largest file that is read for one value.
pub(crate) const SECRET_BYTES_MAX: u64 = 65_536;

/// The text of a file, without the newline at its end.
///
/// # Errors
/// It cannot be read, is too large, or is no text.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One more byte tells that there are more; a device or a pipe has no size to ask for.
    let read = File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {SECRET_BYTES_MAX} bytes")));
    }
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}

/// What to say of a file with a secret that every user of the machine may read.
pub(crate) fn open_to_all(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let path = path.display();
        format!("{path} holds a secret and is open to every user of the machine: chmod o= {path}")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn newlines_at_the_end_are_no_part_of_it_and_size_is_bounded() {
        let path = std::env::temp_dir().join(format!("holdfast-secret-{}", std::process::id()));
        fs::write(&path, "  a secret \r\n\n").unwrap();
        assert_eq!(read(&path).unwrap(), "  a secret ");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(open_to_all(&path), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(open_to_all(&path).is_some_and(|text| text.contains("chmod o= ")));
        fs::write(&path, vec![b'x'; 65_536]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 65_536);
        fs::write(&path, vec![b'x'; 65_537]).unwrap();
        assert!(read(&path).is_err());
        fs::remove_file(&path).unwrap();
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
