//! The versioned interface of the admin side, asked as a script asks it: sessions a page at a time and by what they
//! are, outages that are over, nodes, and clear errors for what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use holdfast::{
    admin::{self, Door, Setup},
    net::Proxy,
};
use net_support::*;
use serde_json::Value;
use tokio::{sync::watch, time::timeout};

async fn open(proxy: &Arc<Proxy>) -> SocketAddr {
    let door = Door::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = door.address().unwrap();
    let (_, starting) = watch::channel(Some(Arc::clone(proxy)));
    let setup = Setup { config: serde_json::json!({"listen": {}}), ..Setup::default() };
    tokio::spawn(admin::serve_from_start(vec![door], setup, starting));
    address
}

/// The document, with what describes the answer of a path.
fn described(document: &Value, path: &str, method: &str, status: u16) -> Value {
    let response = &document["paths"][path][method]["responses"];
    let response = response.get(status.to_string()).unwrap_or(&response["default"]);
    let mut schema = response["content"]["application/json"]["schema"].clone();
    assert!(schema.is_object(), "{method} {path} {status} is not described");
    schema["components"] = document["components"].clone();
    schema
}

fn assert_described(document: &Value, (path, method, status): (&str, &str, u16), answer: &Value) {
    let schema = described(document, path, method, status);
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?} in {answer}");
}

async fn get(admin: SocketAddr, path: &str) -> (u16, Value) {
    let answer = raw_exchange(admin, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn ids(page: &Value) -> Vec<String> {
    page["sessions"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_found_a_page_at_a_time_and_by_what_they_are() {
    let mut upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy).await;
    let mut pairs = Vec::new();
    for index in 0..25 {
        pairs.push(established(&proxy, &mut upstream, &format!("t{index}")).await);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/sessions?limit=10".to_owned());
    loop {
        let (status, page) = get(admin, &path).await;
        assert_eq!(status, 200, "{page}");
        let found = ids(&page);
        assert!(found.len() <= 10);
        seen.extend(found);
        match page["next"].as_u64() {
            Some(next) => path = format!("/v1/sessions?limit=10&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (1..=25).map(|n| format!("s{n}")).collect::<Vec<_>>(), "each once, in their order");
    let (_, one) = get(admin, "/v1/sessions/s7").await;
    assert_eq!(
        (&one["id"], &one["state"], &one["client"]),
        (&"s7".into(), &"up".into(), &"127.0.0.1".into())
    );
    let app_key = one["app_key"].as_str().unwrap().to_owned();
    let node = one["node"].as_str().unwrap().to_owned();
    for (query, count) in [
        (format!("app_key={app_key}"), 25),
        ("app_key=another".to_owned(), 0),
        (format!("node={node}"), 25),
        ("client=127.0.0.1".to_owned(), 25),
        ("client=10.0.0.1".to_owned(), 0),
        ("outage=true".to_owned(), 0),
        ("outage=false".to_owned(), 25),
        ("stream=nothing".to_owned(), 0),
    ] {
        let (status, page) = get(admin, &format!("/v1/sessions?{query}")).await;
        assert_eq!((status, ids(&page).len()), (200, count), "{query}: {page}");
    }
    let (_, page) = get(admin, "/v1/sessions?order=worst&limit=20").await;
    assert_eq!((ids(&page).len(), &page["next"]), (20, &20.into()), "{page}");
    let (_, page) = get(admin, "/v1/sessions?order=worst&limit=20&after=20").await;
    assert_eq!((ids(&page).len(), &page["next"]), (5, &Value::Null), "{page}");
    // Who has lost its upstream is worse off than all others.
    let (_client, server) = pairs.remove(16);
    drop(server);
    let lost = async {
        while ids(&get(admin, "/v1/sessions?order=worst&limit=3").await.1)[0] != "s17" {
            tokio::task::yield_now().await;
        }
    };
    in_time("the worst is first", lost).await;
    let (_, page) = get(admin, "/v1/sessions?limit=3").await;
    assert_eq!(ids(&page), ["s1", "s2", "s3"], "in the order of their coming");
    for (path, status, says) in [
        ("/v1/sessions?limit=0", 400, "1 to 1000"),
        ("/v1/sessions?colour=red", 400, "colour"),
        ("/v1/sessions?order=best", 400, "worst"),
        ("/v1/sessions?client=here", 400, "client"),
        ("/v1/sessions?node=nowhere", 404, "there is no node `nowhere`"),
        ("/v1/sessions/s99", 404, "s99"),
        ("/v1/sessions/99", 400, "s12"),
        ("/v1/nodes/nowhere", 404, "there is no node"),
        ("/v1/nothing", 404, "GET /v1"),
    ] {
        let (found, body) = get(admin, path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(says), "{path}: {body}");
    }
}

#[tokio::test]
async fn the_page_is_served_to_this_machine_and_runs_nothing_but_itself() {
    let upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy).await;
    for (path, kind) in
        [("/", "text/html"), ("/page/main.js", "text/javascript"), ("/page/style.css", "text/css")]
    {
        let answer = raw_exchange(admin, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        let head = answer.split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200"), "{path}: {head}");
        for says in [
            format!("content-type: {kind}").as_str(),
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(says), "{path}: {says} is not in {head}");
        }
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: evil.example", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site", 403),
        ("POST / HTTP/1.0", 404),
        ("GET /page/mod.rs HTTP/1.0", 404),
    ] {
        let answer = raw_exchange(admin, format!("{request}\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{request}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_is_over_is_told_with_its_figures() {
    let mut upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy).await;
    let (client, server) = established(&proxy, &mut upstream, "token").await;
    assert_eq!(get(admin, "/v1/outages").await.1["outages"].as_array().unwrap().len(), 0);
    drop(server);
    let (mut server, _) = upstream.accept().await;
    next_text(&mut server).await;
    send(&mut server, &user_data("token2")).await;
    let over = async {
        loop {
            let (_, answer) = get(admin, "/v1/outages").await;
            if let Some(outage) = answer["outages"].get(0) {
                return outage.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let outage = timeout(Duration::from_secs(20), over).await.expect("it is told when it is over");
    assert_eq!((&outage["id"], &outage["sessions"]), (&1.into(), &1.into()), "{outage}");
    assert_eq!(outage["sessions_restored"], 1, "{outage}");
    assert!(!outage["cause"].as_str().unwrap().is_empty() && outage["gap_p99_ms"].is_u64(), "{outage}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let ago = now - u128::from(outage["began_unix_ms"].as_u64().unwrap());
    assert!(ago < 60_000, "{ago} ms ago");
    // And by the session itself.
    let (_, document) = get(admin, "/v1/openapi.json").await;
    let (_, one) = get(admin, "/v1/sessions/s1").await;
    assert_described(&document, ("/v1/sessions/{id}", "get", 200), &one);
    let [told] = &one["timeline"].as_array().unwrap()[..] else { panic!("one outage: {one}") };
    assert_eq!(
        (&told["what"], &told["outcome"], &told["to"]),
        (&"outage".into(), &"restored".into(), &one["node"]),
        "{one}"
    );
    assert_eq!(told["cause"], outage["cause"], "{one}");
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().map(|step| &step["what"]).collect();
    assert_eq!(steps, ["connected", "restored"], "{one}");
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_its_description_says() {
    let mut upstream = Upstream::start().await;
    let proxy = Arc::new(start(settings(&[upstream.address])).await);
    let admin = open(&proxy).await;
    let (_, document) = get(admin, "/v1/openapi.json").await;
    let _session = established(&proxy, &mut upstream, "token").await;
    let node = proxy.nodes()[0].clone();
    let order = holdfast::net::DrainOrder { is_forced: true, ..Default::default() };
    proxy.drain(node.id, order).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut asked = 0;
    // The document itself, what takes more than loopback (`support_bundle.rs`, and `record_command.rs`, which holds it
    // against its description), and what does not end (`admin_events.rs`).
    let of_operators = ["/v1/log", "/v1/recordings", "/v1/recordings/{id}/lines"];
    let others = [&["/v1/openapi.json", "/v1/events"][..], &of_operators].concat();
    for path in
        paths.keys().filter(|path| paths[*path].get("get").is_some() && !others.contains(&path.as_str()))
    {
        let real = path.replace("{name}", &node.name).replace("{id}", "s1");
        let (status, answer) = get(admin, &real).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert_described(&document, (path, "get", 200), &answer);
        let (status, refusal) = get(admin, &format!("{real}/no/such/path")).await;
        assert_eq!(status, 404, "{path}: {refusal}");
        assert_described(&document, (path, "get", 404), &refusal);
        asked += 1;
    }
    assert!(asked >= 9, "{asked}");
    // What is not described is not there, and what is described can be found.
    for path in get(admin, "/v1").await.1["paths"].as_array().unwrap() {
        assert!(paths.contains_key(path.as_str().unwrap()), "{path} is not described");
    }
    // A description that does not fit is noticed.
    let mut wrong = get(admin, "/v1/build").await.1;
    wrong["pid"] = "a word".into();
    let schema = described(&document, "/v1/build", "get", 200);
    assert!(!jsonschema::validator_for(&schema).unwrap().is_valid(&wrong));
}
