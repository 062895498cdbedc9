//! SIP clients: the registration comes back, calls end by `finish` (rule R14).

use std::time::Duration;

use serde_json::json;

use crate::common::{
    checks::{assert_no_violation, count},
    direct,
    outage::Outage,
    page::{OFFER, Page},
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registration_is_restored_and_calls_end() {
    let mut server = Server::fake(json!({})).await;
    let proxy = direct(server.address).await;
    let connection = json!({"appKey": "defaultApp", "mediaProviders": ["WebRTC"], "sipLogin": "100",
        "sipAuthenticationName": "100", "sipPassword": "secret", "sipDomain": "pbx", "sipProxy": "pbx",
        "sipOutboundProxy": "pbx", "sipPort": 5060, "sipRegisterRequired": true});
    let page = Page::establish_as(proxy.address(), connection).await;
    page.wait("registered", |told| told.all("registered").next().map(|_| ())).await;
    page.send(
        "call",
        json!({"callId": "out", "incoming": false, "hasVideo": false, "hasAudio": true,
        "status": "PENDING", "mediaProvider": "WebRTC", "sdp": OFFER, "caller": "100", "callee": "200",
        "visibleName": "100"}),
    );
    page.wait("the call is answered", |told| {
        told.call_statuses("out").contains(&"ESTABLISHED".to_owned()).then_some(())
    })
    .await;
    server.fault(json!({"fault": "incoming_call", "caller": "300", "id": "in"})).await;
    page.wait("the incoming call", |told| told.all("notifyIncomingCall").next().map(|_| ())).await;
    let callbacks = page.session_callbacks();

    Outage::Kill(Duration::from_secs(1)).strike(&mut server).await;
    for id in ["out", "in"] {
        page.wait(&format!("the end of {id}"), |told| {
            told.messages
                .iter()
                .any(|heard| heard.name == "finish" && heard.data[0]["callId"] == id)
                .then_some(())
        })
        .await;
    }
    server.wait_for("registered again", |state| state["sessions"][0]["registered"] == true).await;
    // It rings on the next server.
    server.fault(json!({"fault": "incoming_call", "caller": "300", "id": "next"})).await;
    page.wait("the next call", |told| {
        told.all("notifyIncomingCall").any(|call| call["callId"] == "next").then_some(())
    })
    .await;
    assert!(page.is_open());
    assert_eq!(
        page.session_callbacks(),
        callbacks,
        "no second ESTABLISHED or REGISTERED: {}",
        page.summary()
    );
    let finishes = page.look(|told| told.all("finish").count());
    assert_eq!(finishes, 2, "{}", page.summary());
    let journal = server.journal().await;
    assert_eq!(count(&journal, "session"), 2);
    assert!(!journal.iter().any(|e| e.life == 2 && e.what == "call verb"), "calls are not replayed");
    assert_no_violation(&server, "sip").await;
}
