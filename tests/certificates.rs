//! What clients of wss are shown and have to show, with `openssl s_client` and rustls as the clients: renewal under
//! sessions, several names, OCSP answers, certificates of clients, versions and suites.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use futures_util::{SinkExt, StreamExt};
use holdfast::{
    config::{CertificateSettings, ClientAuth, NetSettings, SessionSettings, TlsMin, UnknownNames},
    net::Proxy,
    telemetry::LogCapture,
};
use net_support::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, HandshakeKind, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How often the proxy looks at the files here.
const WATCH: Duration = Duration::from_millis(50);

/// All lines of this process: files are looked at on threads of their own. Tests tell theirs by their directories.
static LOG: LazyLock<LogCapture> = LazyLock::new(|| {
    let capture = LogCapture::new();
    capture.everywhere().unwrap();
    capture
});

/// An authority in a directory of its own.
struct Authority {
    directory: PathBuf,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

impl Authority {
    fn new(test: &str) -> Self {
        LazyLock::force(&LOG);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("certificates-{test}"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = common_name("ca of the test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = KeyIdMethod::Sha256;
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("ca.key"), key.serialize_pem()).unwrap();
        Self { directory, der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A certificate and its key, as PEM.
    fn certify(
        &self,
        common: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> [String; 2] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = common_name(common);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }

    fn write(&self, file: &str, [certificate, key]: &[String; 2]) {
        fs::write(self.path(&format!("{file}.pem")), certificate).unwrap();
        fs::write(self.path(&format!("{file}.key")), key).unwrap();
    }

    /// One for `localhost` among others, in files.
    fn issue(&self, file: &str, names: &[&str]) -> CertificateSettings {
        self.write(file, &self.certify(file, names, |_| {}));
        CertificateSettings {
            cert: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            ocsp: None,
            names: Vec::new(),
        }
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl").current_dir(&self.directory).args(arguments).output();
        let output = output.expect("openssl is missing; `scripts/install test` installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// An OCSP answer about a certificate of ours, by openssl as the responder.
    fn ocsp(&self, file: &str, status: &str, out: &str) {
        let serial = self.openssl(&["x509", "-in", &format!("{file}.pem"), "-noout", "-serial"]);
        let serial = serial.trim().strip_prefix("serial=").unwrap().to_owned();
        let revoked = if status == "R" { "260101000000Z" } else { "" };
        fs::write(
            self.path("index.txt"),
            format!("{status}\t490101000000Z\t{revoked}\t{serial}\tunknown\t/CN={file}\n"),
        )
        .unwrap();
        fs::write(self.path("index.txt.attr"), "unique_subject = no\n").unwrap();
        let cert = format!("{file}.pem");
        let of_ca = [
            "-index",
            "index.txt",
            "-CA",
            "ca.pem",
            "-rsigner",
            "ca.pem",
            "-rkey",
            "ca.key",
            "-issuer",
            "ca.pem",
        ];
        let about = ["-cert", &cert, "-ndays", "7", "-respout", out, "-noverify"];
        self.openssl(&[&["ocsp"][..], &of_ca, &about].concat());
    }

    /// A client that trusts it; sessions are resumed between its connections.
    fn client(&self, shown: Option<&[String; 2]>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            Some([certificate, key]) => {
                use tokio_rustls::rustls::pki_types::pem::PemObject as _;
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }

    fn lines(&self, event: &str) -> Vec<String> {
        let ours = |line: &String| line.contains(&*self.directory.to_string_lossy());
        LOG.lines_with(&format!("\"event\":\"{event}\"")).into_iter().filter(ours).collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

async fn tls_proxy(
    certificates: &[&CertificateSettings],
    change: impl FnOnce(&mut NetSettings),
) -> (Proxy, Upstream) {
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.listen.certificates = certificates.iter().map(|one| (*one).clone()).collect();
    settings.listen.tls_watch = WATCH;
    change(&mut settings);
    (start(settings).await, upstream)
}

/// What `openssl s_client` says of a connection.
async fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("openssl is missing; `scripts/install test` installs it");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// The common name of the certificate that openssl is shown.
async fn shown(address: SocketAddr, arguments: &[&str]) -> String {
    let said = s_client(address, arguments).await;
    let line = said.lines().find_map(|line| line.strip_prefix("subject="));
    line.unwrap_or_else(|| panic!("{said}")).replace(' ', "").trim_start_matches("CN=").to_owned()
}

type Session = WebSocketStream<client::TlsStream<TcpStream>>;

async fn session(
    connector: &TlsConnector,
    address: SocketAddr,
) -> Result<(Session, Option<HandshakeKind>), String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    let kind = stream.get_ref().1.handshake_kind();
    let (socket, _) = client_async("wss://localhost/x", stream).await.map_err(|error| error.to_string())?;
    Ok((socket, kind))
}

/// Says something that the server hears, and hears something back.
async fn talks(client: &mut Session, server: &mut UpstreamSocket) {
    client.send(Message::text(HELLO)).await.unwrap();
    assert_eq!(next_text(server).await, HELLO);
    server.send(Message::text(HELLO)).await.unwrap();
    assert_eq!(in_time("the answer", client.next()).await.unwrap().unwrap(), Message::text(HELLO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_to_new_connections_and_no_session_notices() {
    let authority = Authority::new("renewed");
    let files = authority.issue("first", &["localhost"]);
    let (proxy, mut upstream) = tls_proxy(&[&files], |_| {}).await;
    let address = proxy.address();
    let connector = authority.client(None);
    let (mut client, kind) = session(&connector, address).await.unwrap();
    assert_eq!(kind, Some(HandshakeKind::Full));
    let (mut server, _) = upstream.accept().await;
    talks(&mut client, &mut server).await;
    assert_eq!(shown(address, &[]).await, "first");

    // Half of it is written: the pair does not fit, and the former is shown.
    let second = authority.certify("second", &["localhost"], |_| {});
    fs::write(&files.cert, &second[0]).unwrap();
    wait_until("it is told", || authority.lines("certificate_unusable").len() == 1).await;
    assert_eq!(shown(address, &[]).await, "first");
    let told = authority.lines("certificate_unusable").remove(0);
    assert!(told.contains("do not belong together") && told.contains("holdfast check"), "{told}");
    fs::write(&files.key, &second[1]).unwrap();
    wait_until("it is renewed", || authority.lines("certificates_changed").len() == 1).await;
    assert_eq!(shown(address, &[]).await, "second");

    // Who was there stays, and who comes back resumes.
    talks(&mut client, &mut server).await;
    let (_again, kind) = session(&connector, address).await.unwrap();
    assert_eq!(kind, Some(HandshakeKind::Resumed), "tickets outlive the certificate");

    // A file that cannot be read at all is told once, however long it stays so.
    fs::write(&files.cert, "no certificate").unwrap();
    wait_until("it is told", || authority.lines("certificate_unusable").len() == 2).await;
    let_pass(WATCH * 6).await;
    assert_eq!(authority.lines("certificate_unusable").len(), 2);
    assert_eq!(shown(address, &[]).await, "second");
    // As certbot does it: a link is turned to another file.
    authority.write("third", &authority.certify("third", &["localhost"], |_| {}));
    for (link, to) in [(&files.cert, "third.pem"), (&files.key, "third.key")] {
        fs::remove_file(link).unwrap();
        std::os::unix::fs::symlink(authority.path(to), link).unwrap();
    }
    wait_until("it is renewed", || authority.lines("certificates_changed").len() == 2).await;
    assert_eq!(shown(address, &[]).await, "third");
    talks(&mut client, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_that_is_broken_keeps_no_other_from_being_renewed_and_zero_looks_at_none() {
    let authority = Authority::new("several");
    let (one, two) = (authority.issue("one", &["one.test"]), authority.issue("two", &["two.test"]));
    let (proxy, _upstream) = tls_proxy(&[&one, &two], |_| {}).await;
    let (still, _of_it) =
        tls_proxy(&[&one, &two], |settings| settings.listen.tls_watch = Duration::ZERO).await;
    fs::remove_file(&one.cert).unwrap();
    authority.write("two", &authority.certify("newer", &["two.test"], |_| {}));
    wait_until("the other is renewed", || !authority.lines("certificates_changed").is_empty()).await;
    wait_until("the broken one is told", || !authority.lines("certificate_unusable").is_empty()).await;
    assert!(authority.lines("certificate_unusable")[0].contains("one.pem"));
    assert_eq!(shown(proxy.address(), &["-servername", "two.test"]).await, "newer");
    assert_eq!(shown(proxy.address(), &["-servername", "one.test"]).await, "one");
    assert_eq!(shown(still.address(), &["-servername", "two.test"]).await, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_shown_the_certificate_that_has_the_name_it_asks_for() {
    let authority = Authority::new("names");
    let first = authority.issue("first", &["first.test"]);
    let below = authority.issue("below", &["*.example.test"]);
    let exact = authority.issue("exact", &["wcs.example.test", "Other.test"]);
    let named = CertificateSettings {
        names: vec!["named.test".parse().unwrap()],
        ..authority.issue("named", &["elsewhere.test"])
    };
    let all = [&first, &below, &exact, &named];
    let (proxy, _upstream) = tls_proxy(&all, |_| {}).await;
    let (strict, _of_it) = tls_proxy(&all, |settings| {
        settings.listen.tls_unknown_names = UnknownNames::Refuse;
    })
    .await;
    for (name, expected) in [
        ("first.test", "first"),
        ("a.example.test", "below"),
        ("A.EXAMPLE.test", "below"),
        ("wcs.example.test", "exact"),
        ("WCS.Example.Test", "exact"),
        ("other.test", "exact"),
        ("named.test", "named"),
    ] {
        for proxy in [&proxy, &strict] {
            assert_eq!(shown(proxy.address(), &["-servername", name]).await, expected, "{name}");
        }
    }
    for unknown in ["a.b.example.test", "example.test", "elsewhere.test", "nobody.test"] {
        assert_eq!(shown(proxy.address(), &["-servername", unknown]).await, "first", "{unknown}");
        let said = s_client(strict.address(), &["-servername", unknown]).await;
        assert!(said.contains("no peer certificate available"), "{said}");
    }
    assert_eq!(shown(strict.address(), &["-noservername"]).await, "first");
    assert!(!LOG.lines_with("listen.tls_unknown_names").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_kinds_of_keys_for_one_name_a_client_gets_the_one_it_can_verify() {
    let authority = Authority::new("kinds");
    let ecdsa = authority.issue("ecdsa", &["localhost"]);
    authority.openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "rsa.key",
        "-out",
        "rsa.pem",
        "-subj",
        "/CN=rsa",
        "-addext",
        "subjectAltName=DNS:localhost",
    ]);
    let rsa = CertificateSettings {
        cert: authority.path("rsa.pem"),
        key: authority.path("rsa.key"),
        ..ecdsa.clone()
    };
    let (proxy, _upstream) = tls_proxy(&[&ecdsa, &rsa], |_| {}).await;
    let of = |suite| ["-tls1_2", "-servername", "localhost", "-cipher", suite];
    assert_eq!(shown(proxy.address(), &of("ECDHE-RSA-AES128-GCM-SHA256")).await, "rsa");
    assert_eq!(shown(proxy.address(), &of("ECDHE-ECDSA-AES128-GCM-SHA256")).await, "ecdsa");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ocsp_answer_goes_with_its_certificate_as_long_as_it_is_about_it_and_good() {
    let authority = Authority::new("ocsp");
    let mut files = authority.issue("stapled", &["localhost"]);
    authority.issue("other", &["localhost"]);
    authority.ocsp("stapled", "V", "good.der");
    authority.ocsp("stapled", "R", "revoked.der");
    authority.ocsp("other", "V", "other.der");
    files.ocsp = Some(authority.path("now.der"));
    let put = |from: &str| fs::copy(authority.path(from), authority.path("now.der")).unwrap();
    put("good.der");
    let (proxy, _upstream) = tls_proxy(&[&files], |_| {}).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(proxy.address(), &["-status", version]).await;
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
    }
    fs::write(authority.path("garbage.der"), [0x30, 0x82, 0xff, 0xff, 0x0a, 0x01]).unwrap();
    // A responder that says "try later".
    fs::write(authority.path("later.der"), [0x30, 0x03, 0x0a, 0x01, 0x03]).unwrap();
    for (index, (from, why)) in [
        ("revoked.der", "revoked"),
        ("other.der", "another certificate"),
        ("garbage.der", "no OCSP answer"),
        ("later.der", "responder"),
    ]
    .into_iter()
    .enumerate()
    {
        put(from);
        wait_until(from, || authority.lines("staple_unusable").len() == index + 1).await;
        assert!(
            authority.lines("staple_unusable")[index].contains(why),
            "{:?}",
            authority.lines("staple_unusable")
        );
        let said = s_client(proxy.address(), &["-status"]).await;
        assert!(said.contains("OCSP response: no response sent"), "{said}");
    }
    put("good.der");
    let changes = || authority.lines("certificates_changed").len();
    wait_until("it is shown again", || changes() == 2).await;
    assert!(s_client(proxy.address(), &["-status"]).await.contains("Cert Status: good"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_where_that_is_asked_and_revoked_ones_are_refused_at_once() {
    let authority = Authority::new("clients");
    let files = authority.issue("server", &["localhost"]);
    let serial =
        |number: u64| move |params: &mut CertificateParams| params.serial_number = Some(number.into());
    let (alice, mallory) =
        (authority.certify("alice", &[], serial(7)), authority.certify("mallory", &[], serial(8)));
    let stranger = Authority::new("clients-strangers").certify("alice", &[], |_| {});
    let revoke = |serials: &[u64]| {
        let now = SystemTime::now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(86_400)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(authority.path("crl.pem"), params.signed_by(&authority.issuer).unwrap().pem().unwrap())
            .unwrap();
    };
    revoke(&[]);
    let asks = |auth| {
        let (ca, crl) = (authority.path("ca.pem"), authority.path("crl.pem"));
        move |settings: &mut NetSettings| {
            settings.listen.client_auth = auth;
            settings.listen.client_ca = Some(ca);
            settings.listen.client_crl = Some(crl);
        }
    };
    let (required, mut upstream) = tls_proxy(&[&files], asks(ClientAuth::Required)).await;
    let (optional, _behind) = tls_proxy(&[&files], asks(ClientAuth::Optional)).await;
    let address = required.address();
    assert!(session(&authority.client(None), address).await.is_err());
    let refused = LOG.lines_with("the client showed no certificate");
    assert!(refused.iter().any(|line| line.contains("listen.client_auth")), "{refused:?}");
    for proxy in [&required, &optional] {
        assert!(session(&authority.client(Some(&stranger)), proxy.address()).await.is_err());
    }
    session(&authority.client(None), optional.address()).await.unwrap();

    let (by_alice, by_mallory) = (authority.client(Some(&alice)), authority.client(Some(&mallory)));
    let (mut client, _) = session(&by_alice, address).await.unwrap();
    let (mut server, _) = upstream.accept().await;
    let (mut other, _) = session(&by_mallory, address).await.unwrap();
    let (mut of_other, _) = upstream.accept().await;
    talks(&mut client, &mut server).await;
    talks(&mut other, &mut of_other).await;
    for name in ["alice", "mallory"] {
        let lines = LOG.lines_with(&format!("\"certificate\":\"CN={name}\""));
        assert!(lines.iter().any(|line| line.contains("\"event\":\"connected\"")), "{name}");
    }
    // A ticket stands for a check that was made before: it must not get past the new list.
    let (_resumed, kind) = session(&by_mallory, address).await.unwrap();
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    revoke(&[8]);
    wait_until("the list counts", || LOG.lines_with("clients' certificates are checked anew").len() >= 2)
        .await;
    assert!(session(&by_mallory, address).await.is_err());
    session(&by_alice, address).await.unwrap();
    talks(&mut other, &mut of_other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_suites_are_those_of_the_settings() {
    let authority = Authority::new("versions");
    let files = authority.issue("server", &["localhost"]);
    let (newest, _upstream) = tls_proxy(&[&files], |settings| settings.listen.tls_min = TlsMin::V13).await;
    let old = s_client(newest.address(), &["-tls1_2"]).await;
    assert!(old.contains("no peer certificate available"), "{old}");
    assert_eq!(shown(newest.address(), &["-tls1_3"]).await, "server");
    let suites = ["TLS13_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"];
    let suites = suites.map(|name| name.parse().unwrap()).to_vec();
    let (few, _behind) = tls_proxy(&[&files], |settings| settings.listen.tls_suites = suites).await;
    for (version, suite) in
        [("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256"), ("-tls1_2", "ECDHE-ECDSA-AES256-GCM-SHA384")]
    {
        let said = s_client(few.address(), &[version]).await;
        assert!(said.contains(suite), "{said}");
    }
    let other = s_client(few.address(), &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]).await;
    assert!(other.contains("no peer certificate available"), "{other}");

    let mut wrong = settings(&[free_address()]);
    wrong.listen.certificates = vec![files];
    wrong.listen.tls_suites = vec!["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".parse().unwrap()];
    let error = Proxy::start(wrong, SessionSettings::default()).await.unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("listen.tls_suites"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_is_near_is_told_once_and_the_first_of_the_chain_counts() {
    let authority = Authority::new("ends");
    let ends_in = |days: u64| {
        move |params: &mut CertificateParams| {
            params.not_after = (SystemTime::now() + Duration::from_secs(days * 86_400)).into();
        }
    };
    let mut files = authority.issue("leaf", &["localhost"]);
    let mut leaf = authority.certify("leaf", &["localhost"], ends_in(100));
    // Nobody checks here whether one signs the other.
    leaf[0] += &authority.certify("intermediate", &[], ends_in(10))[0];
    authority.write("leaf", &leaf);
    authority.write("well", &authority.certify("well", &["well.test"], ends_in(15)));
    files.cert = authority.path("leaf.pem");
    let well = CertificateSettings {
        cert: authority.path("well.pem"),
        key: authority.path("well.key"),
        ..files.clone()
    };
    let (_proxy, _upstream) = tls_proxy(&[&files, &well], |_| {}).await;
    wait_until("it is told", || !authority.lines("certificate_ends").is_empty()).await;
    let_pass(WATCH * 4).await;
    let lines = authority.lines("certificate_ends");
    assert!(
        lines.len() == 1 && lines[0].contains("leaf.pem") && lines[0].contains("\"in_days\":10"),
        "{lines:?}"
    );
}

/// The code block of the README that begins with this line, without it.
fn block(fence: &str) -> String {
    let readme = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once(&format!("```{fence}\n")).unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_devices_get_in_by_the_haproxy_of_the_readme() {
    let authority = Authority::new("old");
    let pair = authority.certify("old", &["localhost"], |_| {});
    fs::write(authority.path("both.pem"), pair.concat()).unwrap();
    let files = authority.issue("direct", &["localhost"]);
    let (proxy, mut upstream) = tls_proxy(&[&files], |settings| {
        settings.listen.address =
            ["ws://127.0.0.1:0", "wss://127.0.0.1:0"].map(|at| at.parse().unwrap()).to_vec();
        settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        settings.listen.proxy_protocol = true;
    })
    .await;
    let front = free_address();
    let both = authority.path("both.pem");
    let mut config = block("haproxy");
    for (from, to) in [
        ("bind :8444", format!("bind {front}")),
        ("/etc/haproxy/both.pem", both.display().to_string()),
        ("127.0.0.1:8080", proxy.address().to_string()),
    ] {
        assert!(config.contains(from), "{config}");
        config = config.replace(from, &to);
    }
    let haproxy = haproxy::Haproxy::of_config(&config, front);
    wait_until("HAProxy listens", || std::net::TcpStream::connect(haproxy.front).is_ok()).await;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-quiet",
        "-tls1",
        "-cipher",
        "ALL:@SECLEVEL=0",
        "-connect",
        &front.to_string(),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut old = command.spawn().expect("openssl is missing; `scripts/install test` installs it");
    old.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    let (_server, request) = in_time("the dial", upstream.accept()).await;
    assert_eq!(request.headers().get("x-forwarded-proto").unwrap(), "https");
    let mut said = old.stdout.take().unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = [0; 12];
        said.read_exact(&mut answer).map(|()| answer)
    });
    let answer = in_time("the answer", answer).await.unwrap();
    old.kill().unwrap();
    old.wait().unwrap();
    assert_eq!(&answer.unwrap(), b"HTTP/1.1 101");
    // Holdfast itself speaks no such version.
    let said = s_client(proxy.addresses()[1], &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]).await;
    assert!(said.contains("no peer certificate available"), "{said}");
}
