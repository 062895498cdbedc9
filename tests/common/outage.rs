//! The ways in which a server is lost.

use std::time::Duration;

use serde_json::json;

use super::{let_pass, server::Server};

/// How the server is lost and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// `kill -9`, and a new process after this long.
    Kill(Duration),
    /// All TCP connections end with FIN; the server goes on.
    Fin,
    /// All TCP connections are reset; the server goes on.
    Reset,
    /// All connections fall silent and stay open; new ones work.
    BlackHole,
    /// The process stands still for this long.
    Freeze(Duration),
    /// A graceful end with this close code.
    Close(u16),
    /// So many times killed and restarted, this far apart.
    Restarts(usize, Duration),
}

/// The short outages.
pub const OUTAGES: &[Outage] = &[
    Outage::Kill(Duration::from_secs(2)),
    Outage::Fin,
    Outage::Reset,
    Outage::BlackHole,
    Outage::Freeze(Duration::from_secs(3)),
    Outage::Close(1001),
    Outage::Close(1012),
];

impl Outage {
    /// Strikes, and returns when the server is there again.
    pub async fn strike(self, server: &mut Server) {
        match self {
            Self::Kill(down) => {
                server.kill().await;
                let_pass(down).await;
                server.start_again().await;
            }
            Self::Fin => drop(server.fault(json!({"fault": "drop", "how": "fin"})).await),
            Self::Reset => drop(server.fault(json!({"fault": "drop", "how": "reset"})).await),
            Self::BlackHole => drop(server.fault(json!({"fault": "black_hole"})).await),
            Self::Freeze(time) => {
                server.fault(json!({"fault": "freeze"})).await;
                let_pass(time).await;
                server.fault(json!({"fault": "thaw"})).await;
            }
            Self::Close(code) => {
                server.fault(json!({"fault": "close", "code": code, "reason": "restart"})).await;
            }
            Self::Restarts(count, apart) => {
                for round in 0..count {
                    if round > 0 {
                        let_pass(apart).await;
                    }
                    server.kill().await;
                    let_pass(Duration::from_millis(500)).await;
                    server.start_again().await;
                }
            }
        }
    }
}
