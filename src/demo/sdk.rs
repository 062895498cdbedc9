//! The vendor's SDK for the demo's page, from a directory in which its npm package is. It belongs to
//! its vendor: it is served to the page from where it lies, and never copied.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// The file that the page loads.
const MAIN_FILE: &str = "flashphoner-webrtc-only.js";
/// Largest file that is served, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Where it is looked for when nobody says where it is.
const USUAL_PLACES: &[&str] =
    &["node_modules/@flashphoner/websdk", "tests/browser/node_modules/@flashphoner/websdk"];

/// The package's directory.
#[derive(Clone, Debug)]
pub(super) struct Sdk {
    /// Canonical: without links in it.
    root: PathBuf,
}

impl Sdk {
    /// The package in `directory`.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let sdk = Self { root: directory.canonicalize().map_err(|error| missing(directory, &error))? };
        sdk.file(MAIN_FILE).map_err(|error| missing(&directory.join(MAIN_FILE), &error))?;
        Ok(sdk)
    }

    /// The package where it usually is, if it is there.
    pub(super) fn find() -> Option<Self> {
        USUAL_PLACES.iter().find_map(|place| Self::open(Path::new(place)).ok())
    }

    /// A script of the package's top directory.
    ///
    /// # Errors
    /// The name is none of a script there, or it cannot be read.
    pub(super) fn file(&self, name: &str) -> io::Result<Vec<u8>> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // No separator and no `..`: nothing above the directory can be named.
        if !name.bytes().all(plain) || name.contains("..") || !name.ends_with(".js") {
            return Err(io::ErrorKind::NotFound.into());
        }
        // A link may still lead out of it.
        let path = self.root.join(name).canonicalize()?;
        if path.parent() != Some(&*self.root) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }
}

fn missing(path: &Path, error: &io::Error) -> io::Error {
    let text = format!("no SDK (npm package @flashphoner/websdk): {}: {error}", path.display());
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nothing_but_the_scripts_of_the_directory_is_served() {
        let place = Place(std::env::temp_dir().join(format!("holdfast-sdk-{}", std::process::id())));
        let package = place.0.join("websdk");
        fs::create_dir_all(package.join("directory.js")).unwrap();
        fs::write(place.0.join("secret.js"), "secret").unwrap();
        fs::write(package.join("package.json"), "{}").unwrap();
        let error = Sdk::open(&package).unwrap_err().to_string();
        assert!(error.contains("@flashphoner/websdk") && error.contains(MAIN_FILE), "{error}");
        fs::write(package.join(MAIN_FILE), "the SDK").unwrap();
        std::os::unix::fs::symlink(place.0.join("secret.js"), package.join("link.js")).unwrap();
        fs::File::create(package.join("large.js")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();

        let sdk = Sdk::open(&package).unwrap();
        assert_eq!(sdk.file(MAIN_FILE).unwrap(), b"the SDK");
        for name in [
            "",
            "..",
            "../secret.js",
            "..%2fsecret.js",
            "/etc/passwd",
            "link.js",
            "package.json",
            "none.js",
            "directory.js",
            "large.js",
            "directory.js/../../secret.js",
            "secret\0.js",
        ] {
            assert!(sdk.file(name).is_err(), "{name:?}");
        }
    }
}
