//! `holdfast support-bundle`: one file with what somebody needs to know who is to help; also where no proxy answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use net_support::*;
use serde_json::Value;

const TOKEN: &str = "a-token-of-a-test-0123456789";

fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bundle").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// What a command says, and its code.
fn holdfast(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(arguments).env_remove("HOLDFAST_ADMIN_TOKEN");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// What is in an archive, by name.
fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let file = fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    entries.collect()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_proxy_tells_all_of_it() {
    let mut upstream = Upstream::start().await;
    let directory = directory("running");
    let (address, admin) = (free_address(), free_address());
    let (config, token, log) =
        (directory.join("holdfast.toml"), directory.join("token"), directory.join("holdfast.log"));
    fs::write(&token, TOKEN).unwrap();
    let text = format!(
        "[listen]\naddress = [\"{address}\"]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [upstream]\nurl = [\"wcs-a=ws://{}\"]\n[media]\nmode = \"direct\"\n\
         [admin]\nlisten = \"{admin}\"\nsocket = \"off\"\ntoken_file = \"{}\"\n\
         [log]\ntarget = \"file\"\nfile = \"{}\"\nanonymise_addresses = true\n",
        upstream.address,
        token.display(),
        log.display(),
    );
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["run", "--config", config])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    wait_until("it listens", || std::net::TcpStream::connect(address).is_ok()).await;
    let forwarded = [("X-Forwarded-For", "203.0.113.77")];
    let mut client = try_connect(address, "/", &forwarded).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    send(&mut client, CONNECTION).await;
    next_text(&mut server).await;

    let bundle = directory.join("bundle.tar.gz");
    let make = ["support-bundle", "--config", config, "--output", bundle.to_str().unwrap()];
    let (code, said) = holdfast(&make);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("not in it"), "{said}");
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    let all = unpacked(&bundle);
    for name in [
        "ABOUT.txt",
        "build.json",
        "check.json",
        "configuration.toml",
        "configuration-running.json",
        "limits.txt",
        "log.txt",
        "log-file.txt",
        "metrics.txt",
        "nodes.json",
        "outages.json",
        "sessions.json",
        "status.json",
        "versions.txt",
    ] {
        assert!(all.get(name).is_some_and(|text| !text.is_empty()), "{name} is not in {:?}", all.keys());
    }
    let json = |name: &str| serde_json::from_str::<Value>(&all[name]).unwrap();
    assert_eq!(json("sessions.json")["sessions"][0]["client"], "203.0.113.0", "{}", all["sessions.json"]);
    assert_eq!(json("nodes.json")["nodes"][0]["name"], "wcs-a", "{}", all["nodes.json"]);
    assert_eq!(json("status.json")["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        all["log.txt"].contains("event=\"connected\"") && all["log-file.txt"].contains("event=\"connected\"")
    );
    assert!(all["metrics.txt"].contains("holdfast_sessions"));
    assert!(
        all["limits.txt"].contains("open files of process") && all["limits.txt"].contains("Max open files")
    );
    assert!(all["configuration.toml"].contains("token_file"));
    assert!(all.values().all(|text| !text.contains(TOKEN) && !text.contains("203.0.113.77")));

    let (code, said) = holdfast(&make);
    assert!(code == 73 && said.contains("--force"), "{said}");
    assert_eq!(holdfast(&[&make[..], &["--force"]].concat()).0, 0);
    // The log is not for whoever comes by.
    let asked = raw_exchange(admin, b"GET /v1/log HTTP/1.0\r\n\r\n").await;
    assert!(asked.starts_with("HTTP/1.0 403"), "{asked}");
}

#[test]
fn without_a_proxy_it_says_so_and_has_the_rest() {
    let directory = directory("alone");
    let config = directory.join("holdfast.toml");
    let log = directory.join("holdfast.log");
    fs::write(&log, "the last line before the end, of rtsp://me:hunter2@cam/1\n").unwrap();
    let text = format!(
        "[upstream]\nurl = [\"ws://127.0.0.1:1\"]\n[admin]\nlisten = \"{}\"\n[log]\ntarget = \"file\"\nfile = \"{}\"\n",
        free_address(),
        log.display()
    );
    fs::write(&config, text).unwrap();
    let bundle = directory.join("bundle.tar.gz");
    let output = bundle.to_str().unwrap();
    let (code, said) =
        holdfast(&["support-bundle", "--config", config.to_str().unwrap(), "--output", output]);
    assert!(code == 0 && said.contains("not in it: what the running proxy knows: no answer from"), "{said}");
    let all = unpacked(&bundle);
    assert!(all["ABOUT.txt"].contains("The proxy did not answer"), "{}", all["ABOUT.txt"]);
    assert!(all["log-file.txt"].contains("the last line") && !all["log-file.txt"].contains("hunter2"));
    for name in ["configuration.toml", "check.json", "limits.txt", "versions.txt"] {
        assert!(!all[name].is_empty(), "{name}");
    }

    fs::write(&config, "[listen]\nadress = 1\n").unwrap();
    let flags = ["support-bundle", "--config", config.to_str().unwrap(), "--output", output, "--force"];
    let (code, said) = holdfast(&[&flags[..], &["--admin", &free_address().to_string()]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(unpacked(&bundle)["ABOUT.txt"].contains("listen.adress"), "{said}");
    let (code, said) = holdfast(&["support-bundle", "--output", "/no/such/directory/x.tar.gz"]);
    assert!(code == 73 && said.contains("/no/such/directory/x.tar.gz"), "{said}");
}
