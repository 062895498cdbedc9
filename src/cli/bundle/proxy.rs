//! What a running proxy is asked for a bundle.

use serde_json::Value;

use crate::{
    cli::{Failure, admin::Admin},
    telemetry::anonymous,
};

/// JSON, and the name it gets.
const ANSWERS: [(&str, &str); 8] = [
    ("/status?sessions=0", "status.json"),
    ("/v1/build", "build.json"),
    ("/v1/config", "configuration-running.json"),
    ("/v1/nodes", "nodes.json"),
    ("/v1/outages", "outages.json"),
    ("/v1/drain-self", "drain-self.json"),
    // A page of them: those first that are worst off.
    ("/v1/sessions?order=worst", "sessions.json"),
    ("/v1/log", "log.txt"),
];
/// Text as it is.
const METRICS: (&str, &str) = ("/metrics", "metrics.txt");

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) found: Vec<(&'static str, String)>,
    /// What did not work, one sentence each.
    pub(super) failed: Vec<String>,
    /// What it says of its build, if it answered.
    pub(super) status: Option<Value>,
}

pub(super) async fn ask(mut admin: Admin) -> Asked {
    let mut asked = Asked::default();
    if let Err(failure) = admin.get("/v1/build").await {
        // One that does not answer is not asked nine times, each with its patience.
        asked.failed.push(format!("what the running proxy knows: {failure}"));
        return asked;
    }
    let mut is_cut = false;
    for (path, name) in ANSWERS {
        let answer = if path == "/v1/log" { admin.get_with_right(path).await } else { admin.get(path).await };
        match answer {
            Ok(answer) => {
                if path == "/v1/build" {
                    asked.status = Some(answer.clone());
                }
                is_cut |= answer.pointer("/log/anonymise_addresses").and_then(Value::as_bool) == Some(true);
                asked.found.push((name, shown(path, answer, is_cut)));
            }
            Err(failure) => asked.failed.push(untold(path, &failure)),
        }
    }
    match admin.get_text(METRICS.0).await {
        Ok(text) => asked.found.push((METRICS.1, text)),
        Err(failure) => asked.failed.push(untold(METRICS.0, &failure)),
    }
    asked
}

fn untold(path: &str, failure: &Failure) -> String {
    format!("{path}: {}", failure.to_string().replace('\n', " "))
}

/// As it is put into the bundle; where addresses of clients are cut in the log, they are here.
fn shown(path: &str, mut answer: Value, is_cut: bool) -> String {
    if path == "/v1/log" {
        let lines = answer.get("lines").and_then(Value::as_array).into_iter().flatten();
        return lines.filter_map(Value::as_str).map(|line| format!("{line}\n")).collect();
    }
    if is_cut {
        cut_clients(&mut answer);
    }
    format!("{answer:#}\n")
}

fn cut_clients(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            for (key, inner) in keys {
                match inner.as_str().and_then(|text| text.parse().ok()).filter(|_| key == "client") {
                    Some(address) => *inner = anonymous::cut(address).to_string().into(),
                    None => cut_clients(inner),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(cut_clients),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn clients_are_cut_where_the_log_cuts_them() {
        let sessions = || json!({"sessions": [{"client": "203.0.113.77", "node": "10.0.0.7:8080"}]});
        assert!(shown("/v1/sessions", sessions(), false).contains("203.0.113.77"));
        let cut = shown("/v1/sessions", sessions(), true);
        assert!(cut.contains("\"203.0.113.0\"") && cut.contains("10.0.0.7:8080"), "{cut}");
        assert_eq!(shown("/v1/log", json!({"lines": ["a", "b"]}), true), "a\nb\n");
    }
}
