//! What the workers count, for the admin side. Workers count in plain numbers and publish them
//! now and then, so that no packet costs an atomic operation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counted by a worker, or by all of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// Published by a worker.
        #[derive(Debug, Default)]
        pub(crate) struct Published {
            $($name: AtomicU64,)*
        }

        impl Tally {
            /// Publishes the values.
            pub(crate) fn publish(&self, to: &Published) {
                $(to.$name.store(self.$name, Relaxed);)*
            }

            /// The sum over all workers.
            pub(crate) fn sum(workers: &[Arc<Published>]) -> Self {
                let mut sum = Self::default();
                for worker in workers {
                    $(sum.$name += worker.$name.load(Relaxed);)*
                }
                sum
            }
        }
    };
}

counters! {
    /// Streams now.
    streams,
    /// Sockets and connections of upstream legs now, beside the socket that they share.
    upstream_sockets,
    /// Addresses now that datagrams of upstreams are taken from.
    upstream_addresses,
    /// TCP connections of clients now.
    tcp_connections,
    /// TCP connections that got no place, or lost it without having passed a check.
    tcp_refused,
    /// Streams opened.
    streams_opened,
    /// Streams that a fault of ours ended.
    streams_broken,
    /// RTP packets that were authentic.
    packets_received,
    /// RTP packets passed to the other leg.
    packets_forwarded,
    /// RTP packets not passed on.
    packets_dropped,
    /// Bytes of RTP payload that were authentic.
    bytes_received,
    /// Bytes of RTP payload passed to the other leg.
    bytes_forwarded,
    /// Key frames passed on.
    key_frames,
    /// Client legs that were given new credentials after a silence.
    revivals,
    /// Datagrams received on all sockets.
    datagrams_received,
    /// Datagrams sent.
    datagrams_sent,
    /// Datagrams on the client socket that belong to no leg.
    datagrams_foreign,
    /// The same on sockets of upstream legs.
    datagrams_foreign_upstream,
    /// Datagrams on legs that were not authentic, or past a bound.
    datagrams_refused,
    /// Orders carried out.
    orders,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed() {
        let workers = [Arc::new(Published::default()), Arc::new(Published::default())];
        for (worker, streams) in workers.iter().zip([2, 3]) {
            Tally { streams, ..Tally::default() }.publish(worker);
        }
        assert_eq!(Tally::sum(&workers), Tally { streams: 5, ..Tally::default() });
    }
}
