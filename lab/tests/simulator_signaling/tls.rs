//! WebSocket over TLS, and faults on it.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;

use crate::simulator;

#[tokio::test]
async fn a_session_over_tls_is_served_and_cut() {
    let directory = std::env::temp_dir().join(format!("holdfast-simulator-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let generated = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, generated.cert.pem()).unwrap();
    std::fs::write(&key, generated.signing_key.serialize_pem()).unwrap();
    let tls = json!({"listen": ["127.0.0.1:0"], "certificate": certificate, "key": key});
    let server = simulator(json!({"listen": [], "tls": tls})).await;
    std::fs::remove_dir_all(&directory).unwrap();
    let address = server.tls_addresses()[0];
    assert_eq!(server.address(), address);

    let mut roots = RootCertStore::empty();
    roots.add(generated.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/", stream).await.unwrap();
    socket.send(Message::text(r#"{"message":"connection","data":[{"appKey":"a"}]}"#)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    assert_eq!(answer["message"], "getUserData");
    server.fault(serde_json::from_value(json!({"fault": "drop", "how": "reset"})).unwrap()).unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn a_missing_certificate_is_an_error_at_the_start() {
    let tls = json!({"listen": ["127.0.0.1:0"], "certificate": "/nonexistent", "key": "/nonexistent"});
    let settings = holdfast_lab::simulator::SimulatorSettings::default().with(&json!({"tls": tls})).unwrap();
    assert!(holdfast_lab::simulator::Simulator::start(settings).await.is_err());
}
