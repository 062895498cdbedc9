//! What environment and flags say over the file.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use super::{
    AdminAddress, Environment, RestoreMode,
    address::ListenAddress,
    file::ConfigFile,
    log::{LogFormat, LogLevel, LogTarget},
    media::MediaMode,
    node::NodeUrl,
};

/// The environment, and one field per flag that has a setting; `None` or empty where the flag was not given. A list
/// that is given replaces the list of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Variables, which go before the file and not before the flags.
    pub environment: Environment,
    /// `--listen` for `listen.address`.
    pub listen: Vec<ListenAddress>,
    /// `--tls-cert` for `listen.tls_cert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key` for `listen.tls_key`.
    pub tls_key: Option<PathBuf>,
    /// `--upstream` for `upstream.url`, and in place of `upstream.node`.
    pub upstream: Vec<NodeUrl>,
    /// `--upstream-ca` for `upstream.ca`.
    pub upstream_ca: Option<PathBuf>,
    /// `--restore-rate` for `upstream.restore_rate`.
    pub restore_rate: Option<u32>,
    /// `--restore-mode` for `restore.mode`; `[app."KEY"]` still goes before it.
    pub restore_mode: Option<RestoreMode>,
    /// `--media` for `media.mode`.
    pub media: Option<MediaMode>,
    /// `--media-listen` for `media.listen`.
    pub media_listen: Option<SocketAddr>,
    /// `--media-advertise` for `media.advertise`.
    pub media_advertise: Vec<IpAddr>,
    /// `--admin` for `admin.listen`.
    pub admin: Option<AdminAddress>,
    /// `--log-target` for `log.target`.
    pub log_target: Option<LogTarget>,
    /// `--log-format` for `log.format`.
    pub log_format: Option<LogFormat>,
    /// `--log-level` for `log.level`.
    pub log_level: Option<LogLevel>,
}

impl Overrides {
    pub(super) fn apply(&self, file: &mut ConfigFile) {
        list(&mut file.listen.address, &self.listen);
        optional(&mut file.listen.tls_cert, &self.tls_cert);
        optional(&mut file.listen.tls_key, &self.tls_key);
        list(&mut file.upstream.url, &self.upstream);
        if !self.upstream.is_empty() {
            file.upstream.node.clear();
        }
        optional(&mut file.upstream.ca, &self.upstream_ca);
        value(&mut file.upstream.restore_rate, self.restore_rate);
        value(&mut file.restore.mode, self.restore_mode);
        value(&mut file.media.mode, self.media);
        value(&mut file.media.listen, self.media_listen);
        list(&mut file.media.advertise, &self.media_advertise);
        value(&mut file.admin.listen, self.admin);
        value(&mut file.log.target, self.log_target);
        value(&mut file.log.format, self.log_format);
        value(&mut file.log.level, self.log_level);
    }

    /// The flag that was given for this key, if one was.
    pub(super) fn flag_of(&self, key: &str) -> Option<&'static str> {
        let (given, flag) = match key {
            "listen.address" => (!self.listen.is_empty(), "--listen"),
            "listen.tls_cert" => (self.tls_cert.is_some(), "--tls-cert"),
            "listen.tls_key" => (self.tls_key.is_some(), "--tls-key"),
            "upstream.url" | "upstream.node" => (!self.upstream.is_empty(), "--upstream"),
            "upstream.ca" => (self.upstream_ca.is_some(), "--upstream-ca"),
            "upstream.restore_rate" => (self.restore_rate.is_some(), "--restore-rate"),
            "restore.mode" => (self.restore_mode.is_some(), "--restore-mode"),
            "media.mode" => (self.media.is_some(), "--media"),
            "media.listen" => (self.media_listen.is_some(), "--media-listen"),
            "media.advertise" => (!self.media_advertise.is_empty(), "--media-advertise"),
            "admin.listen" => (self.admin.is_some(), "--admin"),
            "log.target" => (self.log_target.is_some(), "--log-target"),
            "log.format" => (self.log_format.is_some(), "--log-format"),
            "log.level" => (self.log_level.is_some(), "--log-level"),
            _ => return None,
        };
        given.then_some(flag)
    }
}

fn list<T: Clone>(target: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *target = given.to_vec();
    }
}

fn optional<T: Clone>(target: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        target.clone_from(given);
    }
}

fn value<T: Copy>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}
