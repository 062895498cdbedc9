//! The command: what it prints and exits with.

use std::process::{Command, Output, Stdio};

use holdfast::simulator::Simulator;
use serde_json::{Value, json};

use super::{left_nothing, simulator};

async fn command(arguments: Vec<String>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("probe").args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stdout, stderr } = output;
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn upstream(simulator: &Simulator) -> String {
    format!("--upstream=ws://name:pass-of-url@{}/path?token=in-query", simulator.address())
}

#[tokio::test]
async fn exit_codes_tell_how_it_went() {
    let assumed = simulator(&json!({"pings": {"interval_ms": 5000}})).await;
    let differs = simulator(&json!({"sessions": {"version_order": "never"}})).await;
    let ((good, table, _), (other, report, told), (none, _, nobody)) = tokio::join!(
        command(vec![upstream(&assumed)]),
        command(vec![upstream(&differs), "--json".to_owned()]),
        command(vec!["--upstream=ws://127.0.0.1:1".to_owned()]),
    );
    assert_eq!((good, other, none), (0, 1, 2), "{table}\n{told}\n{nobody}");
    assert!(table.contains("Holdfast assumes") && table.contains("as assumed"), "{table}");
    assert!(told.contains("differ") && nobody.contains("not reached"), "{told}{nobody}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((report["schema"].clone(), report["outcome"].clone()), (json!(1), json!("differs")));
    for text in [table, told, report.to_string()] {
        assert!(!text.contains("pass-of-url") && !text.contains("in-query"), "{text}");
    }
    left_nothing(&assumed, "command").await;
}

#[tokio::test]
async fn nothing_is_published_without_leave() {
    let simulator = simulator(&json!({})).await;
    let (code, _, told) = command(vec![upstream(&simulator), "--publish=trial".to_owned()]).await;
    assert!(code == 64 && told.contains("--yes"), "{told}");
    assert_eq!(simulator.summary()["counters"]["dials"], 0, "it is refused before anybody is asked");
    let (code, _, told) = command(vec![upstream(&simulator), "--yes".to_owned()]).await;
    assert!(code == 64 && told.contains("--publish"), "{told}");
    let (code, _, told) = command(vec![upstream(&simulator), "--dials-max=1000".to_owned()]).await;
    assert!(code == 64 && told.contains("24"), "{told}");
}

/// A path in a directory of this test's own, where nothing is.
fn path(name: &str) -> String {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("probe-{name}"));
    let _ = std::fs::remove_file(&path);
    path.to_str().unwrap().to_owned()
}

/// What a probe wrote makes a stand-in in which another probe sees the same.
#[tokio::test]
async fn a_transcript_makes_a_stand_in_of_the_same_positions() {
    let original = simulator(&json!({
        "pings": {"websocket_pings": true, "answer_client_pings": true},
        "sessions": {"version_order": "before", "empty_data": "empty", "resume": "new_token"},
        "streams": {"answer_shape": "C", "pending_first": true, "third_sdp_argument": false, "players_told": false},
    }))
    .await;
    let (saved, wrote) = (path("like.jsonl"), path("like.toml"));
    let publish = ["--publish=trial", "--yes", "--json"].map(str::to_owned).to_vec();
    let files = vec![format!("--save={saved}"), format!("--toml={wrote}")];
    let (code, report, told) =
        command([vec![upstream(&original)], publish.clone(), files.clone()].concat()).await;
    assert_eq!(code, 1, "{told}");
    let (again, _, told) = command([vec![upstream(&original)], files].concat()).await;
    assert!(again == 73 && told.contains("there already"), "{told}");

    let switches = holdfast::probe::switches(&std::fs::read_to_string(&saved).unwrap()).unwrap();
    let stand_in = simulator(&switches).await;
    let (_, same, told) = command([vec![upstream(&stand_in)], publish].concat()).await;
    let positions = |text: &str| -> Vec<(String, String)> {
        let report: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{told}"));
        let rows = report["questions"].as_array().unwrap();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.iter()
            .filter(|row| row["value"].is_null())
            .map(|row| (word(row, "key"), word(row, "seen")))
            .collect()
    };
    assert_eq!(positions(&report), positions(&same));

    let check = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args([
            "check",
            "--upstream=ws://127.0.0.1:1",
            "--listen=127.0.0.1:0",
            "--admin=off",
            "--media=direct",
        ])
        .arg(format!("--config={wrote}"))
        .output()
        .unwrap();
    let told = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && told.contains("players are not told"), "{told}");
}

/// Nothing that opens a door is in what is printed, saved or logged.
#[tokio::test]
async fn planted_secrets_stay_secret() {
    const SECRETS: [&str; 3] = ["planted-custom-secret", "pass-of-url", "in-query"];
    let simulator = simulator(&json!({"media": "real", "sessions": {"resume": "same_token"}})).await;
    let (custom, saved, wrote) = (path("custom.json"), path("secrets.jsonl"), path("secrets.toml"));
    std::fs::write(
        &custom,
        r#"{"token": "planted-custom-secret", "inner": {"list": ["planted-custom-secret"]}}"#,
    )
    .unwrap();
    let (_, table, told) = command(vec![
        upstream(&simulator),
        format!("--custom={custom}"),
        "--publish=trial".to_owned(),
        "--yes".to_owned(),
        "--anonymise".to_owned(),
        format!("--save={saved}"),
        format!("--toml={wrote}"),
    ])
    .await;
    let transcript = std::fs::read_to_string(&saved).unwrap();
    let written = std::fs::read_to_string(&wrote).unwrap();
    for text in [&table, &told, &transcript, &written] {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    for text in [&table, &transcript, &written] {
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
    // What the server and the media made up.
    let messages: Vec<Value> =
        transcript.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut tokens, mut descriptions) = (0, 0);
    for message in &messages {
        let text = message.to_string();
        for (_, rest) in text.match_indices("\"authToken\":\"").map(|(at, key)| (at, &text[at + key.len()..]))
        {
            assert!(rest.starts_with("<token "), "{text}");
            tokens += 1;
        }
        for line in ["a=ice-pwd:", "a=ice-ufrag:"] {
            for (at, _) in text.match_indices(line) {
                assert!(text[at + line.len()..].starts_with('<'), "{text}");
                descriptions += 1;
            }
        }
        for (at, _) in text.match_indices("a=fingerprint:") {
            let line = text[at..].split("\\r").next().unwrap();
            assert!(line.contains(" <fingerprint "), "{line}");
        }
    }
    assert!(tokens > 5 && descriptions > 5, "{tokens} tokens, {descriptions} credentials");
}

/// The document names every question in its order with what is assumed of it, and every key of the report.
#[tokio::test]
async fn the_document_has_every_key() {
    let document = include_str!("../../docs/probe.md");
    let rows: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3).collect();
    let expected: Vec<String> = holdfast::probe::QUESTIONS
        .iter()
        .map(|question| {
            let takes = match question.needs {
                holdfast::probe::Needs::Nothing => "nothing",
                holdfast::probe::Needs::Publish => "`--publish`",
                holdfast::probe::Needs::Patience => "`--patient`",
                holdfast::probe::Needs::PublishAndPatience => "both",
                holdfast::probe::Needs::Address => "its address",
            };
            format!("| `{}` | {} | {} | {takes} |", question.key, question.about, question.assumed_text())
        })
        .collect();
    assert_eq!(rows, expected);
    let (_, report, _) = command(vec!["--upstream=ws://127.0.0.1:1".to_owned(), "--json".to_owned()]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let keys = report.as_object().unwrap().keys().chain(report["questions"][0].as_object().unwrap().keys());
    for key in keys {
        assert!(document.contains(&format!("`{key}`")), "{key} is not in docs/probe.md");
    }
}
