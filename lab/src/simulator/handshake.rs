//! Judges WebSocket handshakes and keeps what they brought along.

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::counters::{Handshake, count, unix_ms};
use super::settings::HandshakeSettings;
use super::world::{ConnectionId, World};

impl World {
    /// Answers the request of a handshake.
    ///
    /// # Errors
    /// The refusal, as it goes to the client.
    pub(super) fn judge_handshake(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        mut response: Response,
    ) -> Result<Response, Box<ErrorResponse>> {
        let settings = self.settings.clone();
        let status = self.handshake_status(&settings.handshake, request);
        let peer =
            self.connections.get(&connection).map(|socket| socket.peer.to_string()).unwrap_or_default();
        let handshake = Handshake {
            at_ms: unix_ms(),
            epoch: self.epoch,
            peer,
            target: request.uri().to_string(),
            status: status.as_u16(),
            headers: headers_of(request),
        };
        if self.handshakes.len() >= settings.limits.handshakes_max.max(1) {
            self.handshakes.pop_front();
        }
        self.handshakes.push_back(handshake.clone());
        if status != StatusCode::SWITCHING_PROTOCOLS {
            count(&mut self.counters.refused, status.as_str(), settings.limits.keys_max);
            return Err(Box::new(refusal(status, settings.handshake.retry_after_s)));
        }
        if let Some(socket) = self.connections.get_mut(&connection) {
            socket.handshake = handshake;
        }
        self.counters.handshakes += 1;
        let additions = [
            (header::SEC_WEBSOCKET_EXTENSIONS, &settings.handshake.answer_extension),
            (header::SEC_WEBSOCKET_PROTOCOL, &settings.handshake.answer_protocol),
        ];
        for (name, value) in additions {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }

    fn handshake_status(&mut self, settings: &HandshakeSettings, request: &Request) -> StatusCode {
        if let Some(status) = settings.refuse_status
            && settings.refuse_times.is_none_or(|times| self.spent.handshakes < times)
        {
            self.spent.handshakes += 1;
            return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let value =
            |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let origin = value(header::ORIGIN).unwrap_or_default();
        if !settings.origins.is_empty() && !settings.origins.iter().any(|allowed| allowed == origin) {
            return StatusCode::FORBIDDEN;
        }
        if let Some(wanted) = &settings.require_cookie {
            let brought = request
                .headers()
                .get_all(header::COOKIE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(';'))
                .any(|cookie| cookie.trim() == wanted);
            if !brought {
                return StatusCode::FORBIDDEN;
            }
        }
        if let Some(wanted) = &settings.require_authorization
            && value(header::AUTHORIZATION) != Some(wanted)
        {
            return StatusCode::UNAUTHORIZED;
        }
        StatusCode::SWITCHING_PROTOCOLS
    }
}

fn refusal(status: StatusCode, retry_after_s: Option<u32>) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(format!("{status}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn headers_of(request: &Request) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    headers
}
