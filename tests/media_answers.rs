//! Answers of unusual shape: whatever a server says that can be meant in one way only is taken so,
//! before a restart and after it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use futures_util::future::join_all;
use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats},
    media::{Fact, MediaHandle},
    simulator::media::{AnswerOptions, AnswerShape, Media},
};

use media_support::{Anchored, anchor, flowing, flows_again, pool, server};

/// Pairs that run at once; more would make each other late on a small machine.
const AT_ONCE: usize = 6;

type Change = fn(&str) -> String;

/// A name, the shape that the server gives its answers, and what becomes of them.
const SHAPES: &[(&str, AnswerShape, Change)] = &[
    ("line feeds alone", AnswerShape::A, |a| a.replace("\r\n", "\n")),
    ("carriage returns alone", AnswerShape::A, |a| a.replace("\r\n", "\r")),
    ("a byte order mark and empty lines", AnswerShape::A, |a| format!("\n\u{feff}\r\n{a}")),
    ("blanks", AnswerShape::B, |a| a.replace("\r\n", " \r\n\r\n ").replace("a=setup:", "a=setup: ")),
    ("hash and hex in the other case", AnswerShape::A, |a| lines(a, "a=fingerprint:", &str::to_lowercase)),
    ("what is said for the session", AnswerShape::A, session_level),
    ("said once in a BUNDLE", AnswerShape::A, said_once),
    ("no rtcp-mux", AnswerShape::A, |a| lines(a, "a=rtcp-mux", &nothing)),
    ("a group without mids", AnswerShape::A, |a| lines(a, "a=mid:", &nothing)),
    ("ice-lite in the sections", AnswerShape::E, |a| {
        lines(a, "a=ice-lite", &nothing).replace("a=rtcp-mux", "a=ice-lite\r\na=rtcp-mux")
    }),
    ("names of codecs in another case", AnswerShape::B, |a| {
        a.replace("VP8/", "vp8/").replace("opus/", "Opus/").replace("rtx/", "Rtx/")
    }),
    ("no maps", AnswerShape::B, |a| lines(a, "a=rtpmap:", &nothing)),
    ("sections in another order", AnswerShape::B, |a| {
        let (audio, video) =
            a[a.find("m=").unwrap()..].split_at(a.find("m=video").unwrap() - a.find("m=").unwrap());
        format!("{}{video}{audio}", &a[..a.find("m=").unwrap()])
    }),
    ("sendrecv", AnswerShape::G, |a| {
        a.replace("a=recvonly", "a=sendrecv").replace("a=sendonly", "a=sendrecv")
    }),
    ("no direction", AnswerShape::G, |a| lines(&lines(a, "a=recvonly", &nothing), "a=sendonly", &nothing)),
    ("addresses of c= alone", AnswerShape::B, |a| lines(a, "a=candidate:", &nothing)),
    ("IPv6 in c=", AnswerShape::D, |a| lines(a, "c=", &|_| "c=IN IP6 ::1".to_owned())),
    ("ports with counts", AnswerShape::B, |a| a.replace(" RTP/SAVPF", "/2 RTP/SAVPF")),
    ("very long lines", AnswerShape::A, |a| {
        a.replace("a=rtcp-mux", &format!("a=x:{}\r\na=rtcp-mux", "y".repeat(9000)))
    }),
    ("payload types twice", AnswerShape::B, |a| {
        a.replace("SAVPF 96", "SAVPF 96 96").replace("SAVPF 111", "SAVPF 111 111")
    }),
    ("codecs that were not offered", AnswerShape::A, |a| {
        a.replace("SAVPF 96", "SAVPF 45 96").replace("a=rtpmap:96 ", "a=rtpmap:45 AV2/90000\r\na=rtpmap:96 ")
    }),
    ("a mixed group", AnswerShape::A, |a| {
        a.replace("a=group:BUNDLE 0 1", "a=group:LS 0 1\r\na=group:BUNDLE 1 0")
    }),
    ("layers and streams", AnswerShape::A, |a| {
        a.replace(
            "a=rtcp-mux",
            "a=msid:s a\r\na=msid:t b\r\na=rid:h recv\r\na=simulcast:recv h\r\na=rtcp-mux",
        )
    }),
    ("a section more than offered", AnswerShape::B, |a| {
        format!("{a}m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n")
    }),
];

fn nothing(_: &str) -> String {
    String::new()
}

/// Changes the lines that begin like this; an empty one goes.
fn lines(text: &str, begin: &str, change: &dyn Fn(&str) -> String) -> String {
    let changed =
        text.lines().map(|line| if line.starts_with(begin) { change(line) } else { line.to_owned() });
    changed.filter(|line| !line.is_empty()).map(|line| line + "\r\n").collect()
}

const TRANSPORT: [&str; 5] = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=candidate"];

fn is_transport(line: &str) -> bool {
    TRANSPORT.iter().any(|t| line.starts_with(t))
}

/// Credentials, fingerprint and role of a bundled answer at the session level.
fn session_level(answer: &str) -> String {
    let moved = |line: &&str| is_transport(line) && !line.starts_with("a=candidate");
    let first = answer.find("m=video").unwrap();
    let session: String = answer[..first].lines().filter(moved).map(|l| format!("{l}\r\n")).collect();
    let rest: String = answer.lines().filter(|l| !moved(l)).map(|l| format!("{l}\r\n")).collect();
    rest.replacen("m=audio", &format!("{session}m=audio"), 1)
}

/// A bundled answer that describes its transport in the first section alone (RFC 9143 7.3.2).
fn said_once(answer: &str) -> String {
    let (first, second) = answer.split_at(answer.find("m=video").unwrap());
    let bare: String = second.lines().filter(|l| !is_transport(l)).map(|l| format!("{l}\r\n")).collect();
    format!("{first}{}", lines(&bare, "a=rtcp-mux", &nothing))
}

/// A publisher and a player whose server's answers are changed alike.
async fn changed_pair(
    handle: &MediaHandle,
    pool: &ClientPool,
    server: &Media,
    name: &str,
    answer: &AnswerOptions,
    change: impl Fn(&str) -> String,
) -> (Anchored, Anchored) {
    let mut publisher = Anchored::open(handle, pool, name, ClientOptions::publish()).await;
    publisher.attach_changed(server, answer.clone(), &change).await;
    publisher.connect().await;
    publisher.proof().await;
    let mut player = Anchored::open(handle, pool, name, ClientOptions::play()).await;
    player.attach_changed(server, answer.clone(), &change).await;
    player.connect().await;
    (publisher, player)
}

#[tokio::test]
async fn media_flows_whatever_shape_the_answers_have() {
    let (handle, pool, server) = &(anchor(), pool(), server());
    for some in SHAPES.chunks(AT_ONCE) {
        join_all(some.iter().map(|(what, shape, change)| async move {
            let answer = AnswerOptions::shape(*shape);
            let (_publisher, player) = changed_pair(handle, pool, server, what, &answer, change).await;
            player.until(what, flowing).await;
        }))
        .await;
    }
}

#[tokio::test]
async fn packets_are_renumbered_where_the_server_has_payload_types_of_its_own() {
    for without_repair in [false, true] {
        let (handle, pool, server) = (anchor(), pool(), server());
        let own = AnswerOptions { own_payload_types: true, without_repair, ..AnswerOptions::default() };
        let (mut publisher, mut player) =
            changed_pair(&handle, &pool, &server, "n", &own, str::to_owned).await;
        let stats = player.until("media", flowing).await;
        assert_eq!(stats.video.payload_type, Some(96), "the client sees the numbers that it offered");
        assert_eq!(stats.audio.payload_type, Some(111));

        // A server after a restart may have other habits.
        for answer in [AnswerOptions::shape(AnswerShape::B), own] {
            let server = media_support::server();
            let before = player.client.stats();
            publisher.restore(&server, answer.clone()).await;
            player.restore(&server, answer).await;
            assert!(publisher.proof().await && player.proof().await);
            player.until("media after the restart", flows_again(&before, 40)).await;
        }
    }
}

#[tokio::test]
async fn a_section_that_the_server_rejects_leaves_the_other_alone() {
    let (handle, pool) = (anchor(), pool());
    for kind in ["audio", "video"] {
        let server = server();
        let options = AnswerOptions { reject: vec![kind.to_owned()], ..AnswerOptions::default() };
        let (mut publisher, mut player) =
            changed_pair(&handle, &pool, &server, kind, &options, str::to_owned).await;
        let one = |s: &ClientStats| {
            let (rejected, other) = if kind == "audio" { (&s.audio, &s.video) } else { (&s.video, &s.audio) };
            rejected.packets_received == 0 && other.packets_received > 40
        };
        player.until(kind, one).await;

        // The next server would take both, but the client has no such section any more.
        let server = media_support::server();
        let before = player.client.stats();
        publisher.restore(&server, AnswerOptions::default()).await;
        publisher.proof().await;
        player.restore(&server, AnswerOptions::default()).await;
        player.proof().await;
        let packets = |s: &ClientStats| s.audio.packets_received + s.video.packets_received;
        player.until("media after a restart", |s| packets(s) > packets(&before) + 30 && one(s)).await;
    }
}

#[tokio::test]
async fn a_dead_section_may_be_left_out() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let data =
        |offer: &str| offer.replacen("m=audio", "m=application 9 UDP/DTLS/SCTP x\r\na=mid:2\r\nm=audio", 1);
    let drop_rejected = |answer: &str| {
        let kept: Vec<&str> =
            answer.split("m=").filter(|s| s.split_whitespace().nth(1) != Some("0")).collect();
        assert_eq!(kept.len(), 3, "the session, audio and video");
        kept.join("m=")
    };
    let mut publisher = Anchored::open_changed(&handle, &pool, "n", ClientOptions::publish(), data).await;
    publisher.attach_changed(&server, AnswerOptions::default(), drop_rejected).await;
    let answer = publisher.connect().await;
    assert_eq!(answer.matches("m=").count(), 3, "the client hears of all three: {answer}");
    assert!(publisher.proof().await);
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_the_next_answer_counts() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let cases: [(&str, Change, &str); 10] = [
        ("empty", |_| String::new(), "empty"),
        ("no section", |a| a[..a.find("m=").unwrap()].to_owned(), "no media section"),
        ("a section less", |a| a[..a.find("m=video").unwrap()].to_owned(), "lacks a section"),
        (
            "all rejected",
            |a| lines(a, "m=", &|l| format!("{} 0 X 0", l.split(' ').next().unwrap())),
            "rejects",
        ),
        ("the wrong way", |a| a.replace("a=sendonly", "a=recvonly"), "the other way"),
        ("inactive", |a| a.replace("a=sendonly", "a=inactive"), "the other way"),
        (
            "other codecs",
            |a| lines(a, "a=rtpmap:", &|l| format!("{}-x/8000", l.split('/').next().unwrap())),
            "codec",
        ),
        ("no ICE", |a| lines(a, "a=ice-ufrag", &nothing), "ICE"),
        ("a long ufrag", |a| lines(a, "a=ice-ufrag", &|l| format!("{l}{}", "x".repeat(200))), "ICE"),
        ("an unknown hash", |a| a.replace("sha-256", "md5"), "fingerprint"),
    ];
    let publish = ClientOptions::publish();
    let _publisher = Anchored::start(&handle, &pool, &server, "n", publish, AnswerOptions::default()).await;
    let mut player = Anchored::open(&handle, &pool, "n", ClientOptions::play()).await;
    for (what, change, expected) in cases {
        player.attach_changed(&server, AnswerOptions::default(), change).await;
        let failed = |fact| if let Fact::UpstreamFailed { reason, .. } = fact { Some(reason) } else { None };
        let reason = player.expect(failed).await;
        assert!(reason.contains(expected), "{what}: {reason}");
        player.attach(false);
    }
    player.attach_to(&server, AnswerOptions::default()).await;
    player.connect().await;
    player.until("media", flowing).await;
}

#[tokio::test]
async fn answers_cut_anywhere_do_no_harm() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let (_publisher, player) =
        changed_pair(&handle, &pool, &server, "n", &AnswerOptions::default(), str::to_owned).await;
    for share in 0..40 {
        let mut stream = Anchored::open(&handle, &pool, "n", ClientOptions::play()).await;
        let cut = |answer: &str| answer[..answer.len() * share / 40].to_owned();
        stream.attach_changed(&server, AnswerOptions::default(), cut).await;
        let decided = |fact| match fact {
            Fact::ClientAnswer { sdp } => Some(Some(sdp)),
            Fact::UpstreamFailed { .. } => Some(None),
            _ => None,
        };
        // A section that is missing was not rejected: the client must not take it for that.
        let answer = stream.expect(decided).await.unwrap_or_default();
        assert!(!answer.contains("m=video 0"), "{answer}");
    }
    player.until("the worker lives", flowing).await;
}
