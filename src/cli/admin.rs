//! How commands reach the admin side of a running proxy, and with what right.

use std::{fs::File, io, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::Failure;
use crate::{
    admin::{TOKEN_VARIABLE, Token},
    config::{AdminSettings, AdminSocket, loopback_address},
    http::{self, Place, Question},
    telemetry::events::clean,
};

/// How long the proxy may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Where it is asked if nothing else is said.
const DEFAULT_PLACE: &str = "127.0.0.1:8089";

/// Where a proxy is asked.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// The proxy's admin.listen, or its admin.socket as unix:PATH.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_PLACE)]
    pub admin: AdminPlace,

    /// File with the proxy's token, where it takes one. [default: HOLDFAST_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// An address, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPlace(Place);

impl FromStr for AdminPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("expected a file after unix:".to_owned()),
            Some(path) => Ok(Self(Place::Unix(path.into()))),
            None if text.starts_with('/') => Ok(Self(Place::Unix(text.into()))),
            None => loopback_address(text).map(|address| Self(Place::Tcp(address.to_string()))),
        }
    }
}

impl AdminArgs {
    /// Where nothing was said: as this configuration has it.
    pub(super) fn prefer(&mut self, settings: &AdminSettings) {
        if self.admin == AdminPlace(Place::Tcp(DEFAULT_PLACE.to_owned())) {
            match (settings.listen.0, &settings.socket) {
                (Some(address), _) => self.admin = AdminPlace(Place::Tcp(address.to_string())),
                (None, AdminSocket::Path(path)) => self.admin = AdminPlace(Place::Unix(path.clone())),
                (None, _) => {}
            }
        }
        let is_readable = |path: &&PathBuf| File::open(path).is_ok();
        if self.token_file.is_none() && Token::variable().is_none() {
            self.token_file = settings.token_file.as_ref().filter(is_readable).cloned();
        }
    }
}

/// A proxy that can be asked.
#[derive(Debug)]
pub(super) struct Admin {
    place: Place,
    authorization: Option<String>,
    /// Its Unix socket, once it was told.
    socket: Option<Place>,
}

impl Admin {
    /// # Errors
    /// There is a token that cannot be read.
    pub(super) fn new(args: &AdminArgs) -> Result<Self, Failure> {
        let file = args.token_file.clone();
        // Whoever names a file means it, whatever else there is.
        let variable = if file.is_some() { None } else { Token::variable() };
        let token = Token::find(file.or_else(Token::file_variable).as_deref(), variable)
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        let authorization = token.map(|token| token.bearer());
        Ok(Self { place: args.admin.0.clone(), authorization, socket: None })
    }

    /// What is at this path.
    ///
    /// # Errors
    /// Nobody answers, or not with what was asked for.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Question::get(path)).await
    }

    /// As [`Admin::get`]; an answer with more bytes than this is an error.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub(super) async fn get_within(&self, path: &str, answer_bytes_max: usize) -> Result<Value, Failure> {
        self.ask(Question { answer_bytes_max, ..Question::get(path) }).await
    }

    async fn ask(&self, question: Question<'_>) -> Result<Value, Failure> {
        let authorization = self.authorization.as_deref();
        let (status, answer) = ask(&self.place, Question { authorization, ..question }).await?;
        accept(&self.place, status, answer)
    }

    /// Where it is asked, for people.
    pub(super) fn place(&self) -> String {
        self.place.to_string()
    }

    /// Changes something: with the token if there is one, else by the socket, which the port tells.
    ///
    /// # Errors
    /// As [`Admin::get`], or it is refused.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask_with_right(Question { method: Method::POST, body: Some(body), ..Question::get(path) }).await
    }

    /// Ends what is at this path.
    ///
    /// # Errors
    /// As [`Admin::post`].
    pub(super) async fn delete(&mut self, path: &str) -> Result<Value, Failure> {
        self.ask_with_right(Question { method: Method::DELETE, ..Question::get(path) }).await
    }

    /// What is at this path for those alone who may change things.
    ///
    /// # Errors
    /// As [`Admin::post`].
    pub(super) async fn get_with_right(&mut self, path: &str) -> Result<Value, Failure> {
        self.ask_with_right(Question::get(path)).await
    }

    /// What is at this path and is no JSON.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub(super) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let authorization = self.authorization.as_deref();
        let question = Question { authorization, ..Question::get(path) };
        let asked = patiently(&self.place, http::ask_for_text(&self.place, &question));
        let (status, text) = asked.await?;
        if !status.is_success() {
            return Err(Failure::Unavailable(format!("{}: {status}", self.place)));
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn ask_with_right(&mut self, question: Question<'_>) -> Result<Value, Failure> {
        if self.authorization.is_none() && self.socket.is_none() && matches!(self.place, Place::Tcp(_)) {
            let index = self.get("/v1").await?;
            self.socket = index.get("socket").and_then(Value::as_str).map(|path| Place::Unix(path.into()));
        }
        let place = self.socket.as_ref().unwrap_or(&self.place);
        let authorization = self.authorization.as_deref();
        let (status, answer) = ask(place, Question { authorization, ..question }).await?;
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            // The answer says what is wrong with what the proxy has, not with what was asked.
            return Ok(answer);
        }
        accept(place, status, answer)
    }
}

async fn ask(place: &Place, question: Question<'_>) -> Result<(StatusCode, Value), Failure> {
    patiently(place, http::ask(place, &question)).await
}

/// As long as the proxy may take to answer.
async fn patiently<T>(place: &Place, asked: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
    match timeout(ANSWER_TIME_MAX, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failure::Unavailable(format!(
            "no answer from {place}: {error}\nIs holdfast running, with admin.listen or admin.socket there, and may \
             you open it?"
        ))),
        Err(_) => Err(Failure::Unavailable(format!("{place} does not answer"))),
    }
}

fn accept(place: &Place, status: StatusCode, answer: Value) -> Result<Value, Failure> {
    if status.is_success() {
        return Ok(answer);
    }
    let why = answer.get("error").and_then(Value::as_str).map(clean);
    let why = why.unwrap_or_else(|| status.to_string());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Unavailable(format!(
            "{place} refuses: {why}\nGive the token with --token-file or {TOKEN_VARIABLE}, or ask the socket with \
             --admin unix:PATH."
        )),
        StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Failure::Refused(why),
        _ => Failure::Unavailable(format!("{place}: {why}")),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_socket() {
        let place = |text: &str| text.parse::<AdminPlace>().map(|place| place.0.to_string());
        assert_eq!(place(":8089"), Ok("127.0.0.1:8089".to_owned()));
        assert_eq!(place("10.0.0.1:1"), Ok("10.0.0.1:1".to_owned()));
        for socket in ["unix:/run/holdfast/a.sock", "/run/holdfast/a.sock"] {
            assert_eq!(place(socket), Ok("unix:/run/holdfast/a.sock".to_owned()));
        }
        assert!(place("unix:").is_err() && place("nowhere").is_err());
    }
}
