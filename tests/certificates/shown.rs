//! Which certificate is shown: renewed ones, by name, by kind of key.

use std::{fs, time::Duration};

use holdfast::config::{CertificateSettings, UnknownNames};
use tokio_rustls::rustls::HandshakeKind;

use crate::{authority::*, net_support::*};

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
