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
    let mut file = create(&args.file)?;
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
    let mut taken = Taken::default();
    let followed = tokio::select! {
        followed = follow(&mut admin, begun.id, &mut file, args, &mut taken) => followed,
        _ = signals.next() => end_now(&mut admin, begun.id, &mut file, args, &mut taken).await,
    };
    // Whatever came of it: the proxy is to keep nothing that nobody fetches.
    let forgotten = admin.delete(&format!("/v1/recordings/{}", begun.id)).await;
    let ended = followed?;
    forgotten?;
    file.sync_all().map_err(|error| unwritable(&args.file, &error))?;
    let words = format!(
        "{}: {} lines, {} bytes of {}; {ended}. `holdfast replay {}` shows it.",
        args.file.display(),
        taken.next,
        taken.bytes,
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

/// What the file has.
#[derive(Debug, Default)]
struct Taken {
    next: usize,
    bytes: usize,
}

/// Writes what comes until it ends; why it ended.
async fn follow(
    admin: &mut Admin,
    id: u64,
    file: &mut File,
    args: &RecordArgs,
    taken: &mut Taken,
) -> Result<String, Failure> {
    loop {
        // The proxy answers when there is something, or after a while.
        if let Some(ended) = take(admin, id, file, args, taken).await? {
            return Ok(ended);
        }
    }
}

/// The operator has enough: what came until now is written, and no more; why it ended.
async fn end_now(
    admin: &mut Admin,
    id: u64,
    file: &mut File,
    args: &RecordArgs,
    taken: &mut Taken,
) -> Result<String, Failure> {
    let status = admin.get_with_right("/v1/recordings").await?;
    let all = status.get("recordings").and_then(Value::as_array);
    let this = all.and_then(|all| all.iter().find(|one| one.get("id").and_then(Value::as_u64) == Some(id)));
    let lines = this.and_then(|one| one.get("lines")).and_then(Value::as_u64).unwrap_or_default();
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    while taken.next < lines {
        if let Some(ended) = take(admin, id, file, args, taken).await? {
            return Ok(ended);
        }
    }
    let reason = "it was ended".to_owned();
    let end = serde_json::to_string(&Line::End { reason: reason.clone() }).unwrap_or_default();
    write(file, &format!("{end}\n"), args, taken)?;
    taken.next += 1;
    Ok(reason)
}

async fn take(
    admin: &mut Admin,
    id: u64,
    file: &mut File,
    args: &RecordArgs,
    taken: &mut Taken,
) -> Result<Option<String>, Failure> {
    let path = format!("/v1/recordings/{id}/lines?from={}", taken.next);
    let lines: RecordedLines = read(admin.get_with_right(&path).await?)?;
    let mut text = lines.lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    write(file, &text, args, taken)?;
    taken.next = lines.next;
    Ok(lines.ended)
}

fn write(file: &mut File, text: &str, args: &RecordArgs, taken: &mut Taken) -> Result<(), Failure> {
    file.write_all(text.as_bytes()).map_err(|error| unwritable(&args.file, &error))?;
    taken.bytes += text.len();
    Ok(())
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
