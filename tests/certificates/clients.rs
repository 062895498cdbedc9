//! Certificates that clients show, and those that are revoked.

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

use holdfast::config::{ClientAuth, EndedLists, NetSettings};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber,
};
use tokio_rustls::rustls::HandshakeKind;

use crate::{authority::*, net_support::*};

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

/// How long the list of a test counts, in seconds: its beginning has to fit in, on a busy machine as well.
const LIST_SECONDS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_list_of_revoked_certificates_has_ended_nobody_with_a_certificate_gets_in() {
    let authority = Authority::new("ended-list");
    let files = authority.issue("server", &["localhost"]);
    let alice = authority.certify("alice", &[], |params| params.serial_number = Some(7_u64.into()));
    authority.revocation_list(&["08"], LIST_SECONDS);
    let asks = |ended, auth| {
        let (ca, crl) = (authority.path("ca.pem"), authority.path("crl.pem"));
        move |settings: &mut NetSettings| {
            settings.listen.client_auth = auth;
            settings.listen.client_ca = Some(ca);
            settings.listen.client_crl = Some(crl);
            settings.listen.client_crl_ended = ended;
        }
    };
    let (strict, mut upstream) = tls_proxy(&[&files], asks(EndedLists::Refuse, ClientAuth::Optional)).await;
    let (lax, _behind) = tls_proxy(&[&files], asks(EndedLists::Use, ClientAuth::Required)).await;
    let by_alice = authority.client(Some(&alice));
    let (mut client, kind) = session(&by_alice, strict.address()).await.unwrap();
    assert_eq!(kind, Some(HandshakeKind::Full));
    let (mut server, _) = upstream.accept().await;
    let (_resumed, kind) = session(&by_alice, strict.address()).await.unwrap();
    assert_eq!(kind, Some(HandshakeKind::Resumed));

    let told = |text: &str| authority.lines("certificate_ends").iter().any(|line| line.contains(text));
    wait_until("its end is told", || told("are refused: fetch") && told("still counts")).await;
    let lines = authority.lines("certificate_ends");
    let of_end = lines.iter().find(|line| line.contains("it has ended")).unwrap();
    assert!(of_end.contains("\"level\":\"ERROR\"") && of_end.contains("\"what\":\"crl\""), "{of_end}");
    assert!(session(&by_alice, strict.address()).await.is_err(), "not even with a ticket");
    let refused = LOG.lines_with("certificate revocation list expired");
    assert!(refused.iter().any(|line| line.contains("listen.client_crl")), "{refused:?}");
    session(&authority.client(None), strict.address()).await.unwrap();
    session(&authority.client(Some(&alice)), lax.address()).await.unwrap();
    talks(&mut client, &mut server).await;

    authority.revocation_list(&["08"], 86_400);
    let again = async { while session(&by_alice, strict.address()).await.is_err() {} };
    in_time("the new list counts", again).await;
}

#[test]
fn the_check_of_a_configuration_says_that_a_list_has_ended() {
    let authority = Authority::new("checked-list");
    authority.issue("server", &["localhost"]);
    authority.revocation_list(&[], 1);
    let ends = authority.openssl(&["crl", "-in", "crl.pem", "-noout", "-nextupdate"]);
    let year = ends.trim().trim_end_matches(" GMT").rsplit(' ').next().unwrap().to_owned();
    let check = |ended: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["check", "--listen=wss://127.0.0.1:0", "--upstream=ws://127.0.0.1:9", "--admin=off"]);
        command.arg("--tls-cert").arg(authority.path("server.pem"));
        command.arg("--tls-key").arg(authority.path("server.key"));
        let settings = [
            ("AUTH", "required".into()),
            ("CA", authority.path("ca.pem")),
            ("CRL", authority.path("crl.pem")),
            ("CRL_ENDED", ended.into()),
        ];
        command.envs(settings.map(|(name, value)| (format!("HOLDFAST_LISTEN__CLIENT_{name}"), value)));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    // Until it has.
    let begin = std::time::Instant::now();
    let (code, said) = loop {
        let (code, said) = check("refuse");
        assert!(begin.elapsed() < crate::net_support::PATIENCE, "{said}");
        if code != 0 {
            break (code, said);
        }
        assert!(said.contains("crl.pem are refused, which is valid until"), "{said}");
    };
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("crl.pem ended on") && said.contains(&year), "{said}");
    assert!(said.contains("(listen.client_crl_ended)"), "{said}");
    let (code, said) = check("use");
    assert!(code == 0 && said.contains("goes on to count"), "{code}: {said}");
    authority.revocation_list(&[], 86_400);
    assert_eq!(check("refuse").0, 0);
}
