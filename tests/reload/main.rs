//! A running proxy reads its configuration again: what changed is put in force, what is wrong is refused whole, and no
//! client notices either. The program itself, with files, signals and the commands that operators use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../net_support/mod.rs"]
mod net_support;

mod program;
mod under_media;

use std::{fs, os::unix::fs::symlink, sync::Arc};

use holdfast::simulator::{Simulator, SimulatorSettings};
use net_support::*;
use program::*;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_whole_with_its_line() {
    let mut upstream = Upstream::start().await;
    let (client, other) = (free_address(), free_address());
    let good = config(&[client], &[("a", upstream.address)], "");
    let program = Program::start("refused", &good);
    program.listening().await;
    let mut socket = connect(client).await;
    let (mut server, _) = upstream.accept().await;
    let before = program.get("/v1/reload").await;
    let in_force = program.get("/v1/config").await;

    program.refused("[listen]\nadress = []\n", &["holdfast.toml:2", "adress", "holdfast check"]).await;
    program.refused("[upstream\n", &["holdfast.toml:1"]).await;
    let nowhere = good.replace("[upstream]", "[upstream]\npolicy = \"best\"");
    program.refused(&nowhere, &["holdfast.toml:4", "policy"]).await;
    program.refused(&config(&[client], &[], ""), &["holdfast.toml", "upstream"]).await;
    // A port that somebody else has; the other one is not opened either.
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let more = config(&[client, other, taken.local_addr().unwrap()], &[("b", upstream.address)], "");
    let place = format!("cannot listen on {}", taken.local_addr().unwrap());
    program.refused(&more, &["holdfast.toml:2: listen.address", &place]).await;
    assert!(tokio::net::TcpStream::connect(other).await.is_err(), "it is open");
    // A certificate that is not there, and one that nobody would take.
    let wss = good.replace(
        "[upstream]",
        &format!("tls_cert = \"{0}/c.pem\"\ntls_key = \"{0}/k.pem\"\n[upstream]", program.folder.display()),
    );
    program.refused(&wss, &["holdfast.toml:3: listen.tls_cert", "c.pem"]).await;
    fs::write(program.folder.join("admin.token"), "short").unwrap();
    program.refused(&good, &["admin.token_file", "no token"]).await;
    fs::write(program.folder.join("admin.token"), TOKEN).unwrap();
    fs::remove_file(program.config()).unwrap();
    let (code, _, err) = program.command(&["reload"], TOKEN).await;
    assert_eq!(code, 78, "{err}");

    let after = program.get("/v1/reload").await;
    assert_eq!(
        (&after["generation"], &after["config_hash"]),
        (&before["generation"], &before["config_hash"])
    );
    assert_eq!(after["last"]["result"], "refused", "{after}");
    assert!(!after.to_string().contains(TOKEN), "{after}");
    assert_eq!(program.get("/v1/config").await, in_force);
    assert_eq!(program.get("/v1/nodes").await["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(program.metric("holdfast_reload_last_successful").await, 0.0);
    assert_eq!(program.metric("holdfast_reloads_total{result=\"refused\"}").await, 8.0);
    let line = program.line("reload_refused", 0).await;
    assert!(line["cause"].as_str().unwrap().contains("holdfast.toml:2"), "{line}");
    assert_eq!((&line["level"], &line["trigger"]), (&"ERROR".into(), &"api".into()), "{line}");

    // Whoever is there has noticed nothing, and what is right is taken.
    send(&mut socket, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    let report = program.reload(&good).await;
    assert_eq!((&report["result"], &report["summary"]), (&"unchanged".into(), &"nothing changed".into()));
    assert_eq!(program.metric("holdfast_reload_last_successful").await, 1.0);
    let (code, _, err) = program.command(&["reload"], OTHER_TOKEN).await;
    assert_eq!(code, 69, "not by whoever comes: {err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_under_sessions_and_nobody_is_closed() {
    let [a, b, c] = [(); 3].map(|()| Simulator::start(SimulatorSettings::default()));
    let (a, b, c) = (a.await.unwrap(), b.await.unwrap(), c.await.unwrap());
    let client = free_address();
    let program = Program::start("nodes", &config(&[client], &[("a", a.address()), ("b", b.address())], ""));
    program.listening().await;
    let clients = clients(client, 20).await;
    assert_eq!((sessions(&a), sessions(&b)), (10, 10));

    // One comes, one goes, one is elsewhere and one is told otherwise.
    let more = format!("[[upstream.node]]\nname = \"c\"\nurl = \"ws://{}\"\nweight = 3\n", c.address());
    let report = program.reload(&config(&[client], &[("b", b.address())], &more)).await;
    assert_eq!(changes(&report), ["node c added", "node a drained"]);
    assert_eq!(report["summary"], "1 node added, 1 drained");
    assert_eq!((&report["result"], &report["generation"]), (&"accepted".into(), &2.into()));
    program.line("node_gone", 0).await;
    assert_eq!(sessions(&a), 0);
    assert_eq!(sessions(&b) + sessions(&c), 20);
    let names = |nodes: &Value| -> Vec<String> {
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(&program.get("/v1/nodes").await), ["b", "c"]);

    let more = more.replace("weight = 3", "weight = 2\nbackup = true");
    let report = program.reload(&config(&[client], &[("b", a.address())], &more)).await;
    assert_eq!(changes(&report), ["node b added", "node c changed", "node b~1 drained"]);
    program.line("node_gone", 1).await;
    assert_eq!(sessions(&b), 0, "b is elsewhere");
    let nodes = program.get("/v1/nodes").await;
    assert_eq!((names(&nodes), &nodes["nodes"][1]["weight"]), (vec!["b".into(), "c".into()], &2.into()));
    assert_eq!(sessions(&a) + sessions(&c), 20);

    let summary = clients.end().await;
    assert_eq!((summary.survived, summary.lost), (20, 0), "{summary:?}");
    assert_eq!((summary.established_again, summary.reported), (0, 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_can_change_live_does_and_the_rest_is_named() {
    let mut upstream = Upstream::start().await;
    let (first, second) = (free_address(), free_address());
    let nodes = [("a", upstream.address)];
    let program = Program::start("live", &config(&[first], &nodes, ""));
    program.listening().await;
    let mut socket = connect(first).await;
    let (mut server, _) = upstream.accept().await;

    // By the signal, and by another port.
    program.write(&config(&[second], &nodes, ""));
    program.hang_up();
    let line = program.line("reloaded", 0).await;
    assert_eq!(line["summary"], "1 listener opened, 1 closed", "{line}");
    wait_until("the port is closed", || std::net::TcpStream::connect(first).is_err()).await;
    let _one = connect(second).await;
    let (_kept, _) = upstream.accept().await;
    send(&mut socket, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO, "whoever came through it stays");

    // Limits, whom it lets in, its token, its log.
    fs::write(program.folder.join("admin.token"), OTHER_TOKEN).unwrap();
    let more = "[limits]\nsessions_max = 1\n[health]\nlive_path = \"/alive\"\n[log]\nlevel = \"warn\"\n\
                queue_bytes_max = 99999\n[app.x]\nrestore_mode = \"notify\"\n[media]\nworkers = 3\n";
    let report = program.reload(&config(&[second], &nodes, more)).await;
    assert_eq!(
        changes(&report),
        [
            "log level warn changed",
            "token admin.token_file changed",
            "setting app.x changed",
            "setting health.live_path changed",
            "setting limits.sessions_max changed",
        ]
    );
    assert_eq!(report["kept"], serde_json::json!(["log.queue_bytes_max", "media.workers"]), "{report}");
    assert!(report["summary"].as_str().unwrap().contains("takes a restart"), "{report}");
    assert!(!report.to_string().contains(OTHER_TOKEN), "{report}");
    assert!(try_connect(second, "/", &[]).await.is_err(), "there are as many as there may be");
    send(&mut socket, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO, "and they stay");
    let (code, _, err) = program.command(&["reload"], TOKEN).await;
    assert_eq!(code, 69, "the old token is none: {err}");
    let alive = raw_exchange(second, b"GET /alive HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    let shown = program.get("/v1/config").await;
    assert_eq!((&shown["limits"]["sessions_max"], &shown["media"]["workers"]), (&1.into(), &2.into()));

    program
        .write(&config(&[second], &nodes, "").replace("[upstream]", "deny = [\"127.0.0.0/8\"]\n[upstream]"));
    let (code, out, err) = program.command(&["reload"], OTHER_TOKEN).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("setting listen.deny changed"), "{out}");
    assert!(try_connect(second, "/", &[]).await.is_err(), "it is not admitted");
    // The one that made the log quieter was not told there any more, the one that made it louder was.
    let line = program.line("reloaded", 1).await;
    assert!(line["summary"].as_str().unwrap().contains("log level changed"), "{line}");
    assert_eq!(line["generation"], 4, "{line}");
    send(&mut socket, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_another_one_for_those_who_come() {
    use tokio_rustls::{TlsConnector, rustls};
    let mut upstream = Upstream::start().await;
    let client = free_address();
    let folder = std::env::temp_dir().join(format!("holdfast-reload-certificates-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let issue = || {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(folder.join("c.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("k.pem"), key.serialize_pem()).unwrap();
        certificate.der().clone()
    };
    let connect = async |der: rustls::pki_types::CertificateDer<'static>| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(client).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let request = format!("wss://localhost:{}/", client.port());
        Ok::<_, std::io::Error>(tokio_tungstenite::client_async(request, tls).await.unwrap().0)
    };
    let first = issue();
    let text = config(&[client], &[("a", upstream.address)], "").replace(
        "[upstream]",
        &format!("tls_cert = \"{0}/c.pem\"\ntls_key = \"{0}/k.pem\"\n[upstream]", folder.display()),
    );
    let program = Program::start("certificate", &text);
    program.listening().await;
    let mut socket = connect(first.clone()).await.unwrap();
    let (mut server, _) = upstream.accept().await;

    let second = issue();
    let report = program.reload(&text).await;
    assert_eq!(report["summary"], "certificate renewed", "{report}");
    assert!(connect(first).await.is_err(), "the old one is not shown any more");
    let _other = connect(second.clone()).await.unwrap();
    futures_util::SinkExt::send(&mut socket, HELLO.into()).await.unwrap();
    assert_eq!(next_text(&mut server).await, HELLO, "whoever came with it stays");
    assert_eq!(program.reload(&text).await["result"], "unchanged");

    // One whose key is another's changes nothing.
    fs::write(folder.join("k.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    program.refused(&text, &["holdfast.toml:3: listen.tls_cert", "do not belong together"]).await;
    assert!(connect(second).await.is_ok());
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_another_one_is_read_by_itself_where_that_is_wanted() {
    let upstream = Upstream::start().await;
    let client = free_address();
    let watched = "[reload]\nwatch = true\nwatch_interval_ms = 50\n";
    let nodes = [("a", upstream.address)];
    let program = Program::start("watch", &config(&[client], &nodes, watched));
    program.listening().await;
    program.write(&config(&[client], &nodes, &format!("{watched}[limits]\nsessions_max = 7\n")));
    let line = program.line("reloaded", 0).await;
    assert_eq!((&line["trigger"], &line["summary"]), (&"file".into(), &"1 setting changed".into()), "{line}");
    program.write("[upstream\n");
    let line = program.line("reload_refused", 0).await;
    assert!(line["cause"].as_str().unwrap().contains("holdfast.toml:1"), "{line}");
    // As a mounted ConfigMap changes: the name is a link to a file in a folder that is exchanged.
    for (nth, sessions) in [(1, 8), (2, 9)] {
        let folder = program.folder.join(format!("data-{sessions}"));
        fs::create_dir_all(&folder).unwrap();
        program.write(&config(&[client], &nodes, &format!("{watched}[limits]\nsessions_max = {sessions}\n")));
        fs::rename(program.config(), folder.join("holdfast.toml")).unwrap();
        symlink(folder.join("holdfast.toml"), program.folder.join("link")).unwrap();
        fs::rename(program.folder.join("link"), program.config()).unwrap();
        let line = program.line("reloaded", nth).await;
        assert_eq!(line["trigger"], "file", "{line}");
        assert_eq!(program.get("/v1/config").await["limits"]["sessions_max"], sessions);
    }
    // Where it is asked for as well, one after the other.
    let asked = (0..4).map(|_| program.command(&["reload", "--json"], TOKEN));
    for (code, out, err) in futures_util::future::join_all(asked).await {
        assert_eq!(code, 0, "{err}{out}");
    }
}
