//! Datagrams that the kernel threw away because a socket of this process was full, as `/proc` tells:
//! there is no safe way to ask a socket itself.

use std::{collections::HashSet, fs};

/// The sum over the UDP sockets that are open now. None: this system does not tell.
pub(crate) fn kernel_drops() -> Option<u64> {
    let links = fs::read_dir("/proc/self/fd").ok()?;
    let targets = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    let ours: HashSet<u64> = targets.filter_map(|target| inode(target.to_str()?)).collect();
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let texts: Vec<String> = tables.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    (!texts.is_empty()).then(|| texts.iter().map(|text| drops(text, &ours)).sum())
}

/// Of the target of a descriptor, as in `socket:[1234]`.
fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// In a table of the kernel's UDP sockets: the inode stands in the tenth column, the drops in the last.
fn drops(table: &str, ours: &HashSet<u64>) -> u64 {
    let of_line = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let inode = columns.nth(9)?.parse().ok()?;
        ours.contains(&inode).then(|| columns.last()?.parse().ok())?
    };
    table.lines().filter_map(of_line).fold(0, u64::saturating_add)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn those_of_our_sockets_are_counted() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 11 2 0000000000000000 5\n\
             2: 0100007F:0036 00000000:0000 07 00000000:00000000 00:00000000 00000000   102        0 12 2 0000000000000000 7\n";
        assert_eq!(drops(table, &HashSet::from([12, 13])), 7);
        assert_eq!((inode("socket:[12]"), inode("pipe:[12]")), (Some(12), None));
    }

    #[test]
    fn a_full_socket_is_seen() {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(4_096).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = kernel_drops().unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1_000], receiver.local_addr().unwrap()).unwrap();
        }
        // Others in this process may lose some at the same time, and none may come back.
        assert!(kernel_drops().unwrap() > before);
    }
}
