//! What refusals write to the log. In a process of its own: which lines are written at all is known to the
//! whole process, so that other tests beside this one would decide about its lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use net_support::*;

#[tokio::test]
async fn a_flood_of_refusals_is_few_lines() {
    let log = holdfast::telemetry::LogCapture::new();
    let _guard = log.on_this_thread();
    let upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.address_sessions_max = 1;
    let proxy = start(settings).await;
    let _one = connect(proxy.address()).await;
    for _ in 0..50 {
        let refused = try_connect(proxy.address(), "/", &[]).await.unwrap_err();
        assert!(refused.to_string().contains("429"), "{refused}");
    }
    let lines = log.text().lines().filter(|line| line.contains("address_sessions_max")).count();
    assert!((1..=3).contains(&lines), "{lines} lines");

    // Each kind for itself: what one floods hides no other.
    let mut settings = net_support::settings(&[upstream.address]);
    settings.listen.origins = vec!["https://example.com".parse().unwrap()];
    settings.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    settings.listen.deny = vec!["192.0.2.0/24".parse().unwrap()];
    let proxy = start(settings).await;
    for n in 0..50 {
        let client = format!("192.0.2.{n}");
        for headers in [("origin", "https://evil.example"), ("x-forwarded-for", &*client)] {
            let refused = try_connect(proxy.address(), "/", &[headers]).await.unwrap_err();
            assert!(refused.to_string().contains("403"), "{refused}");
        }
    }
    for kind in ["listen.origins", "listen.deny"] {
        let lines = log.lines_with("connection_refused").iter().filter(|line| line.contains(kind)).count();
        assert!((1..=3).contains(&lines), "{lines} lines of {kind}");
    }
}
