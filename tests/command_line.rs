//! The binary as an operator meets it: what it prints, what it writes, what it exits with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{X509, X509Name},
};
use socket2::{Domain, Socket, Type};

/// For checks that must not depend on what else runs here.
const NO_PORTS: [&str; 3] = ["--listen=127.0.0.1:0", "--admin=off", "--media=direct"];

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn holdfast(arguments: &[&str]) -> Answer {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_holdfast")).args(arguments).output().unwrap();
    Answer {
        code: status.code().expect("ended by a signal"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// An empty directory of this test's own.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn help_goes_to_stdout_and_wrong_usage_exits_64() {
    let help = holdfast(&["--help"]);
    assert_eq!(help.code, 0, "{}", help.err);
    assert!(help.out.contains("Examples:") && help.err.is_empty());
    assert_eq!(holdfast(&["--version"]).code, 0);
    for wrong in
        [&[][..], &["fly"], &["check", "--upstreem", "ws://a:1"], &["check", "--upstream", "http://a"]]
    {
        let answer = holdfast(wrong);
        assert_eq!(answer.code, 64, "{wrong:?}: {}", answer.err);
        assert!(answer.out.is_empty());
        assert!(!answer.err.is_empty());
    }
}

#[test]
fn a_certificate_is_made_once_and_its_key_is_private() {
    let directory = directory("certificate");
    let certs = directory.join("certs");
    let made = holdfast(&["certificate", "--directory", certs.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.err);
    let key = certs.join("key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read(&key).unwrap();

    let again = holdfast(&["certificate", "--directory", certs.to_str().unwrap()]);
    assert_eq!(again.code, 73);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert_eq!(fs::read(&key).unwrap(), first, "the refused run changed the key");

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let forced = holdfast(&["certificate", "--force", "--directory", certs.to_str().unwrap()]);
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Whether openssl believes this certificate by this authority, for this purpose.
fn is_believed(directory: &Path, certificate: &str, purpose: &str) -> bool {
    let arguments = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", certificate];
    let output = Command::new("openssl").current_dir(directory).args(arguments).output();
    output.expect("openssl is missing; `scripts/install test` installs it").status.success()
}

#[test]
fn an_authority_of_ones_own_signs_servers_and_clients_and_stays() {
    let directory = directory("authority");
    let place = directory.to_str().unwrap();
    let made = holdfast(&["certificate", "--directory", place, "--local-ca", "--name", "wcs.lan"]);
    assert!(made.code == 0 && made.out.contains("ca.pem"), "{}{}", made.out, made.err);
    let authority = fs::read(directory.join("ca.pem")).unwrap();
    assert_eq!(fs::metadata(directory.join("ca-key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    let client = holdfast(&["certificate", "--directory", place, "--client", "alice"]);
    assert!(client.code == 0 && client.out.contains("listen.client_ca"), "{}{}", client.out, client.err);
    assert!(
        is_believed(&directory, "cert.pem", "sslserver") && !is_believed(&directory, "cert.pem", "sslclient")
    );
    assert!(is_believed(&directory, "client.pem", "sslclient"));
    let again = holdfast(&["certificate", "--directory", place, "--local-ca", "--force"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(fs::read(directory.join("ca.pem")).unwrap(), authority, "devices trust it already");
    assert!(is_believed(&directory, "cert.pem", "sslserver"));

    let check = |settings: &str| {
        let file = directory.join("check.toml");
        let text = format!(
            "[listen]\naddress = [\"wss://127.0.0.1:0\"]\ntls_cert = \"{place}/cert.pem\"\ntls_key = \"{place}/key.pem\"\n\
             {settings}\n[upstream]\nurl = [\"ws://127.0.0.1:8080\"]\n[admin]\nlisten = \"off\"\n[media]\nmode = \"direct\"\n"
        );
        fs::write(&file, text).unwrap();
        holdfast(&["check", "--config", file.to_str().unwrap()])
    };
    let asked = check(&format!("client_auth = \"required\"\nclient_ca = \"{place}/ca.pem\""));
    assert!(
        asked.code == 0 && asked.out.contains("have to show a certificate signed by"),
        "{}{}",
        asked.out,
        asked.err
    );
    assert!(asked.out.contains("key matches, for localhost"), "{}", asked.out);
    let pair = format!("cert = \"{place}/cert.pem2\"\nkey = \"{place}/key.pem\"");
    fs::copy(directory.join("cert.pem"), directory.join("cert.pem2")).unwrap();
    let named = check(&format!(
        "[[listen.certificates]]\n{pair}\nnames = [\"other.lan\"]\nocsp = \"{place}/ca.pem\""
    ));
    assert!(named.out.contains("shown for other.lan, which is not in it"), "{}{}", named.out, named.err);
    assert!(named.out.contains("is no OCSP answer"), "{}", named.out);
    let missing = check("client_auth = \"optional\"\nclient_ca = \"/no/such.pem\"");
    assert!(missing.code == 66 && missing.err.contains("/no/such.pem"), "{}", missing.err);

    fs::write(directory.join("ca.pem"), fs::read(directory.join("client.pem")).unwrap()).unwrap();
    let other = holdfast(&["certificate", "--directory", place, "--client", "bob", "--force"]);
    assert!(other.code == 64 && other.err.contains("are no authority"), "{}", other.err);
}

#[test]
fn check_tells_whether_certificate_and_key_belong_together() {
    let directory = directory("pairs");
    for name in ["one", "two"] {
        let target = directory.join(name);
        assert_eq!(holdfast(&["certificate", "--directory", target.to_str().unwrap()]).code, 0);
    }
    let check = |certificate: &str, key: &str| {
        let certificate = directory.join(certificate);
        let key = directory.join(key);
        holdfast(&[
            "check",
            "--upstream=ws://127.0.0.1:8080",
            "--listen=127.0.0.1:0",
            "--admin=off",
            "--media=direct",
            "--tls-cert",
            certificate.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
        ])
    };
    let right = check("one/cert.pem", "one/key.pem");
    assert_eq!(right.code, 0, "{}", right.err);
    assert!(right.out.contains("wss://127.0.0.1:0"), "{}", right.out);

    let mixed = check("one/cert.pem", "two/key.pem");
    assert_eq!(mixed.code, 64);
    assert!(mixed.err.contains("do not belong together"), "{}", mixed.err);

    let swapped = check("one/key.pem", "one/cert.pem");
    assert_eq!(swapped.code, 64);
    assert!(swapped.err.contains("expected certificates as PEM"), "{}", swapped.err);

    let missing = check("one/cert.pem", "three/key.pem");
    assert_eq!(missing.code, 66);
    assert!(missing.err.contains("three/key.pem"), "{}", missing.err);
}

#[test]
fn check_warns_where_clients_may_not_reach_their_media() {
    let check = |arguments: &[&str]| {
        let answer =
            holdfast(&[&["check", "--upstream=ws://127.0.0.1:8080", "--admin=off"], arguments].concat());
        assert_eq!(answer.code, 0, "{}", answer.err);
        answer.out
    };
    let private = "--listen=10.1.2.3:8080";
    let media = "--media-listen=[::]:0";
    let warned = check(&[private, media]);
    assert!(warned.contains("warning") && warned.contains("private one (10.1.2.3)"), "{warned}");
    for silenced in
        [&[private, media, "--media-advertise=203.0.113.7,2001:db8::7"][..], &[private, "--media=direct"]]
    {
        let told = check(silenced);
        assert!(!told.contains("warning"), "{told}");
    }
    let listen = "--listen=[2001:db8::1]:8080";
    let warned = check(&[listen, "--media-listen=0.0.0.0:0"]);
    assert!(warned.contains("takes IPv4 alone"), "{warned}");
    let told = check(&[listen, media]);
    assert!(!told.contains("warning"), "{told}");
}

#[test]
fn check_shows_every_setting_on_request() {
    let shown = holdfast(
        &[&["check", "-u", "ws://127.0.0.1:8080", "--restore-rate=7", "--print-settings"], &NO_PORTS[..]]
            .concat(),
    );
    assert_eq!(shown.code, 0, "{}", shown.err);
    for line in ["upstream.restore_rate = 7\n", "hold.ms_max = 30000\n", "restore.mode = \"auto\"\n"] {
        assert!(shown.out.contains(line), "{line} is not in {}", shown.out);
    }
}

/// An address that refuses connections: bound, so that nobody else gets it, and nobody listens.
fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let url = format!("ws://{}", socket.local_addr().unwrap().as_socket().unwrap());
    (socket, url)
}

#[test]
fn check_connects_on_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut socket = tokio_tungstenite::tungstenite::accept(socket).unwrap();
        // The close frame of `check`, or the end of its connection.
        let _ = socket.read();
    });
    let answers = holdfast(&[&["check", "--upstream", &url, "--connect"], &NO_PORTS[..]].concat());
    assert_eq!(answers.code, 0, "{}", answers.err);
    assert!(answers.out.contains(&format!("{url} answers")), "{}", answers.out);
    server.join().unwrap();

    let (_bound, url) = nobody();
    let silent = holdfast(&[&["check", "--upstream", &url, "--connect"], &NO_PORTS[..]].concat());
    assert_eq!(silent.code, 69, "{}", silent.out);
    assert!(silent.err.contains("no connection"), "{}", silent.err);
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let flags = ["check", "-u", "ws://127.0.0.1:8080", "--restore-mode=anchor"];
    let answer = holdfast(&[&flags[..], &NO_PORTS].concat());
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains("needs media.mode"), "{}", answer.out);
}

#[test]
fn load_has_bounds_and_tells_when_nothing_answers() {
    let (_bound, url) = nobody();
    let bounded = holdfast(&["load", &url, "--sessions=20001"]);
    assert_eq!(bounded.code, 64);
    assert!(bounded.err.contains("--no-limit"), "{}", bounded.err);
    assert_eq!(holdfast(&["load", &url, "--rate=NaN"]).code, 64);
    let begun = Instant::now();
    let silent = holdfast(&["load", &url, "--sessions=2", "--hold=30", "--json"]);
    assert_eq!(silent.code, 69, "{}", silent.err);
    assert!(silent.err.contains("nobody listens at"), "{}", silent.err);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "1.5 s and a process on a busy machine, not the 30 s of a run"
    );
}

#[test]
fn check_names_certificates_that_clients_refuse() {
    let directory = directory("dates");
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    fs::write(directory.join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let days = |days| Asn1Time::days_from_now(days).unwrap();
    let at = |text| Asn1Time::from_str(text).unwrap();
    for (name, version, from, to) in [
        ("right.pem", 2, days(0), days(100)),
        ("soon.pem", 2, days(0), days(3)),
        ("expired.pem", 2, at("20200101000000Z"), at("20210101000000Z")),
        ("future.pem", 2, at("21200101000000Z"), at("21210101000000Z")),
        ("v1.pem", 0, days(0), days(100)),
    ] {
        write_certificate(&key, &directory.join(name), version, &from, &to);
    }
    let check = |name: &str| {
        let (cert, key) = (directory.join(name), directory.join("key.pem"));
        let pair = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        holdfast(&[&["check", "--upstream=ws://127.0.0.1:8080"], &NO_PORTS[..], &pair[..]].concat())
    };
    for (name, word) in
        [("expired.pem", "expired on Jan  1"), ("future.pem", "is not valid before"), ("v1.pem", "version 1")]
    {
        let answer = check(name);
        assert_eq!(answer.code, 64, "{name}: {}", answer.out);
        assert!(answer.err.contains(word) && answer.err.contains(name), "{name}: {}", answer.err);
    }
    let soon = check("soon.pem");
    assert!(soon.code == 0 && soon.out.contains("expires soon"), "{}{}", soon.out, soon.err);
    let right = check("right.pem");
    assert!(right.code == 0 && !right.out.contains("expires"), "{}{}", right.out, right.err);
}

fn write_certificate(key: &PKey<Private>, out: &Path, version: i32, from: &Asn1Time, to: &Asn1Time) {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "x").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(version).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(from).unwrap();
    certificate.set_not_after(to).unwrap();
    certificate.sign(key, MessageDigest::sha256()).unwrap();
    fs::write(out, certificate.build().to_pem().unwrap()).unwrap();
}

#[test]
fn a_simulated_server_names_the_port_that_is_taken() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = tcp.local_addr().unwrap().to_string();
    for flags in [["--control=127.0.0.1:0", "--listen"], ["--listen=127.0.0.1:0", "--control"]] {
        let answer = holdfast(&["simulate", flags[0], flags[1], &taken]);
        assert_eq!(answer.code, 69, "{}", answer.err);
        assert!(answer.err.contains(&taken) && answer.err.contains(flags[1]), "{}", answer.err);
    }
}

#[test]
fn check_names_ports_that_are_taken() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp_address) =
        (tcp.local_addr().map(|address| (address, tcp)).unwrap(), udp.local_addr().unwrap());
    let taken = tcp.0;
    let base = ["check", "--upstream=ws://127.0.0.1:8080"];
    for (flags, what) in [
        (vec![format!("--listen={taken}"), "--admin=off".into(), "--media=direct".into()], "listen"),
        (vec!["--listen=127.0.0.1:0".into(), format!("--admin={taken}"), "--media=direct".into()], "admin"),
        (
            vec![
                "--listen=127.0.0.1:0".into(),
                "--admin=off".into(),
                format!("--media-listen={udp_address}"),
            ],
            "media (UDP)",
        ),
        (
            vec!["--listen=127.0.0.1:0".into(), "--admin=off".into(), format!("--media-listen={taken}")],
            "media (TCP)",
        ),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let answer = holdfast(&[&base[..], &flags].concat());
        assert_eq!(answer.code, 69, "{what}: {}{}", answer.out, answer.err);
        assert!(answer.err.contains(what) && answer.err.contains("is taken"), "{what}: {}", answer.err);
    }
}

#[test]
fn check_knows_the_ports_of_the_proxy_that_runs() {
    // Its admin port, and a port for clients at all addresses.
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = TcpListener::bind("0.0.0.0:0").unwrap();
    let (asked, held) = (admin.local_addr().unwrap(), clients.local_addr().unwrap());
    let text = format!("{{\"listening\":[\"{held}\"]}}");
    thread::spawn(move || {
        for socket in admin.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 4096]).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            write!(socket, "{head}content-length: {}\r\n\r\n{text}", text.len()).unwrap();
        }
    });
    let check = |listen: String| {
        let flags = [format!("--listen={listen}"), format!("--admin={asked}")];
        holdfast(&["check", "--upstream=ws://127.0.0.1:8080", "--media=direct", &flags[0], &flags[1]])
    };
    let same = check(held.to_string());
    assert_eq!((same.code, same.out.contains("restart")), (0, false), "{}{}", same.out, same.err);
    let part = check(format!("127.0.0.1:{}", held.port()));
    assert_eq!(part.code, 0, "{}{}", part.out, part.err);
    assert!(part.out.contains("free after a restart"), "{}", part.out);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let foreign = check(other.local_addr().unwrap().to_string());
    assert_eq!(foreign.code, 69, "{}{}", foreign.out, foreign.err);
}

#[test]
fn check_tells_machines_all_it_found_and_exits_with_the_worst() {
    let directory = directory("check-json");
    let gone = directory.join("gone.pem");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--listen={}", tcp.local_addr().unwrap());
    let json = |flags: &[&str]| {
        let base = ["check", "--json", "--upstream=ws://127.0.0.1:8080", "--admin=off", "--media=direct"];
        let answer = holdfast(&[&base[..], flags].concat());
        let found: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!(found["exit_code"], answer.code, "{}", answer.out);
        found
    };
    let right = json(&["--listen=127.0.0.1:0"]);
    assert_eq!((&right["exit_code"], &right["error"]), (&0.into(), &serde_json::Value::Null));
    let findings = right["findings"].as_array().unwrap();
    assert!(findings.iter().any(|one| one["about"] == "kernel" && one["severity"] != "error"), "{right}");
    let low = findings.iter().filter(|one| one.get("set").is_some());
    assert!(low.into_iter().all(|one| one["severity"] == "note"), "{right}");

    let unavailable = json(&[&taken]);
    assert_eq!(unavailable["exit_code"], 69);
    let unreadable = json(&[&taken, "--upstream-ca", gone.to_str().unwrap()]);
    assert_eq!(unreadable["exit_code"], 66, "{unreadable}");
    let error = unreadable["error"].as_str().unwrap();
    assert!(error.contains("gone.pem") && error.contains("is taken"), "{error}");
    let wrong = json(&["--listen=127.0.0.1:0", "--tls-cert=x"]);
    assert_eq!(wrong["exit_code"], 64, "{wrong}");
}

#[test]
fn check_tells_whether_the_user_of_the_service_can_read_the_files() {
    let directory = directory("check-user");
    let token = directory.join("token");
    fs::write(&token, "a-token-of-a-test-0123456789\n").unwrap();
    let config = directory.join("holdfast.toml");
    let text =
        format!("[upstream]\nurl = [\"ws://127.0.0.1:1\"]\n[admin]\ntoken_file = \"{}\"\n", token.display());
    fs::write(&config, text).unwrap();
    let check = |mode: u32, user: &str| {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let flags = ["check", "--config", config.to_str().unwrap(), "--user", user];
        holdfast(&[&flags[..], &NO_PORTS[..]].concat())
    };
    let closed = check(0o600, "nobody");
    assert_eq!(closed.code, 66, "{}{}", closed.out, closed.err);
    assert!(closed.err.contains("the user nobody cannot read"), "{}", closed.err);
    let open = check(0o644, "root");
    assert_eq!(open.code, 0, "{}{}", open.out, open.err);
    assert!(
        open.out.contains("is open to every user") && open.out.contains("the user root can read"),
        "{}",
        open.out
    );
    let unknown = check(0o600, "no-such-user");
    assert!(unknown.code == 64 && unknown.err.contains("no-such-user"), "{}", unknown.err);
}
