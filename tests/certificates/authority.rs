//! An authority for one test, and proxies and clients that go by what it signs.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use holdfast::{
    config::{CertificateSettings, NetSettings},
    net::Proxy,
    telemetry::LogCapture,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose,
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

use crate::net_support::*;

/// How often the proxy looks at the files here.
pub(crate) const WATCH: Duration = Duration::from_millis(50);

/// All lines of this process: files are looked at on threads of their own. Tests tell theirs by their directories.
pub(crate) static LOG: LazyLock<LogCapture> = LazyLock::new(|| {
    let capture = LogCapture::new();
    capture.everywhere().unwrap();
    capture
});

/// An authority in a directory of its own.
pub(crate) struct Authority {
    pub(crate) directory: PathBuf,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

impl Authority {
    pub(crate) fn new(test: &str) -> Self {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A certificate and its key, as PEM.
    pub(crate) fn certify(
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

    pub(crate) fn write(&self, file: &str, [certificate, key]: &[String; 2]) {
        fs::write(self.path(&format!("{file}.pem")), certificate).unwrap();
        fs::write(self.path(&format!("{file}.key")), key).unwrap();
    }

    /// One for `localhost` among others, in files.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> CertificateSettings {
        self.write(file, &self.certify(file, names, |_| {}));
        CertificateSettings {
            cert: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            ocsp: None,
            names: Vec::new(),
        }
    }

    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl").current_dir(&self.directory).args(arguments).output();
        let output = output.expect("openssl is missing; `scripts/install test` installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// An OCSP answer about a certificate of ours, by openssl as the responder.
    pub(crate) fn ocsp(&self, file: &str, status: &str, out: &str) {
        self.ocsp_signed_by("ca", file, status, out);
    }

    /// The same, signed by another: `NAME.pem` and `NAME.key`.
    pub(crate) fn ocsp_signed_by(&self, signer: &str, file: &str, status: &str, out: &str) {
        let serial = self.openssl(&["x509", "-in", &format!("{file}.pem"), "-noout", "-serial"]);
        let serial = serial.trim().strip_prefix("serial=").unwrap().to_owned();
        self.index(&[(status, &serial)]);
        let [cert, signer, key] = [format!("{file}.pem"), format!("{signer}.pem"), format!("{signer}.key")];
        let of_ca = ["-index", "index.txt", "-CA", "ca.pem", "-issuer", "ca.pem"];
        let signed = ["-rsigner", &signer, "-rkey", &key, "-noverify"];
        let about = ["-cert", &cert, "-ndays", "7", "-respout", out];
        self.openssl(&[&["ocsp"][..], &of_ca, &signed, &about].concat());
    }

    /// What `openssl ocsp` and `openssl ca` know of certificates: status (V, R) and serial number of each.
    fn index(&self, certificates: &[(&str, &str)]) {
        let line = |(status, serial): &(&str, &str)| {
            let revoked = if *status == "R" { "260101000000Z" } else { "" };
            format!("{status}\t490101000000Z\t{revoked}\t{serial}\tunknown\t/CN={serial}\n")
        };
        fs::write(self.path("index.txt"), certificates.iter().map(line).collect::<String>()).unwrap();
        fs::write(self.path("index.txt.attr"), "unique_subject = no\n").unwrap();
    }

    /// `crl.pem`: a list with these revoked certificates that ends in so many seconds, by `openssl ca -gencrl`.
    pub(crate) fn revocation_list(&self, revoked: &[&str], seconds: u32) {
        self.index(&revoked.iter().map(|serial| ("R", *serial)).collect::<Vec<_>>());
        let config = "[ca]\ndefault_ca = of_test\n[of_test]\ndatabase = index.txt\ncrlnumber = crlnumber\n\
                      default_md = sha256\ncertificate = ca.pem\nprivate_key = ca.key\ncrl_extensions = of_list\n\
                      [of_list]\nauthorityKeyIdentifier = keyid\n";
        fs::write(self.path("ca.cnf"), config).unwrap();
        if !self.path("crlnumber").exists() {
            fs::write(self.path("crlnumber"), "01\n").unwrap();
        }
        let seconds = seconds.to_string();
        self.openssl(&["ca", "-gencrl", "-config", "ca.cnf", "-crlsec", &seconds, "-out", "new.pem"]);
        fs::rename(self.path("new.pem"), self.path("crl.pem")).unwrap();
    }

    /// The certificate of this file with that of its issuer behind it.
    pub(crate) fn with_issuer(&self, file: &str) {
        let chain = ["", "ca"].map(|name| {
            let name = if name.is_empty() { file } else { name };
            fs::read_to_string(self.path(&format!("{name}.pem"))).unwrap()
        });
        fs::write(self.path(&format!("{file}.pem")), chain.concat()).unwrap();
    }

    /// A client that trusts it; sessions are resumed between its connections.
    pub(crate) fn client(&self, shown: Option<&[String; 2]>) -> TlsConnector {
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

    pub(crate) fn lines(&self, event: &str) -> Vec<String> {
        let ours = |line: &String| line.contains(&*self.directory.to_string_lossy());
        LOG.lines_with(&format!("\"event\":\"{event}\"")).into_iter().filter(ours).collect()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub(crate) async fn tls_proxy(
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
pub(crate) async fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.expect("openssl is missing; `scripts/install test` installs it");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// The common name of the certificate that openssl is shown.
pub(crate) async fn shown(address: SocketAddr, arguments: &[&str]) -> String {
    let said = s_client(address, arguments).await;
    let line = said.lines().find_map(|line| line.strip_prefix("subject="));
    line.unwrap_or_else(|| panic!("{said}")).replace(' ', "").trim_start_matches("CN=").to_owned()
}

pub(crate) type Session = WebSocketStream<client::TlsStream<TcpStream>>;

pub(crate) async fn session(
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
pub(crate) async fn talks(client: &mut Session, server: &mut UpstreamSocket) {
    client.send(Message::text(HELLO)).await.unwrap();
    assert_eq!(next_text(server).await, HELLO);
    server.send(Message::text(HELLO)).await.unwrap();
    let ping = Message::text(r#"{"message":"ping","data":[null]}"#);
    let answer = in_time("the answer", async {
        loop {
            let message = client.next().await.unwrap().unwrap();
            // The proxy keeps a client company that hears nothing for a while.
            if message != ping {
                return message;
            }
        }
    });
    assert_eq!(answer.await, Message::text(HELLO));
}
