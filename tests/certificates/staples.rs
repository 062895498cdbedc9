//! OCSP answers that go with certificates, made by openssl.

use std::fs;

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
