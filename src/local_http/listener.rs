//! Where requests come in: a TCP port, or a Unix socket whose file says who may.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// From this address.
    Tcp(SocketAddr),
    /// Whoever may open the file.
    Unix,
}

/// A bound port or file. The file goes when it is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Held, because the file goes with it; none where it is somebody else's.
        _file: Option<File>,
    },
}

pub(super) type Stream = Either<TcpStream, UnixStream>;

/// The file of a Unix socket that is ours.
#[derive(Debug)]
pub(crate) struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // Somebody may have removed it; there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// A Unix socket with these permissions. What a process that died left there gives way.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the system refuses.
    pub(crate) fn unix(path: &Path, mode: u32) -> io::Result<Self> {
        remove_stale(path)?;
        // Nobody opens it before it has its permissions: it gets its name afterwards.
        let nameless = path.with_extension(format!("{}.new", std::process::id()));
        remove_stale(&nameless)?;
        let listener = UnixListener::bind(&nameless)?;
        let named = std::fs::set_permissions(&nameless, PermissionsExt::from_mode(mode))
            .and_then(|()| std::fs::rename(&nameless, path));
        if let Err(error) = named {
            drop(File(nameless));
            return Err(error);
        }
        Ok(Self::Unix { listener, _file: Some(File(path.to_owned())) })
    }

    /// A Unix socket that somebody else has opened, whose file stays.
    ///
    /// # Errors
    /// The runtime cannot take it.
    pub(crate) fn given(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        Ok(Self::Unix { listener: UnixListener::from_std(listener)?, _file: None })
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (Either::Left(stream), Peer::Tcp(peer)))
            }
            Self::Unix { listener, .. } => {
                listener.accept().await.map(|(stream, _)| (Either::Right(stream), Peer::Unix))
            }
        }
    }
}

/// Takes away a socket at which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn the_file_has_its_permissions_and_goes_with_its_listener() {
        let folder = folder("socket");
        let path = folder.join("admin.sock");
        let listener = Listener::unix(&path, 0o640).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let taken = Listener::unix(&path, 0o600).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let client = UnixStream::connect(&path).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, Peer::Unix);
        drop((client, listener));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
        std::fs::remove_dir(folder).unwrap();
    }

    #[tokio::test]
    async fn what_a_dead_process_left_gives_way_and_a_file_does_not() {
        let folder = folder("stale");
        let path = folder.join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        drop(Listener::unix(&path, 0o600).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(Listener::unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
