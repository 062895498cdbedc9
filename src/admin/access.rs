//! Who may do what on the admin side: whoever comes from loopback may read; to change something, and for
//! everything from elsewhere, it takes the token, or the Unix socket.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq as _;

use crate::{config::secret, local_http::Peer};

/// The environment variable that has the token.
pub const TOKEN_VARIABLE: &str = "HOLDFAST_ADMIN_TOKEN";

/// The same, written as the settings are, for who knows them so.
const TOKEN_VARIABLES: [&str; 2] = [TOKEN_VARIABLE, "HOLDFAST_ADMIN__TOKEN"];
/// Variables that name a file with the token, for commands; the proxy has them as `admin.token_file`.
const TOKEN_FILE_VARIABLES: [&str; 2] = ["HOLDFAST_ADMIN__TOKEN_FILE", "HOLDFAST_ADMIN_TOKEN_FILE"];

/// Characters of a token.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// Why there is no token although one was given.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error("cannot read the admin token from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no token.
    #[error("the admin token in {place} is no token: expected 16 to 256 visible characters in one line")]
    NoToken {
        /// Where it was found.
        place: String,
    },
}

/// What lets somebody change things. It is never shown.
#[derive(Clone)]
pub struct Token(Box<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// What the environment has for a token, unread.
    #[must_use]
    pub fn variable() -> Option<String> {
        TOKEN_VARIABLES.iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
    }

    /// The file with the token that the environment names.
    #[must_use]
    pub fn file_variable() -> Option<PathBuf> {
        let set = |name: &&str| std::env::var_os(name).filter(|path| !path.is_empty());
        TOKEN_FILE_VARIABLES.iter().find_map(set).map(PathBuf::from)
    }

    /// What to say of a file with the token that everybody on the machine may read.
    #[must_use]
    pub fn open_to_all(path: &Path) -> Option<String> {
        secret::open_to_all(path)
    }

    /// The token of the environment, else that of the file, if there is either.
    ///
    /// # Errors
    /// There is one that cannot be read, or it is none.
    pub fn find(file: Option<&Path>, variable: Option<String>) -> Result<Option<Self>, TokenError> {
        if let Some(text) = variable.filter(|text| !text.is_empty()) {
            return Self::parse(&text, || TOKEN_VARIABLE.to_owned()).map(Some);
        }
        let Some(path) = file else { return Ok(None) };
        let text =
            secret::read(path).map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, || path.display().to_string()).map(Some)
    }

    fn parse(text: &str, place: impl FnOnce() -> String) -> Result<Self, TokenError> {
        let text = text.trim();
        let visible = text.chars().all(|c| c.is_ascii_graphic());
        if visible && TOKEN_CHARS.contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(TokenError::NoToken { place: place() })
        }
    }

    /// As a value of `Authorization`.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Takes as long for a wrong one as for the right one.
    fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// By what somebody was let in, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It reads, from loopback.
    Loopback,
    /// It has the token.
    Token,
    /// It could open the socket.
    Socket,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Token => "token",
            Self::Socket => "socket",
        })
    }
}

/// Judges requests.
#[derive(Clone, Debug, Default)]
pub struct Access {
    token: Option<Token>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Access {
    /// With this token, if there is one.
    #[must_use]
    pub const fn new(token: Option<Token>) -> Self {
        Self { token }
    }

    /// Whether it is this token that it takes.
    #[must_use]
    pub fn takes(&self, token: Option<&Token>) -> bool {
        match (&self.token, token) {
            (Some(known), Some(token)) => known.is(token.0.as_bytes()),
            (known, token) => known.is_none() && token.is_none(),
        }
    }

    /// `changes`: what it asks for may change something.
    pub(super) fn judge(&self, peer: Peer, changes: bool, headers: &HeaderMap) -> Result<Allowed, Denied> {
        let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        let peer = match peer {
            Peer::Unix => return Ok(Allowed::Socket),
            Peer::Tcp(peer) => peer,
        };
        match (given, &self.token) {
            (Some(given), Some(token)) if token.is(bearer(given)) => Ok(Allowed::Token),
            (Some(_), Some(_)) => Err(unauthorized("this token is not the one of this proxy")),
            _ if peer.ip().to_canonical().is_loopback() && !changes => Ok(Allowed::Loopback),
            (_, Some(_)) => Err(unauthorized("this takes the token: Authorization: Bearer …")),
            (_, None) => Err(Denied {
                status: StatusCode::FORBIDDEN,
                why: "this takes the Unix socket (admin.socket), or a token: set admin.token_file or \
                      HOLDFAST_ADMIN_TOKEN for the proxy",
            }),
        }
    }
}

const fn unauthorized(why: &'static str) -> Denied {
    Denied { status: StatusCode::UNAUTHORIZED, why }
}

/// Whether a request may change something: only the versioned interface does, and never by reading.
pub(super) fn may_change(method: &Method, path: &str) -> bool {
    path.starts_with("/v1") && !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What follows the scheme, which is written in any case (RFC 9110 section 11.1).
fn bearer(given: &[u8]) -> &[u8] {
    match given.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn judge(token: Option<&str>, peer: &str, method: Method, given: Option<&str>) -> Result<Allowed, u16> {
        let token = Token::find(None, token.map(str::to_owned)).unwrap();
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(header::AUTHORIZATION, given.parse().unwrap());
        }
        let peer = if peer == "unix" { Peer::Unix } else { Peer::Tcp(peer.parse().unwrap()) };
        Access::new(token)
            .judge(peer, may_change(&method, "/v1/nodes/a/drain"), &headers)
            .map_err(|denied| denied.status.as_u16())
    }

    #[test]
    fn loopback_reads_and_the_socket_does_all() {
        for near in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert_eq!(judge(None, near, Method::GET, None), Ok(Allowed::Loopback), "{near}");
            assert_eq!(judge(None, near, Method::POST, None), Err(403), "{near}");
            assert_eq!(judge(Some(TOKEN), near, Method::DELETE, None), Err(401), "{near}");
        }
        assert_eq!(judge(None, "10.0.0.1:9", Method::GET, None), Err(403));
        assert_eq!(judge(Some(TOKEN), "10.0.0.1:9", Method::GET, None), Err(401));
        for method in [Method::GET, Method::POST, Method::DELETE] {
            assert_eq!(judge(None, "unix", method, None), Ok(Allowed::Socket));
        }
    }

    #[test]
    fn the_token_opens_everything_and_nothing_like_it_does() {
        for given in ["Bearer correct-horse-battery", "bearer  correct-horse-battery "] {
            assert_eq!(judge(Some(TOKEN), "10.0.0.1:9", Method::POST, Some(given)), Ok(Allowed::Token));
        }
        for wrong in
            ["Bearer correct-horse-batter", "Bearer correct-horse-battery2", TOKEN, "Bearer", "Basic YTpi"]
        {
            assert_eq!(judge(Some(TOKEN), "10.0.0.1:9", Method::GET, Some(wrong)), Err(401), "{wrong}");
            assert_eq!(judge(Some(TOKEN), "127.0.0.1:9", Method::POST, Some(wrong)), Err(401), "{wrong}");
            assert_eq!(judge(None, "127.0.0.1:9", Method::POST, Some(wrong)), Err(403), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        for wrong in ["short", "with a space in its middle", "ümlautümlautümlaut", &"x".repeat(257)] {
            let error = Token::find(None, Some(wrong.to_owned())).unwrap_err().to_string();
            assert!(error.contains(TOKEN_VARIABLE) && !error.contains(wrong), "{error}");
        }
        assert!(Token::find(None, None).unwrap().is_none());
        assert!(Token::find(None, Some(String::new())).unwrap().is_none());
        assert!(Token::find(Some(Path::new("/no/such/file")), None).is_err());
        let token = Token::find(None, Some(format!("  {TOKEN}\n"))).unwrap().unwrap();
        assert!(!format!("{token:?}").contains(TOKEN));
        assert_eq!(token.bearer(), format!("Bearer {TOKEN}"));
    }
}
