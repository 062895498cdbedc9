//! Where the admin side is reached: its port, and its Unix socket.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use tokio::net::TcpListener;

use crate::{
    activation,
    config::{AdminSettings, AdminSocket},
    local_http::Listener,
};

/// A bound port or socket.
#[derive(Debug)]
pub struct Door(pub(super) Listener);

impl Door {
    /// A port: the one that the service manager has opened, or a new one.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        if let Some(given) = activation::tcp(address)? {
            return TcpListener::from_std(given).map(Self::of);
        }
        TcpListener::bind(address).await.map(|listener| Self(Listener::Tcp(listener)))
    }

    /// A port that is bound.
    #[must_use]
    pub const fn of(listener: TcpListener) -> Self {
        Self(Listener::Tcp(listener))
    }

    /// The Unix socket that the service manager has opened, with its permissions; or a new one with those of these
    /// settings, to which what a dead process left there gives way.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the system refuses.
    pub fn unix(path: &Path, settings: &AdminSettings) -> io::Result<Self> {
        if let Some(given) = activation::unix(path)? {
            return Listener::given(given).map(Self);
        }
        Listener::unix(path, settings.socket_mode.0).map(Self)
    }

    /// The address of a port; none of a socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix { .. } => None,
        }
    }
}

/// Where the Unix socket of these settings is, for a proxy whose admin port is this one. None: it has none.
///
/// # Errors
/// There is no directory for it, and none can be made, or it is somebody else's.
pub fn socket_path(settings: &AdminSettings, port: Option<u16>) -> io::Result<Option<PathBuf>> {
    match &settings.socket {
        AdminSocket::Off => Ok(None),
        AdminSocket::Path(path) => Ok(Some(path.clone())),
        AdminSocket::Auto => {
            let name = match port {
                Some(port) => format!("admin-{port}.sock"),
                None => "admin.sock".to_owned(),
            };
            own_directory().map(|directory| Some(directory.join(name)))
        }
    }
}

/// The directory for sockets of this user, made if need be; nobody else may write to it.
fn own_directory() -> io::Result<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = runtime.unwrap_or_else(|| PathBuf::from("/run")).join("holdfast");
    match fs::DirBuilder::new().mode(0o755).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&directory)?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if is_own && found.mode() & 0o022 == 0 {
        return Ok(directory);
    }
    let why = format!("{} is not a directory that this user alone may write to", directory.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
