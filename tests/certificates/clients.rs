//! Certificates that clients show, and those that are revoked.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use holdfast::config::{ClientAuth, NetSettings};
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
