//! Section `[admin]`: where a running proxy tells what it knows.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    address::loopback_address,
    number::{Between, Ms},
};

/// An address, or nothing. One that is not of loopback takes a token for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let expected = || format!("`{text}`: expected IP:PORT, such as 127.0.0.1:8089, or \"off\"");
        Ok(Self(Some(loopback_address(text).map_err(|_| expected())?)))
    }
}

/// Where the Unix socket of the admin side is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AdminSocket {
    /// A name of its own in the directory for such files, which is told on the admin port: of the user
    /// (`$XDG_RUNTIME_DIR/holdfast`), or `/run/holdfast`.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// This file.
    Path(PathBuf),
}

impl From<String> for AdminSocket {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "off" | "" => Self::Off,
            _ => Self::Path(text.into()),
        }
    }
}

impl From<AdminSocket> for String {
    fn from(socket: AdminSocket) -> Self {
        match socket {
            AdminSocket::Auto => "auto".to_owned(),
            AdminSocket::Off => "off".to_owned(),
            AdminSocket::Path(path) => path.display().to_string(),
        }
    }
}

/// Permissions of a file, in octal digits such as `0660`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(pub u32);

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| format!("`{text}`: expected octal digits, such as \"0660\""))
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl TryFrom<String> for AdminAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AdminAddress> for String {
    fn from(address: AdminAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("off"),
        }
    }
}

/// The admin side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Where `holdfast status` asks, or `off`. Default `127.0.0.1:8089`. Whoever comes from loopback may
    /// read; from elsewhere, and to change something, it takes the token.
    pub listen: AdminAddress,
    /// Where the same is served to whoever may open a file; they may change things without a token.
    /// Default `auto`.
    pub socket: AdminSocket,
    /// Permissions of that file. Default `0600`.
    pub socket_mode: FileMode,
    /// File with the token; the environment variable `HOLDFAST_ADMIN_TOKEN` goes before it. Default none.
    pub token_file: Option<PathBuf>,
    /// Whether the proxy does not start without that port; false: it warns and goes without. Default true.
    pub required: bool,
    /// Names, besides `localhost` and addresses of loopback, that may stand in `Host`. Default none.
    pub hosts: Vec<String>,
    /// Most connections at once; of those that say nothing the oldest makes room. Default 64.
    #[serde(with = "Between::<1, 10_000>")]
    pub connections_max: usize,
    /// Most who listen to `/v1/events` at once, and never more than half of the connections. Default 16.
    #[serde(with = "Between::<0, 1_000>")]
    pub event_listeners_max: usize,
    /// Most recordings that are kept at once; of those that are over the oldest makes room. Default 4.
    #[serde(with = "Between::<1, 64>")]
    pub recordings_max: usize,
    /// Most bytes that all recordings together take in memory. Default 8 MiB; 0 = nothing is recorded.
    #[serde(with = "Between::<0, 1_073_741_824>")]
    pub record_bytes_max: usize,
    /// Longest time from a connection to the end of its answer. Default 5 s.
    #[serde(rename = "request_timeout_ms", with = "Ms::<100, 600_000>")]
    pub request_timeout: Duration,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: AdminAddress(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8089)))),
            socket: AdminSocket::Auto,
            socket_mode: FileMode(0o600),
            token_file: None,
            required: true,
            hosts: Vec::new(),
            connections_max: 64,
            event_listeners_max: 16,
            recordings_max: 4,
            record_bytes_max: 8 * 1024 * 1024,
            request_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_of_loopback() {
        assert!("8089".parse::<AdminAddress>().is_err());
        assert_eq!("off".parse(), Ok(AdminAddress(None)));
        for short in [":8089", "localhost:8089"] {
            let address = short.parse::<AdminAddress>().map(|address| address.to_string());
            assert_eq!(address, Ok("127.0.0.1:8089".to_owned()), "{short}");
        }
        assert_eq!(
            "0.0.0.0:1".parse::<AdminAddress>().map(|address| address.to_string()),
            Ok("0.0.0.0:1".to_owned())
        );
        let address = "[::1]:1".parse::<AdminAddress>();
        assert_eq!(address.map(|address| address.to_string()), Ok("[::1]:1".to_owned()));
    }

    #[test]
    fn modes_are_octal_and_of_a_file() {
        let mode = |text: &str| FileMode::try_from(text.to_owned());
        assert_eq!(mode("0660").map(|mode| mode.0), Ok(0o660));
        assert_eq!(mode("600").map(String::from), Ok("0600".to_owned()));
        for wrong in ["", "8", "7777", "rw", "-1"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
