//! Section `[admin]`: where a running proxy tells what it knows.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    address::loopback_address,
    number::{Between, Ms},
};

/// An address of loopback, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdminAddress(pub Option<SocketAddr>);

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let expected =
            || format!("`{text}`: expected IP:PORT of loopback, such as 127.0.0.1:8089, or \"off\"");
        let address = loopback_address(text).map_err(|_| expected())?;
        // It needs no password, so nobody else may reach it.
        if address.ip().is_loopback() { Ok(Self(Some(address))) } else { Err(expected()) }
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
    /// Where `holdfast status` asks: an address of loopback, or `off`. Default `127.0.0.1:8089`.
    pub listen: AdminAddress,
    /// Whether the proxy does not start without that port; false: it warns and goes without. Default true.
    pub required: bool,
    /// Names, besides `localhost` and addresses of loopback, that may stand in `Host`. Default none.
    pub hosts: Vec<String>,
    /// Most connections at once; of those that say nothing the oldest makes room. Default 64.
    #[serde(with = "Between::<1, 10_000>")]
    pub connections_max: usize,
    /// Longest time from a connection to the end of its answer. Default 5 s.
    #[serde(rename = "request_timeout_ms", with = "Ms::<100, 600_000>")]
    pub request_timeout: Duration,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: AdminAddress(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8089)))),
            required: true,
            hosts: Vec::new(),
            connections_max: 64,
            request_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_taken() {
        assert!("0.0.0.0:8089".parse::<AdminAddress>().is_err());
        assert!("8089".parse::<AdminAddress>().is_err());
        assert_eq!("off".parse(), Ok(AdminAddress(None)));
        for short in [":8089", "localhost:8089"] {
            let address = short.parse::<AdminAddress>().map(|address| address.to_string());
            assert_eq!(address, Ok("127.0.0.1:8089".to_owned()), "{short}");
        }
        let address = "[::1]:1".parse::<AdminAddress>();
        assert_eq!(address.map(|address| address.to_string()), Ok("[::1]:1".to_owned()));
    }
}
