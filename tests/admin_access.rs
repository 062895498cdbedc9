//! Who may do what on the admin side of the real program: loopback reads, changes take the token or the Unix
//! socket, and what is not loopback takes the token for everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use common::ports;
use serde_json::Value;

const TOKEN: &str = "a-token-of-a-test-0123456789";

/// A proxy with an admin side, in a folder of its own.
struct Proxy {
    child: Child,
    folder: PathBuf,
    admin: u16,
}

impl Proxy {
    fn start(name: &str, settings: &str, environment: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [admin, client] = [ports::free_port().port(), ports::free_port().port()];
        let config = folder.join("holdfast.toml");
        fs::write(
            &config,
            format!(
                "[listen]\naddress = [\"127.0.0.1:{client}\"]\n[upstream]\nurl = [\"ws://127.0.0.1:9\"]\n\
                 [media]\nmode = \"direct\"\n[admin]\n{}",
                settings.replace("PORT", &admin.to_string())
            ),
        )
        .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["run", "--config"])
            .arg(&config)
            .env("XDG_RUNTIME_DIR", &folder)
            .env_remove("HOLDFAST_ADMIN_TOKEN")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {:?}", child.wait());
        }
        // Whoever does not read its lines would stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, folder, admin }
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, Value) {
        let address = format!("127.0.0.1:{}", self.admin);
        exchange(&mut TcpStream::connect(address).unwrap(), method, path, headers)
    }

    fn ask_socket(&self, socket: &Path, method: &str, path: &str) -> (u16, Value) {
        exchange(&mut UnixStream::connect(socket).unwrap(), method, path, "")
    }

    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.folder.join("holdfast").exists() || is_empty(&self.folder.join("holdfast")));
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

fn exchange(
    stream: &mut (impl std::io::Read + std::io::Write),
    method: &str,
    path: &str,
    headers: &str,
) -> (u16, Value) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn without_a_token_loopback_reads_and_the_socket_changes() {
    let proxy = Proxy::start("access", "listen = \"127.0.0.1:PORT\"\n", &[]);
    let (status, index) = proxy.ask("GET", "/v1", "");
    assert_eq!(status, 200, "{index}");
    let socket = PathBuf::from(index["socket"].as_str().unwrap());
    assert_eq!(socket, proxy.folder.join("holdfast").join(format!("admin-{}.sock", proxy.admin)));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(proxy.ask("GET", "/v1/build", "").1["version"], env!("CARGO_PKG_VERSION"));
    let (status, refusal) = proxy.ask("POST", "/v1/build", "");
    assert_eq!(status, 403);
    assert!(
        refusal["error"].as_str().unwrap().contains("HOLDFAST_ADMIN_TOKEN"),
        "it says what to do: {refusal}"
    );
    // What is not there is found out only by those who may ask.
    assert_eq!(proxy.ask_socket(&socket, "POST", "/v1/build").0, 405);
    assert_eq!(proxy.ask_socket(&socket, "GET", "/v1/config").1["admin"]["socket"], "auto");
    // A page of another site on this machine gets nothing.
    let (status, _) = proxy.ask("GET", "/v1", "Origin: https://evil.example\r\n");
    assert_eq!(status, 403);
    proxy.end();
}

#[test]
fn the_token_of_a_file_opens_the_port_and_is_not_told() {
    let folder = std::env::temp_dir().join(format!("holdfast-token-file-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let settings =
        format!("listen = \"127.0.0.1:PORT\"\nsocket = \"off\"\ntoken_file = \"{}\"\n", file.display());
    let proxy = Proxy::start("token", &settings, &[]);
    assert_eq!(proxy.ask("GET", "/v1", "").1["socket"], Value::Null);
    assert_eq!(proxy.ask("POST", "/v1/build", "").0, 401);
    assert_eq!(proxy.ask("POST", "/v1/build", "Authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(proxy.ask("POST", "/v1/build", &format!("Authorization: Bearer {TOKEN}\r\n")).0, 405);
    let (_, config) = proxy.ask("GET", "/v1/config", "");
    assert!(!config.to_string().contains(TOKEN) && config.to_string().contains("token_file"), "{config}");
    proxy.end();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_token_of_the_environment_goes_before_that_of_the_file() {
    let settings = "listen = \"127.0.0.1:PORT\"\nsocket = \"off\"\ntoken_file = \"/no/such/file\"\n";
    let proxy = Proxy::start("environment", settings, &[("HOLDFAST_ADMIN_TOKEN", TOKEN)]);
    assert_eq!(proxy.ask("POST", "/v1/build", &format!("Authorization: Bearer {TOKEN}\r\n")).0, 405);
    proxy.end();
}

#[test]
fn a_port_for_others_takes_a_token_for_everything() {
    let refused = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["run", "--listen", "127.0.0.1:0", "--upstream", "ws://127.0.0.1:9", "--media", "direct"])
        .args(["--admin", "0.0.0.0:0"])
        .env_remove("HOLDFAST_ADMIN_TOKEN")
        .output()
        .unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("HOLDFAST_ADMIN_TOKEN"), "{text}");
    let proxy = Proxy::start(
        "others",
        "listen = \"0.0.0.0:PORT\"\nsocket = \"off\"\n",
        &[("HOLDFAST_ADMIN_TOKEN", TOKEN)],
    );
    assert_eq!(proxy.ask("GET", "/v1", "").0, 200, "from loopback it is read as ever");
    proxy.end();
}

#[test]
fn a_socket_that_cannot_be_opened_is_told_and_stops_only_where_it_was_named() {
    let folder = std::env::temp_dir().join(format!("holdfast-socket-named-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let config = folder.join("holdfast.toml");
    let socket = folder.join("no/such/directory/admin.sock");
    fs::write(
        &config,
        format!(
            "[listen]\naddress = [\"127.0.0.1:0\"]\n[upstream]\nurl = [\"ws://127.0.0.1:9\"]\n[media]\nmode = \
             \"direct\"\n[admin]\nlisten = \"off\"\nsocket = \"{}\"\n",
            socket.display()
        ),
    )
    .unwrap();
    let refused =
        Command::new(env!("CARGO_BIN_EXE_holdfast")).args(["run", "--config"]).arg(&config).output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && text.contains("admin.socket"), "{text}");
    fs::remove_dir_all(folder).unwrap();
}
