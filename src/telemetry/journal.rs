//! Lines as entries of the systemd journal, with fields of their own.
//!
//! By its native protocol: one datagram per entry, or a sealed file of memory where an entry is too large for one. A
//! journal that takes nothing makes this wait, which is why only the thread of the queue may send (a layer that sends
//! from whoever logs would stop sessions).

use std::{
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
};
use serde_json::{Map, Value};

use super::sink::Sink;

/// What the journal knows the program by.
const IDENTIFIER: &str = "holdfast";
/// Longest name of a field that the journal takes.
const NAME_BYTES_MAX: usize = 64;
/// Keys of a line that are fields of the journal's own, or none at all.
const NOT_IN_MESSAGE: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// # Errors
    /// Nobody listens there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, path: path.to_owned() };
        // An empty datagram is no entry and tells whether somebody is there.
        journal.socket.send_to(&[], path)?;
        Ok(journal)
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if is_too_large(&error) => self.send_file(entry),
            Err(error) => Err(error),
        }
    }

    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let memory = memfd_create("holdfast-journal-entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(entry)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        beside.push(SendAncillaryMessage::ScmRights(&files));
        let address = SocketAddrUnix::new(&self.path)?;
        sendmsg_addr(&self.socket, &address, &[IoSlice::new(&[])], &mut beside, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn is_too_large(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::MSGSIZE) || errno == Some(Errno::NOBUFS)
}

impl Sink for Journal {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // Each is an entry of its own: one that is lost loses no other.
            result = result.and(self.send(&entry(line)));
        }
        result
    }
}

/// A line of JSON as an entry; what is none is a message.
fn entry(line: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(line.len() * 2);
    field(&mut entry, "SYSLOG_IDENTIFIER", IDENTIFIER);
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
        field(&mut entry, "PRIORITY", "3");
        field(&mut entry, "MESSAGE", &String::from_utf8_lossy(line));
        return entry;
    };
    let word = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    field(&mut entry, "PRIORITY", priority(word("level")));
    field(&mut entry, "MESSAGE", &message(&fields));
    field(&mut entry, "TARGET", word("target"));
    for (key, value) in fields.iter().filter(|(key, _)| !NOT_IN_MESSAGE.contains(&key.as_str())) {
        field(&mut entry, &name(key), &text(value));
    }
    entry
}

/// By level, as syslog has it.
fn priority(level: &str) -> &'static str {
    match level {
        "ERROR" => "3",
        "WARN" => "4",
        "INFO" => "6",
        _ => "7",
    }
}

/// What `journalctl` shows: the words, and the fields behind them.
fn message(fields: &Map<String, Value>) -> String {
    let mut shown = fields.get("message").map(text).unwrap_or_default();
    for (key, value) in fields.iter().filter(|(key, _)| !NOT_IN_MESSAGE.contains(&key.as_str())) {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(key);
        shown.push('=');
        shown.push_str(&text(value));
    }
    shown
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn name(key: &str) -> String {
    let upper = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    "HOLDFAST_".chars().chain(upper).take(NAME_BYTES_MAX).collect()
}

/// `NAME=value`, or with its length where the value has lines.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::{
        io::{IoSliceMut, Read as _, Seek as _},
        os::fd::OwnedFd,
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    /// Where the journal would listen.
    fn listen(name: &str) -> (UnixDatagram, PathBuf) {
        let path = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        (UnixDatagram::bind(&path).unwrap(), path)
    }

    /// What came: a datagram, or what is in the file that came with it.
    fn receive(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let came = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)
            .unwrap();
        let files: Vec<OwnedFd> = beside
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(files) => Some(files),
                _ => None,
            })
            .flatten()
            .collect();
        bytes.truncate(came.bytes);
        for file in files {
            assert!(bytes.is_empty(), "nothing beside the file");
            let mut file = std::fs::File::from(file);
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_line_is_an_entry_with_fields() {
        let (socket, path) = listen("journal");
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(receive(&socket), b"");
        let lines = "{\"timestamp\":\"2026\",\"level\":\"WARN\",\"event\":\"upstream_lost\",\"session\":\"s7\",\
            \"streams\":2,\"gaps_ms\":[1,2],\"message\":\"upstream lost\",\"target\":\"holdfast::session\"}\n\
            holdfast: a plain word\n";
        journal.write(lines.as_bytes()).unwrap();
        let entry = String::from_utf8(receive(&socket)).unwrap();
        assert_eq!(
            entry,
            "SYSLOG_IDENTIFIER=holdfast\nPRIORITY=4\n\
             MESSAGE=upstream lost event=upstream_lost gaps_ms=[1,2] session=s7 streams=2\n\
             TARGET=holdfast::session\nHOLDFAST_EVENT=upstream_lost\nHOLDFAST_GAPS_MS=[1,2]\n\
             HOLDFAST_SESSION=s7\nHOLDFAST_STREAMS=2\n"
        );
        let entry = String::from_utf8(receive(&socket)).unwrap();
        assert_eq!(entry, "SYSLOG_IDENTIFIER=holdfast\nPRIORITY=3\nMESSAGE=holdfast: a plain word\n");
        std::fs::remove_file(&path).unwrap();
        assert!(journal.write(b"nobody\n").is_err());
        assert!(Journal::open(&path).is_err());
    }

    #[test]
    fn what_is_too_large_for_a_datagram_comes_as_a_file() {
        let (socket, path) = listen("journal-large");
        let mut journal = Journal::open(&path).unwrap();
        receive(&socket);
        let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(2_000_000));
        journal.write(line.as_bytes()).unwrap();
        let entry = receive(&socket);
        assert!(
            entry.starts_with(b"SYSLOG_IDENTIFIER=holdfast\n") && entry.len() > 2_000_000,
            "{}",
            entry.len()
        );
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn lines_within_a_value_are_no_fields() {
        let text = entry(b"{\"message\":\"a\\nPRIORITY=0\",\"x\":\"y\\nMESSAGE=forged\"}");
        let length = |text: &str| (text.len() as u64).to_le_bytes().to_vec();
        let message = "a\nPRIORITY=0 x=y\nMESSAGE=forged";
        let mut expected = b"SYSLOG_IDENTIFIER=holdfast\nPRIORITY=7\nMESSAGE\n".to_vec();
        expected.extend(length(message));
        expected.extend(message.as_bytes());
        expected.extend(b"\nTARGET=\nHOLDFAST_X\n");
        expected.extend(length("y\nMESSAGE=forged"));
        expected.extend(b"y\nMESSAGE=forged\n");
        assert_eq!(text, expected);
    }
}
