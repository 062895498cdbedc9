//! What the machine says of itself and of the process of the proxy: versions and limits. Nothing of other processes.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::archive::Archive;
use crate::{cli::Failure, memory};

/// Limits of the kernel that matter to a proxy.
const KERNEL: [&str; 12] = [
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/core/rmem_default",
    "net/core/somaxconn",
    "net/core/netdev_max_backlog",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_mem",
    "net/ipv4/udp_mem",
    "net/netfilter/nf_conntrack_max",
    "fs/file-nr",
    "fs/nr_open",
];
/// Of the process of the proxy: not its environment, not its command line.
const PROCESS: [&str; 4] = ["limits", "status", "cgroup", "sched"];
/// Of its control group.
const GROUP: [&str; 6] =
    ["memory.max", "memory.high", "memory.current", "memory.events", "cpu.max", "pids.max"];
/// Largest text of these that is read.
const TEXT_BYTES_MAX: u64 = 65_536;

/// # Errors
/// The archive cannot be written.
pub(super) fn tell(process: Option<u64>, archive: &mut Archive) -> Result<(), Failure> {
    archive.add("versions.txt", &versions())?;
    archive.add("limits.txt", &limits(process))
}

fn versions() -> String {
    let mut text = format!("holdfast {} ({})\n", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    for path in ["/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg"] {
        section(&mut text, Path::new(path));
    }
    text
}

fn limits(process: Option<u64>) -> String {
    let mut text = String::new();
    for name in KERNEL {
        section(&mut text, &Path::new("/proc/sys").join(name));
    }
    section(&mut text, Path::new("/proc/meminfo"));
    section(&mut text, Path::new("/proc/net/sockstat"));
    section(&mut text, Path::new("/proc/net/snmp"));
    let limit = memory::limit_bytes().map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
    // Text takes whatever is written to it.
    let _ = writeln!(text, "memory for a process here, in bytes: {limit}");
    for name in GROUP {
        section(&mut text, &Path::new("/sys/fs/cgroup").join(name));
    }
    let Some(process) = process else { return text };
    let directory = Path::new("/proc").join(process.to_string());
    for name in PROCESS {
        section(&mut text, &directory.join(name));
    }
    let files = fs::read_dir(directory.join("fd")).map(Iterator::count);
    let files = files.map_or_else(|error| error.to_string(), |count| count.to_string());
    let _ = writeln!(text, "open files of process {process}: {files}");
    text
}

/// A text of the kernel under its name; what is not there is left out.
fn section(text: &mut String, path: &Path) {
    let mut content = String::new();
    let read = File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_string(&mut content));
    if read.is_ok() {
        let _ = writeln!(text, "== {}\n{}\n", path.display(), content.trim_end());
    }
}

/// The last so many bytes of a text, from the beginning of a line.
pub(super) fn end_of(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = if start > 0 { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    Ok(whole.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_begins_with_a_line() {
        let path = std::env::temp_dir().join(format!("holdfast-end-{}", std::process::id()));
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(end_of(&path, 100).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(end_of(&path, 9).unwrap(), "three\n");
        assert_eq!(end_of(&path, 3).unwrap(), "");
        fs::remove_file(&path).unwrap();
    }
}
