//! `holdfast record` and `holdfast replay`, and what they ask the admin side of: what an operator types and reads, what
//! the commands exit with, who may record, and the file that the regression test of a demo outage is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use net_support::{running::Running, *};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const TOKEN: &str = "a-token-of-a-test-0123456789";

/// A proxy in a process of its own, and a folder for its files.
struct Bed {
    _running: Running,
    upstream: Upstream,
    folder: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Bed {
    async fn start(name: &str, settings: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (upstream, listen, admin) = (Upstream::start().await, free_address(), free_address());
        let token = folder.join("token");
        fs::write(&token, TOKEN).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let settings = format!(
            "[listen]\naddress = [\"{listen}\"]\n[upstream]\nurl = [\"ws://{}\"]\n[media]\nmode = \"direct\"\n\
             [log]\nlevel = \"error\"\n[admin]\nlisten = \"{admin}\"\nsocket = \"off\"\ntoken_file = \"{}\"\n{settings}",
            upstream.address,
            token.display(),
        );
        let running = Running::with_settings(&folder.join("holdfast.toml"), &settings, listen).await;
        let bed = Self { _running: running, upstream, folder, listen, admin };
        // Its ports are there before it is.
        let started = async {
            while bed.ask("GET", "/v1/recordings", &Value::Null, Some(TOKEN)).await.0 == 503 {
                tokio::task::yield_now().await;
            }
        };
        in_time("it has started", started).await;
        bed
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn record(&self, arguments: &[&str], file: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("record").args(arguments).arg(file).arg(format!("--admin={}", self.admin));
        command
            .arg(format!("--token-file={}", self.file("token").display()))
            .env_remove("HOLDFAST_ADMIN_TOKEN");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// One question to the admin side.
    async fn ask(&self, method: &str, path: &str, body: &Value, token: Option<&str>) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request =
            format!("{method} {path} HTTP/1.0\r\n{token}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw_exchange(self.admin, request.as_bytes()).await;
        let status =
            answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn recordings(&self) -> Vec<Value> {
        let (status, all) = self.ask("GET", "/v1/recordings", &Value::Null, Some(TOKEN)).await;
        assert_eq!(status, 200, "{all}");
        all["recordings"].as_array().unwrap().clone()
    }

    /// Waits until the recordings are so.
    async fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) {
        let so = async {
            while !is_so(&self.recordings().await) {
                tokio::task::yield_now().await;
            }
        };
        in_time(what, so).await;
    }

    /// A session that is established, loses its upstream, is restored, and ends.
    async fn outage(&mut self) {
        let mut client = connect(self.listen).await;
        let (mut first, _) = self.upstream.accept().await;
        send(&mut client, CONNECTION).await;
        assert_eq!(next_text(&mut first).await, CONNECTION);
        send(&mut first, &user_data("canary-token")).await;
        assert_eq!(next_text(&mut client).await, user_data("canary-token"));
        drop(first);
        let (mut second, _) = self.upstream.accept().await;
        assert_eq!(next_text(&mut second).await, CONNECTION);
        send(&mut second, &user_data("canary-second")).await;
        send(&mut second, r#"{"message":"somethingOdd","data":["canary-odd"]}"#).await;
        assert!(next_text(&mut client).await.contains("canary-odd"), "nothing of the outage");
        client.close(None).await.unwrap();
        close_of(&mut second).await;
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn said(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(text).unwrap())
}

fn replay(arguments: &[&str], file: &Path) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("replay").args(arguments).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    said(command.spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_records_an_outage_and_replays_it() {
    let mut bed = Bed::start("record", "").await;
    let file = bed.file("outage.jsonl");
    let recording = bed.record(&["--address=127.0.0.1", "--seconds=300"], &file);
    bed.until("it begins", |all| all.len() == 1).await;
    bed.outage().await;
    let path = file.clone();
    let written = || fs::read_to_string(&path).is_ok_and(|text| text.contains(r#""line":"session_end""#));
    wait_until("it is in the file as it comes", written).await;
    kill_process(Pid::from_child(&recording), Signal::INT).unwrap();
    let (code, text) = said(recording);
    assert!(code == 0 && text.contains("address 127.0.0.1; it was ended"), "{code} {text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(bed.recordings().await.is_empty(), "the proxy keeps nothing of it");

    let recorded = fs::read_to_string(&file).unwrap();
    assert!(!recorded.contains("canary"), "{recorded}");
    let (code, text) = replay(&[], &file);
    assert_eq!(code, 0, "{text}");
    for expected in
        ["client →", "connection", "is lost (epoch 0)", "SessionRestored", "replays to the same decisions"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let (code, json) = replay(&["--json"], &file);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["same"], &json["version"]), (0, &true.into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!((&json["sessions"][0]["difference"], &json["ended"]), (&Value::Null, &"it was ended".into()));

    let other = bed.file("other.jsonl");
    fs::write(&other, recorded.replacen("epoch 1 Other", "epoch 1 Publisher", 1)).unwrap();
    let (code, text) = replay(&[], &other);
    assert!(
        code == 1 && text.contains("recorded at line") && text.contains("epoch 1 Other"),
        "{code} {text}"
    );
    let (_, json) = replay(&["--json"], &other);
    let json: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(json["same"] == false && json["sessions"][0]["difference"]["told_at_line"].is_u64(), "{json}");

    // It never writes over a file.
    let (code, text) = said(bed.record(&["--stream=cam"], &file));
    assert!(code == 73 && text.contains("outage.jsonl"), "{code} {text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), recorded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recorded_or_replayed_is_told() {
    let mut bed = Bed::start("record-not", "record_bytes_max = 65536\n").await;
    let file = bed.file("x.jsonl");
    let (code, text) = said(bed.record(&["--session=s99"], &file));
    assert!(code == 1 && text.contains("there is no such session now") && !file.exists(), "{code} {text}");
    let (code, text) = said(bed.record(&["--session=s1", "--stream=cam"], &file));
    assert!(code == 64 && !file.exists(), "{code} {text}");
    let (code, text) = said(bed.record(&["--stream=cam", "--bytes=99999"], &file));
    assert!(code == 1 && text.contains("16384 to 65536"), "{code} {text}");

    // A session that lives already is shown, and not replayed.
    let mut client = connect(bed.listen).await;
    let (mut server, _) = bed.upstream.accept().await;
    send(&mut client, CONNECTION).await;
    assert_eq!(next_text(&mut server).await, CONNECTION);
    let recording = bed.record(&["--session=s1", "--seconds=2"], &file);
    bed.until("it is attached", |all| all.first().is_some_and(|one| one["sessions"] == 1)).await;
    send(&mut server, &user_data("canary-token")).await;
    assert_eq!(next_text(&mut client).await, user_data("canary-token"));
    let (code, text) = said(recording);
    assert!(code == 0 && text.contains("its time is over"), "{code} {text}");
    let (code, text) = replay(&[], &file);
    assert!(
        code == 65 && text.contains("getUserData") && text.contains("not recorded from its beginning"),
        "{text}"
    );

    let nothing = bed.file("no recording");
    for (content, says) in [(&b""[..], "empty"), (b"{}\n", "line 1"), (b"\xff\xfe\n", "UTF-8")] {
        fs::write(&nothing, content).unwrap();
        let (code, text) = replay(&[], &nothing);
        assert!(code == 66 && text.contains(says), "{code} {text}");
    }
    assert_eq!(replay(&[], Path::new("/no/such/file")).0, 66);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_change_things_may_record_or_read_a_recording() {
    let bed = Bed::start("record-access", "").await;
    let order = json!({"address": "127.0.0.1"});
    for (method, path, body) in [
        ("GET", "/v1/recordings", &Value::Null),
        ("POST", "/v1/recordings", &order),
        ("GET", "/v1/recordings/1/lines", &Value::Null),
        ("DELETE", "/v1/recordings/1", &Value::Null),
    ] {
        for (token, refused) in [(None, [401, 403]), (Some("another-token-0123456789"), [401, 401])] {
            let (status, answer) = bed.ask(method, path, body, token).await;
            assert!(refused.contains(&status), "{method} {path}: {status} {answer}");
        }
    }
    assert!(bed.recordings().await.is_empty(), "nobody has begun one");

    let described: Value = serde_json::from_str(include_str!("../src/admin/v1/openapi.json")).unwrap();
    let is_described = |path: &str, method: &str, status: &str, answer: &Value| {
        let mut schema = described["paths"][path][method]["responses"][status]["content"]["application/json"]
            ["schema"]
            .clone();
        assert!(schema.is_object(), "{method} {path}");
        schema["components"] = described["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?} in {answer}");
    };
    let (status, begun) = bed.ask("POST", "/v1/recordings", &order, Some(TOKEN)).await;
    assert_eq!((status, &begun["of"]), (201, &"address 127.0.0.1".into()), "{begun}");
    is_described("/v1/recordings", "post", "201", &begun);
    let (_, all) = bed.ask("GET", "/v1/recordings", &Value::Null, Some(TOKEN)).await;
    is_described("/v1/recordings", "get", "200", &all);
    let (status, lines) = bed.ask("GET", "/v1/recordings/1/lines?from=0", &Value::Null, Some(TOKEN)).await;
    assert_eq!((status, &lines["next"]), (200, &1.into()), "{lines}");
    is_described("/v1/recordings/{id}/lines", "get", "200", &lines);
    for (path, status) in [("/v1/recordings/9/lines", 404), ("/v1/recordings/1/lines?from=x", 400)] {
        assert_eq!(bed.ask("GET", path, &Value::Null, Some(TOKEN)).await.0, status, "{path}");
    }
    for expected in [204, 404] {
        assert_eq!(bed.ask("DELETE", "/v1/recordings/1", &Value::Null, Some(TOKEN)).await.0, expected);
    }
}

/// With `admin.record_bytes_max = 0` nobody can record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_forbidden() {
    let bed = Bed::start("record-off", "record_bytes_max = 0\n").await;
    let (code, text) = said(bed.record(&["--stream=cam"], &bed.file("x.jsonl")));
    assert!(code == 1 && text.contains("admin.record_bytes_max is 0"), "{code} {text}");
}
