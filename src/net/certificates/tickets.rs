//! Tickets, with which clients resume their TLS session. Where clients show certificates a ticket stands for a check that
//! was made: it is good only as long as that check would come out the same.

use std::sync::Arc;

use tokio_rustls::rustls::{self, crypto::aws_lc_rs, server::ProducesTickets};

use crate::milliseconds::since_1970;

use super::{Shown, clients::Clients};

/// The tickets of before stay good, whatever certificate is shown since. Not so where clients are checked by something
/// else.
///
/// # Errors
/// There is no randomness for a key.
pub(super) fn ticketer(
    clients: Option<&Clients>,
    before: Option<&Shown>,
) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let digest = |clients: Option<&Clients>| clients.map(|clients| clients.digest);
    match before {
        Some(before) if digest(before.clients.as_deref()) == digest(clients) => {
            Ok(Arc::clone(&before.ticketer))
        }
        _ => aws_lc_rs::Ticketer::new(),
    }
}

/// The same tickets; once the lists of revoked certificates have ended, and clients are refused for that, none.
pub(super) fn while_lists_count(
    tickets: &Arc<dyn ProducesTickets>,
    clients: Option<&Clients>,
) -> Arc<dyn ProducesTickets> {
    let lists = clients.and_then(|clients| clients.lists.as_ref()).filter(|lists| lists.refuses_when_ended);
    match lists.and_then(|lists| lists.until) {
        Some(until) => Arc::new(Until { tickets: Arc::clone(tickets), until }),
        None => Arc::clone(tickets),
    }
}

/// Tickets until this second of Unix time.
#[derive(Debug)]
struct Until {
    tickets: Arc<dyn ProducesTickets>,
    until: i64,
}

impl Until {
    fn is_over(&self) -> bool {
        i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX) >= self.until
    }
}

impl ProducesTickets for Until {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.is_over() { None } else { self.tickets.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if self.is_over() { None } else { self.tickets.decrypt(cipher) }
    }
}
