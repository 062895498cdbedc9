//! The configuration: a file, the environment over it, flags over both, and typed settings out of it.
//!
//! Layers, so that what was typed and what is used stay apart: the file (`file`, one struct per section), variables
//! (`environment`) and flags ([`Overrides`]) are merged and checked here, once; what comes out ([`Config`]) fits
//! together and is handed to the parts as plain data. Reads the configuration file and files that hold the value of a
//! variable, and nothing else: certificates, names and ports belong to those who use them.

mod access;
mod address;
mod admin;
mod check;
mod checks;
mod difference;
mod dump;
mod environment;
mod error;
mod file;
mod header;
mod health;
mod http;
mod limits;
mod listen;
mod log;
mod media;
mod node;
mod origin;
mod overrides;
mod pin;
mod policy;
mod reload;
mod renamed;
mod route;
mod routes;
pub(crate) mod secret;
mod send_proxy;
mod server;
mod text;
mod tls;
mod upstream;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde_json::Value;

pub use access::{AccessField, AccessFormat, AccessPiece, AccessSettings, AccessTarget};
pub use address::{AddressRange, ListenAddress, UpstreamUrl, loopback_address, media_address};
pub use admin::{AdminAddress, AdminSettings, AdminSocket, FileMode};
pub use checks::{CHECKS_MAX, CheckKind, CheckSettings, Checks};
pub use difference::Difference;
pub use environment::Environment;
pub use error::ConfigError;
pub use header::HeaderField;
pub use health::HealthSettings;
pub use http::HttpSettings;
pub use limits::{LimitSettings, ShutdownMode};
pub use listen::ListenSettings;
pub use log::{LogFormat, LogLevel, LogSettings, LogTarget};
pub use media::{MediaMode, MediaSettings};
pub use node::{DEFAULT_POOL, Name, NamedNode, NodeSettings, NodeUrl, PoolSettings};
pub use origin::OriginPattern;
pub use overrides::Overrides;
pub use pin::Pin;
pub use policy::{HashBy, Policy};
pub use reload::ReloadSettings;
pub use route::{
    HostPattern, HttpTls, HttpUrl, LbPublic, PathPrefix, RedirectUrl, RouteAction, RouteSettings,
    StaticAnswer,
};
pub use routes::ROUTES_MAX;
pub use send_proxy::SendProxy;
pub use server::{POSITION_BYTES_MAX, POSITIONS_MAX, ServerSettings};
pub use tls::{CertificateSettings, ClientAuth, EndedLists, ServerPattern, TlsMin, TlsSuite, UnknownNames};
pub use upstream::UpstreamSettings;

pub use holdfast_core::settings::{
    AppSettings, CheckBitrate, HoldSettings, KeepaliveSettings, RestoreMode, RestoreSettings, SessionBounds,
    SessionSettings, Takeover, VideoSettings,
};

use check::Conflict;
use dump::Origins;
use file::{ConfigFile, Settings};
use holdfast_core::settings::number;

/// What the network side goes by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetSettings {
    /// The side that clients see.
    pub listen: ListenSettings,
    /// The nodes behind.
    pub upstream: UpstreamSettings,
    /// Further pools of nodes, by name.
    pub pools: BTreeMap<Name, PoolSettings>,
    /// What becomes of requests; the first that fits decides.
    pub routes: Vec<RouteSettings>,
    /// Requests that are no WebSocket.
    pub http: HttpSettings,
    /// Bounds on sockets, messages and the end of the process.
    pub limits: LimitSettings,
    /// The paths that tell how the proxy is.
    pub health: HealthSettings,
}

impl NetSettings {
    /// The nodes of all pools, those of `default` first; each with the name it goes by.
    #[must_use]
    pub fn nodes(&self) -> Vec<NamedNode> {
        node::all(&self.upstream, &self.pools)
    }
}

/// A configuration that was checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// For the network side.
    pub net: NetSettings,
    /// For the session core.
    pub session: SessionSettings,
    /// For the media side.
    pub media: MediaSettings,
    /// For the log.
    pub log: LogSettings,
    /// For the line of each session that ended.
    pub access: AccessSettings,
    /// For the admin side.
    pub admin: AdminSettings,
    /// What to say of the sources of all this, one sentence each: deprecated names, files that are too open.
    pub notices: Vec<String>,
    /// For whoever reads it again.
    pub reload: ReloadSettings,
    /// What a probe saw of the servers.
    pub server: ServerSettings,
}

impl Config {
    /// Reads the file, if there is one, lays environment and flags over it and checks the whole.
    ///
    /// # Errors
    /// The file cannot be read, a key or value in it is not accepted, or values do not fit
    /// together. The error names the place.
    pub fn load(path: Option<&Path>, flags: &Overrides) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::parse(&read_file(path)?, path, flags),
            None => {
                let settings = ConfigFile::read("", Path::new(""), &flags.environment)?;
                Self::assemble(settings, flags, None)
            }
        }
    }

    /// As [`Config::load`], from the text of a file; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, flags: &Overrides) -> Result<Self, ConfigError> {
        let settings = ConfigFile::read(text, path, &flags.environment)?;
        Self::assemble(settings, flags, Some(Source { path: path.to_owned(), text }))
    }

    fn assemble(
        settings: Settings,
        flags: &Overrides,
        source: Option<Source<'_>>,
    ) -> Result<Self, ConfigError> {
        let Settings { mut file, notices } = settings;
        flags.apply(&mut file);
        check::check(&file).map_err(|conflict| ConfigError::Conflict {
            place: place(&conflict, flags, source.as_ref()),
            key: conflict.key,
            message: conflict.message,
        })?;
        for (nth, route) in file.route.iter_mut().enumerate() {
            route.line =
                route::Line(source.as_ref().and_then(|source| file::line_of(source.text, "route", nth)));
        }
        let locality = file.upstream.locality;
        Ok(Self {
            net: NetSettings {
                listen: file.listen,
                upstream: file.upstream,
                pools: file.pool,
                routes: file.route,
                http: file.http,
                limits: file.limits,
                health: file.health,
            },
            session: SessionSettings {
                restore: file.restore,
                hold: file.hold,
                keepalive: file.keepalive,
                bounds: file.session,
                video: file.video,
                apps: file.app,
                locality,
            },
            media: file.media,
            log: file.log,
            access: file.access,
            admin: file.admin,
            notices,
            reload: file.reload,
            server: file.server,
        })
    }

    /// Where the value of a key comes from, for messages: a flag, or the file and its line as it is now.
    #[must_use]
    pub fn place_of(path: Option<&Path>, flags: &Overrides, (key, nth): (&str, usize)) -> String {
        let text = path.map(|path| std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
        let source = path.map(|path| Source { path: path.to_owned(), text: &text });
        let conflict = Conflict { key: key.to_owned(), nth, message: String::new() };
        place(&conflict, flags, source.as_ref())
    }

    /// What is accepted but probably not meant, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notices.clone();
        warnings.extend(check::warnings(self));
        warnings
    }

    /// Every setting with its value, in the shape and with the names of the file. Nothing in it
    /// is secret.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Plain structs of numbers and text: there is nothing in them that JSON cannot hold.
        serde_json::to_value(self.to_file()).unwrap_or(Value::Null)
    }

    /// As [`Config::to_json`], as a file with where each value comes from beside it; read again, it makes the same
    /// configuration. `path` and `flags` are those that it was loaded from.
    #[must_use]
    pub fn to_toml(&self, path: Option<&Path>, flags: &Overrides) -> String {
        dump::to_toml(&self.to_file(), &Origins::new(path, flags))
    }

    /// Each setting with its value and where that comes from, as JSON.
    #[must_use]
    pub fn to_json_with_origins(&self, path: Option<&Path>, flags: &Overrides) -> Value {
        dump::to_json(&self.to_file(), &Origins::new(path, flags))
    }

    fn to_file(&self) -> ConfigFile {
        ConfigFile {
            listen: self.net.listen.clone(),
            upstream: self.net.upstream.clone(),
            pool: self.net.pools.clone(),
            route: self.net.routes.clone(),
            http: self.net.http.clone(),
            limits: self.net.limits.clone(),
            health: self.net.health.clone(),
            restore: self.session.restore.clone(),
            hold: self.session.hold.clone(),
            keepalive: self.session.keepalive.clone(),
            session: self.session.bounds.clone(),
            video: self.session.video.clone(),
            media: self.media.clone(),
            log: self.log.clone(),
            access: self.access.clone(),
            admin: self.admin.clone(),
            reload: self.reload.clone(),
            server: self.server.clone(),
            app: self.session.apps.clone(),
        }
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Writes a choice as it is written in the file and in flags.
fn write_word<T: ValueEnum>(choice: T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    choice.to_possible_value().map_or(Ok(()), |word| f.write_str(word.get_name()))
}

/// A configuration file that was read.
struct Source<'a> {
    path: PathBuf,
    text: &'a str,
}

/// Where a key got its value from, for messages.
fn place(conflict: &Conflict, flags: &Overrides, source: Option<&Source<'_>>) -> String {
    if let Some(flag) = flags.flag_of(&conflict.key) {
        return flag.to_owned();
    }
    if let Some(variable) = flags.environment.names().variable_of(&conflict.key) {
        return variable.to_owned();
    }
    match source {
        Some(source) => match file::line_of(source.text, &conflict.key, conflict.nth) {
            Some(line) => format!("{}:{line}", source.path.display()),
            None => source.path.display().to_string(),
        },
        None => "command line".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
