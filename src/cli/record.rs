//! `holdfast record`: has a running proxy write down what sessions are told and decide, and puts it into a file of
//! the operator's as it comes.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde_json::{Map, Value};

use super::{Failure, admin::Admin, args::RecordArgs, signals::Signals, told};
use crate::{
    net::{RecordedLines, RecordingStatus},
    recording::Line,
};

/// Nobody but the operator reads it, though it has no secrets.
const FILE_MODE: u32 = 0o600;

pub(super) fn run(args: &RecordArgs, out: &mut impl Write) -> Result<(), Failure> {
    super::on_runtime(record(args, out))
}

async fn record(args: &RecordArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let mut admin = Admin::new(&args.admin)?;
    let file = create(&args.file)?;
    let begun: Result<RecordingStatus, Failure> =
        admin.post("/v1/recordings", &order(args)).await.and_then(read);
    let begun = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            // It is as it was before: the next try finds no file in its way.
            told(std::fs::remove_file(&args.file));
            return Err(failure);
        }
    };
    let mut fetch = Fetch { admin, id: begun.id, file, path: &args.file, lines: 0, bytes: 0 };
    let followed = tokio::select! {
        followed = fetch.follow() => followed,
        _ = signals.next() => fetch.end_now().await,
    };
    // Whatever came of it: the proxy is to keep nothing that nobody fetches.
    let forgotten = fetch.admin.delete(&format!("/v1/recordings/{}", begun.id)).await;
    let ended = followed?;
    forgotten?;
    fetch.file.sync_all().map_err(|error| unwritable(&args.file, &error))?;
    let words = format!(
        "{}: {} lines, {} bytes of {}; {ended}. `holdfast replay {}` shows it.",
        args.file.display(),
        fetch.lines,
        fetch.bytes,
        begun.of,
        args.file.display()
    );
    told(writeln!(out, "{words}"));
    Ok(())
}

fn order(args: &RecordArgs) -> Value {
    let mut order = Map::new();
    if let Some(session) = &args.session {
        order.insert("session".to_owned(), session.as_str().into());
    }
    if let Some(stream) = &args.stream {
        order.insert("stream".to_owned(), stream.as_str().into());
    }
    if let Some(address) = args.address {
        order.insert("address".to_owned(), address.to_string().into());
    }
    order.insert("seconds_max".to_owned(), args.seconds.into());
    if let Some(bytes) = args.bytes {
        order.insert("bytes_max".to_owned(), bytes.into());
    }
    order.insert("anonymise".to_owned(), args.anonymise.into());
    Value::Object(order)
}

/// What is fetched from the proxy into the file, and how much of it is there.
struct Fetch<'a> {
    admin: Admin,
    id: u64,
    file: File,
    path: &'a Path,
    lines: usize,
    bytes: usize,
}

impl Fetch<'_> {
    /// Writes what comes until it ends; why it ended.
    async fn follow(&mut self) -> Result<String, Failure> {
        loop {
            // The proxy answers when there is something, or after a while.
            if let Some(ended) = self.take().await? {
                return Ok(ended);
            }
        }
    }

    /// The operator has enough: what came until now is written, and no more; why it ended.
    async fn end_now(&mut self) -> Result<String, Failure> {
        let status = self.admin.get_with_right("/v1/recordings").await?;
        let all = status.get("recordings").and_then(Value::as_array);
        let is_this = |one: &&Value| one.get("id").and_then(Value::as_u64) == Some(self.id);
        let this = all.and_then(|all| all.iter().find(is_this));
        let lines = this.and_then(|one| one.get("lines")).and_then(Value::as_u64).unwrap_or_default();
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        while self.lines < lines {
            if let Some(ended) = self.take().await? {
                return Ok(ended);
            }
        }
        let reason = "it was ended".to_owned();
        let end = serde_json::to_string(&Line::End { reason: reason.clone() }).unwrap_or_default();
        self.write(&format!("{end}\n"))?;
        self.lines += 1;
        Ok(reason)
    }

    async fn take(&mut self) -> Result<Option<String>, Failure> {
        let path = format!("/v1/recordings/{}/lines?from={}", self.id, self.lines);
        let lines: RecordedLines = read(self.admin.get_with_right(&path).await?)?;
        let mut text = lines.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        self.write(&text)?;
        self.lines = lines.next;
        Ok(lines.ended)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.file.write_all(text.as_bytes()).map_err(|error| unwritable(self.path, &error))?;
        self.bytes += text.len();
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE);
    options.open(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Unwritable(format!("cannot write {}: {error}", path.display()))
}

fn read<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|error| Failure::Unavailable(format!("the answer is none of this version: {error}")))
}
