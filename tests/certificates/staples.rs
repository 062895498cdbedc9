//! OCSP answers that go with certificates, made by openssl.

use std::{fs, process::Command};

use rcgen::ExtendedKeyUsagePurpose;

use crate::{authority::*, net_support::*};

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
async fn an_answer_counts_if_it_is_signed_by_whom_it_has_to_be_and_else_the_former_goes_on() {
    let authority = Authority::new("signed");
    let mut files = authority.issue("stapled", &["localhost"]);
    authority.with_issuer("stapled");
    let stranger = Authority::new("signed-strangers");
    for (from, to) in [("ca.pem", "stranger.pem"), ("ca.key", "stranger.key")] {
        fs::copy(stranger.path(from), authority.path(to)).unwrap();
    }
    // Whom the authority has certified, for this and for something else.
    let for_ocsp = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    };
    authority.write("responder", &authority.certify("responder", &[], for_ocsp));
    authority.write("pretender", &authority.certify("pretender", &[], |_| {}));
    for signer in ["ca", "responder", "pretender", "stranger"] {
        authority.ocsp_signed_by(signer, "stapled", "V", &format!("{signer}.der"));
    }
    authority.ocsp_signed_by("stranger", "stapled", "R", "slander.der");
    authority.ocsp("stapled", "R", "revoked.der");
    files.ocsp = Some(authority.path("now.der"));
    let put = |from: &str| {
        fs::copy(authority.path(from), authority.path("beside.der")).unwrap();
        fs::rename(authority.path("beside.der"), authority.path("now.der")).unwrap();
    };
    put("pretender.der");
    let (proxy, _upstream) = tls_proxy(&[&files], |_| {}).await;
    let staple = async || s_client(proxy.address(), &["-status"]).await;
    let told = || authority.lines("staple_unusable");
    wait_until("it is told", || told().len() == 1).await;
    assert!(
        told()[0].contains("signed neither by the issuer") && told()[0].contains("\"former_shown\":false")
    );
    assert!(staple().await.contains("OCSP response: no response sent"));
    for good in ["responder.der", "ca.der"] {
        let before = authority.lines("certificates_changed").len();
        put(good);
        wait_until(good, || authority.lines("certificates_changed").len() == before + 1).await;
        assert!(staple().await.contains("Cert Status: good"), "{good}");
    }
    for (index, bad) in ["stranger.der", "pretender.der", "slander.der"].into_iter().enumerate() {
        put(bad);
        wait_until(bad, || told().len() == index + 2).await;
        let line = &told()[index + 1];
        assert!(line.contains("signed neither") && line.contains("\"former_shown\":true"), "{bad}: {line}");
        assert!(staple().await.contains("Cert Status: good"), "{bad}: the former goes on");
    }
    fs::remove_file(authority.path("now.der")).unwrap();
    wait_until("its loss", || told().len() == 5).await;
    assert!(told()[4].contains("cannot be read") && staple().await.contains("Cert Status: good"));
    // What the issuer itself takes back is not shown any more.
    put("revoked.der");
    wait_until("its end", || told().len() == 6).await;
    assert!(told()[5].contains("revoked") && told()[5].contains("\"former_shown\":false"), "{}", told()[5]);
    assert!(staple().await.contains("OCSP response: no response sent"));
}

#[test]
fn the_check_of_a_configuration_says_what_is_wrong_with_an_answer() {
    let authority = Authority::new("checked-answer");
    authority.issue("stapled", &["localhost"]);
    authority.issue("other", &["localhost"]);
    authority.ocsp("stapled", "V", "stapled.der");
    authority.ocsp("other", "V", "other.der");
    let check = |ocsp: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["check", "--listen=wss://127.0.0.1:0", "--upstream=ws://127.0.0.1:9", "--admin=off"]);
        command.arg("--tls-cert").arg(authority.path("stapled.pem"));
        command.arg("--tls-key").arg(authority.path("stapled.key"));
        let output = command.env("HOLDFAST_LISTEN__TLS_OCSP", authority.path(ocsp)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check("stapled.der");
    assert!(said.contains("stapled.der goes with it"), "{said}");
    assert!(said.contains("who signed this OCSP answer is not checked"), "{said}");
    authority.with_issuer("stapled");
    let said = check("stapled.der");
    assert!(said.contains("stapled.der goes with it") && !said.contains("is not checked"), "{said}");
    let said = check("other.der");
    assert!(said.contains("this OCSP answer is about another certificate: it is not shown"), "{said}");
}
