//! The page for operators at `/` of the admin side: files that are part of the program, and the headers that keep
//! a browser from running anything else. It asks `/v1` for all that it shows.
//!
//! The files are the same everywhere and hold nothing of this proxy, so everybody gets them who comes by a name of
//! this machine: a browser cannot say a token when it opens a page, and the page asks for it then.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};

/// Nothing runs and nothing is loaded but these files; no text becomes markup; nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Another version of the program has other files.
    (header::CACHE_CONTROL, "no-cache"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where it is, what it is, and the file.
const FILES: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/style.css", CSS, include_str!("style.css")),
    ("/page/main.js", SCRIPT, include_str!("main.js")),
    ("/page/api.js", SCRIPT, include_str!("api.js")),
    ("/page/dom.js", SCRIPT, include_str!("dom.js")),
    ("/page/nodes.js", SCRIPT, include_str!("nodes.js")),
    ("/page/outages.js", SCRIPT, include_str!("outages.js")),
    ("/page/sessions.js", SCRIPT, include_str!("sessions.js")),
    ("/page/timeline.js", SCRIPT, include_str!("timeline.js")),
    ("/page/spark.js", SCRIPT, include_str!("spark.js")),
];

/// The answer to a request for one of them.
pub(super) fn answer(method: &Method, path: &str) -> Option<Response> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let (_, kind, text) = FILES.iter().find(|(place, ..)| *place == path)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    Some((headers, *text).into_response())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_told_as_what_it_is_and_runs_nothing_else() {
        for (path, kind, text) in FILES {
            let answer = answer(&Method::GET, path).unwrap();
            assert_eq!(answer.headers()[header::CONTENT_TYPE], kind, "{path}");
            let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert!(
                !text.is_empty() && !text.contains("https://"),
                "{path} is whole and loads nothing from afar"
            );
        }
        for (method, path) in [(Method::POST, "/"), (Method::GET, "/page"), (Method::GET, "/page/../mod.rs")]
        {
            assert!(answer(&method, path).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn whatever_a_file_names_is_there_and_no_text_becomes_markup() {
        for (path, _, text) in FILES {
            for markup in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text.contains(markup), "{path} has {markup}");
            }
            let imported = text
                .lines()
                .filter_map(|line| line.split_once(" from './")?.1.split_once('\''))
                .map(|(name, _)| format!("/page/{name}"));
            let loaded = text.split(['"', '\'']).filter(|word| word.starts_with("/page/")).map(str::to_owned);
            for named in imported.chain(loaded) {
                assert!(FILES.iter().any(|(place, ..)| *place == named), "{path} names {named}");
            }
        }
    }
}
