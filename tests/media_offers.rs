//! Offers of unusual shape, from publishers and from players: what can be anchored is, and its media
//! flows; of what cannot, the reason is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use futures_util::future::join_all;
use holdfast::{
    load::webrtc_client::{ClientOptions, ClientPool, ClientStats},
    media::{Fact, MediaHandle},
    simulator::media::{AnswerOptions, Media},
    telemetry::LogCapture,
};

use media_support::{Anchored, anchor, flowing, pool, server};

/// Pairs that run at once; more would make each other late on a small machine.
const AT_ONCE: usize = 6;

type Change = fn(&str) -> String;

/// A name and what it does to an offer of audio and video.
const SHAPES: &[(&str, Change)] = &[
    ("line feeds alone", |o| o.replace("\r\n", "\n")),
    ("a byte order mark and empty lines", |o| format!("\u{feff}\r\n\r\n{o}")),
    ("blanks", |o| o.replace("\r\n", " \r\n ").replace("a=mid:", "a=mid: ")),
    ("hash and hex in the other case", |o| lines(o, "a=fingerprint:", |l| flip_case(l, 14))),
    ("what is said for the session", session_level),
    ("bundle-only video", bundle_only),
    ("data channel first", |o| with_section(o, 0, DATA)),
    ("data channel between", |o| with_section(o, 1, DATA)),
    ("data channel last", |o| with_section(o, 2, DATA)),
    ("second video", |o| with_section(o, 2, &section(o, "video").replace("a=mid:1", "a=mid:2"))),
    ("second audio", |o| with_section(o, 1, &section(o, "audio").replace("a=mid:0", "a=mid:2"))),
    ("unknown protocol", |o| with_section(o, 0, "m=audio 9 UDP/TLS/RTP/XYZ 0\r\na=mid:2\r\n")),
    ("dead section first", |o| {
        with_section(o, 0, "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:2\r\na=inactive\r\n")
    }),
    ("inactive section", |o| {
        with_section(
            o,
            1,
            &section(o, "video")
                .replace("a=mid:1", "a=mid:2")
                .replace("a=sendonly", "a=inactive")
                .replace("a=recvonly", "a=inactive"),
        )
    }),
    ("an idle section that speaks for the BUNDLE", |o| {
        let idle = section(o, "video").replace("a=mid:1", "a=mid:2");
        let idle = idle.replace("a=sendonly", "a=inactive").replace("a=recvonly", "a=inactive");
        with_section(o, 0, &idle).replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 2 0 1")
    }),
    ("a second section that speaks for the BUNDLE", |o| {
        let audio = section(o, "audio");
        o.replace(&audio, &forge(&audio, "sha-256")).replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0")
    }),
    ("unreadable port", |o| with_section(o, 2, "m=image 70000 udptl t38\r\na=mid:2\r\n")),
    ("mids too long for packets", |o| {
        mids(o, "audio-of-the-first-microphone", "0b53d4b6-1f7c-4d36-9f3e-6f7b3a1f4a11")
    }),
    ("mids that packets cannot carry", |o| mids(o, "a-0", "a.1")),
    ("no mids", |o| lines(o, "a=mid:", |_| String::new())),
    ("no group", |o| lines(o, "a=group:", |_| String::new())),
    ("two groups", |o| o.replace("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE 0\r\na=group:BUNDLE 1\r\n")),
    ("a group of which one half is unknown", |o| o.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 7 0 1")),
    ("AVPF", |o| o.replace("UDP/TLS/RTP/SAVPF", "RTP/AVPF")),
    ("AVP", |o| o.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
    ("SAVPF of old", |o| o.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")),
    ("setup:active", |o| o.replace("a=setup:actpass", "a=setup:active")),
    ("setup:passive", |o| o.replace("a=setup:actpass", "a=setup:passive")),
    ("no setup", |o| lines(o, "a=setup:", |_| String::new())),
    ("no rtcp-mux in a BUNDLE", |o| lines(o, "a=rtcp-mux", |_| String::new())),
    ("names of codecs in another case", |o| {
        o.replace("VP8/90000", "vp8/90000").replace("opus/", "OPUS/").replace("rtx/", "RTX/")
    }),
    ("payload types twice and in odd order", |o| {
        o.replace(" 96 97 ", " 97 96 96 97 ").replace(" 111 63 0 8", " 111 111 0 0 63 8")
    }),
    ("static payload types without a map", |o| {
        lines(&lines(o, "a=rtpmap:0 ", |_| String::new()), "a=rtpmap:8 ", |_| String::new())
    }),
    ("ports with counts", |o| o.replace(" 9 UDP", " 9/2 UDP")),
    ("IPv6", |o| o.replace("IN IP4 0.0.0.0", "IN IP6 ::")),
    ("layers and groups of sources", |o| {
        lines(o, "a=rtcp-rsize", |_| {
            "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\na=msid:s a\r\na=msid:t b\r\na=ssrc-group:FEC-FR 1 2".to_owned()
        })
    }),
    ("mixed extensions by section", |o| {
        o.replace("a=extmap-allow-mixed\r\n", "")
            .replace("a=rtcp-rsize", "a=extmap-allow-mixed\r\na=rtcp-rsize")
    }),
    ("clashing extensions", |o| {
        o.replace("a=extmap:13 urn:3gpp:video-orientation", "a=extmap:1 urn:3gpp:video-orientation")
    }),
    ("very long lines", |o| o.replace("a=rtcp-rsize", &format!("a=x:{}\r\na=rtcp-rsize", "y".repeat(8000)))),
];

const DATA: &str =
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n";

/// Changes the lines that begin like this; an empty one goes.
fn lines(offer: &str, begin: &str, change: impl Fn(&str) -> String) -> String {
    let changed =
        offer.lines().map(|line| if line.starts_with(begin) { change(line) } else { line.to_owned() });
    changed.filter(|line| !line.is_empty()).map(|line| line + "\r\n").collect()
}

fn flip_case(line: &str, from: usize) -> String {
    let flip = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    line.char_indices().map(|(at, c)| if at < from { c } else { flip(c) }).collect()
}

/// The section of a kind, with its `m=` line.
fn section(offer: &str, kind: &str) -> String {
    let start = offer.find(&format!("m={kind}")).unwrap();
    let end = offer[start + 2..].find("m=").map_or(offer.len(), |end| start + 2 + end);
    offer[start..end].to_owned()
}

fn with_section(offer: &str, place: usize, section: &str) -> String {
    let starts: Vec<usize> = offer.match_indices("m=").map(|(at, _)| at).chain([offer.len()]).collect();
    let (before, after) = offer.split_at(starts[place]);
    format!("{before}{section}{after}").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2")
}

fn mids(offer: &str, audio: &str, video: &str) -> String {
    offer
        .replace("a=mid:0", &format!("a=mid:{audio}"))
        .replace("a=mid:1", &format!("a=mid:{video}"))
        .replace("BUNDLE 0 1", &format!("BUNDLE {audio} {video}"))
}

const TRANSPORT: [&str; 5] = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=rtcp-mux"];

fn transport_lines(offer: &str) -> String {
    let audio = section(offer, "audio");
    audio.lines().filter(|l| TRANSPORT.iter().any(|t| l.starts_with(t))).map(|l| format!("{l}\r\n")).collect()
}

fn without_transport(section: &str) -> String {
    section
        .lines()
        .filter(|l| !TRANSPORT.iter().any(|t| l.starts_with(t)))
        .map(|l| format!("{l}\r\n"))
        .collect()
}

fn session_level(offer: &str) -> String {
    let bare = without_transport(offer);
    let extension = "a=extmap:9 urn:example:of-the-session\r\n";
    bare.replacen("m=audio", &format!("{}{extension}m=audio", transport_lines(offer)), 1)
}

fn bundle_only(offer: &str) -> String {
    let video = section(offer, "video");
    let bare = without_transport(&video).replace("m=video 9", "m=video 0");
    offer.replace(&video, &format!("{bare}a=bundle-only\r\n"))
}

/// A publisher and a player whose offers were changed alike.
async fn changed_pair(
    handle: &MediaHandle,
    pool: &ClientPool,
    server: &Media,
    name: &str,
    change: impl Fn(&str) -> String,
) -> (Anchored, Anchored, String) {
    let mut publisher = Anchored::open_changed(handle, pool, name, ClientOptions::publish(), &change).await;
    publisher.attach_to(server, AnswerOptions::default()).await;
    publisher.connect().await;
    publisher.proof().await;
    let mut player = Anchored::open_changed(handle, pool, name, ClientOptions::play(), &change).await;
    player.attach_to(server, AnswerOptions::default()).await;
    let answer = player.connect().await;
    (publisher, player, answer)
}

/// As many sections as were offered, and none that is rejected is in a group.
fn assert_sound(offer: &str, answer: &str, what: &str) {
    let count = |text: &str| text.lines().filter(|l| l.trim().starts_with("m=")).count();
    assert_eq!(count(answer), count(offer), "{what}: {answer}");
    let group = answer.lines().find_map(|l| l.strip_prefix("a=group:BUNDLE")).unwrap_or_default().to_owned();
    let grouped: Vec<&str> = group.split_whitespace().collect();
    for section in answer.split("m=").skip(1) {
        let mid = section.lines().find_map(|l| l.strip_prefix("a=mid:"));
        let rejected = section.split_whitespace().nth(1) == Some("0");
        assert!(!(rejected && mid.is_some_and(|mid| grouped.contains(&mid))), "{what}: {answer}");
    }
}

#[tokio::test]
async fn media_flows_whatever_shape_the_offers_have() {
    let (handle, pool, server) = &(anchor(), pool(), server());
    for some in SHAPES.chunks(AT_ONCE) {
        join_all(some.iter().map(|(what, change)| async move {
            let (_publisher, player, answer) = changed_pair(handle, pool, server, what, change).await;
            assert_sound(&change(player.client.offer()), &answer, what);
            player.until(what, flowing).await;
        }))
        .await;
    }
}

#[tokio::test]
async fn a_section_that_is_rejected_leaves_the_other_alone() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let dead_audio = |offer: &str| offer.replace("m=audio 9", "m=audio 0");
    let (mut publisher, mut player, answer) = changed_pair(&handle, &pool, &server, "n", dead_audio).await;
    assert!(answer.contains("a=group:BUNDLE 1\r\n"), "{answer}");
    let video = |s: &ClientStats| s.video.packets_received > 60 && s.audio.packets_received == 0;
    player.until("video", video).await;

    let server = media_support::server();
    publisher.restore(&server, AnswerOptions::default()).await;
    player.restore(&server, AnswerOptions::default()).await;
    assert!(publisher.proof().await && player.proof().await, "restored as well");
}

#[tokio::test]
async fn certificates_are_checked_by_every_hash() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let sets: [&[&str]; 6] = [
        &["sha-1"],
        &["sha-224"],
        &["sha-384"],
        &["sha-512"],
        &["sha-1", "sha-512"],
        &["sha-512", "sha-256"],
    ];
    for hashes in sets {
        let fingerprints: Vec<String> = hashes.iter().map(|h| (*h).to_owned()).collect();
        let what = hashes.join(" ");
        let options =
            |options: ClientOptions| ClientOptions { fingerprints: fingerprints.clone(), ..options };
        let answer = || AnswerOptions { fingerprints: fingerprints.clone(), ..AnswerOptions::default() };
        let publish = options(ClientOptions::publish());
        let mut publisher = Anchored::start(&handle, &pool, &server, &what, publish, answer()).await;
        assert!(publisher.proof().await);
        let play = options(ClientOptions::play());
        let player = Anchored::start(&handle, &pool, &server, &what, play, answer()).await;
        player.until(&what, flowing).await;
    }
}

/// The last digit of each fingerprint by this hash becomes another.
fn forge(text: &str, hash: &str) -> String {
    lines(text, &format!("a=fingerprint:{hash} "), |line| {
        let (rest, last) = line.split_at(line.len() - 1);
        format!("{rest}{}", if last == "0" { '1' } else { '0' })
    })
}

#[tokio::test]
async fn another_certificate_than_announced_ends_the_leg() {
    let (handle, pool, server) = (anchor(), pool(), server());
    for hash in ["sha-1", "sha-256", "sha-384", "sha-512"] {
        let options = ClientOptions { fingerprints: vec![hash.to_owned()], ..ClientOptions::publish() };
        let answer = AnswerOptions { fingerprints: vec![hash.to_owned()], ..AnswerOptions::default() };
        let mut client =
            Anchored::open_changed(&handle, &pool, hash, options.clone(), |o| forge(o, hash)).await;
        client.attach_to(&server, answer.clone()).await;
        client.connect().await;
        let gone = |fact| if let Fact::ClientGone { reason } = fact { Some(reason) } else { None };
        let reason = client.expect(gone).await;
        assert!(reason.contains("fingerprint"), "{hash}: {reason}");

        let mut upstream = Anchored::open(&handle, &pool, &format!("{hash} up"), options).await;
        upstream.attach_changed(&server, answer, |a| forge(a, hash)).await;
        let failed = |fact| if let Fact::UpstreamFailed { reason, .. } = fact { Some(reason) } else { None };
        let reason = upstream.expect(failed).await;
        assert!(reason.contains("fingerprint"), "{hash}: {reason}");
    }
}

#[tokio::test]
async fn what_cannot_be_anchored_is_told() {
    let (handle, pool) = (anchor(), pool());
    let cases: [(&str, Change, &str); 9] = [
        ("empty", |_| String::new(), "empty"),
        ("no section", |o| o[..o.find("m=").unwrap()].to_owned(), "no media section"),
        ("data alone", |_| format!("v=0\r\n{DATA}"), "neither audio nor video"),
        ("no fingerprint", |o| lines(o, "a=fingerprint", |_| String::new()), "no fingerprint"),
        ("an unknown hash", |o| o.replace("sha-256", "md5"), "no fingerprint"),
        ("no ICE", |o| lines(o, "a=ice-pwd", |_| String::new()), "ICE"),
        ("a long ufrag", |o| lines(o, "a=ice-ufrag", |l| format!("{l}{}", "x".repeat(200))), "ICE"),
        (
            "no rtcp-mux",
            |o| lines(&lines(o, "a=rtcp-mux", |_| String::new()), "a=group", |_| String::new()),
            "rtcp-mux",
        ),
        ("too long", |o| format!("{o}a=x:{}", "y".repeat(100_000)), "too long"),
    ];
    for (what, change, expected) in cases {
        let options = ClientOptions::publish();
        let mut stream = Anchored::open_changed(&handle, &pool, what, options, change).await;
        match stream.facts.recv().await.unwrap().fact {
            Fact::Unanchorable { reason } => assert!(reason.contains(expected), "{what}: {reason}"),
            fact => panic!("{what}: {fact:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_left_out_is_told_in_the_log() {
    let log = LogCapture::new();
    log.everywhere().unwrap();
    let (handle, pool) = (anchor(), pool());
    let odd = |offer: &str| {
        let odd = with_section(offer, 0, "m=audio 9 TCP/MSRP 0\r\na=mid:3\r\n");
        with_section(&odd, 3, DATA)
    };
    let mut publisher = Anchored::open_changed(&handle, &pool, "n", ClientOptions::publish(), odd).await;
    publisher.upstream_offer().await;
    let told = "0 (audio): a transport protocol other than RTP, 3 (other): neither audio nor video";
    let lines = log.lines_with("not anchored");
    assert!(lines.iter().any(|line| line.contains(told)), "{lines:#?}");
}

#[tokio::test]
async fn offers_cut_anywhere_do_no_harm() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let length = client.offer().len();
    for end in (0..length).step_by(97) {
        let options = ClientOptions::publish();
        let mut stream =
            Anchored::open_changed(&handle, &pool, "cut", options, |o| o[..end].to_owned()).await;
        assert!(matches!(
            stream.facts.recv().await.unwrap().fact,
            Fact::Unanchorable { .. } | Fact::UpstreamOffer { .. }
        ));
    }
    let (_publisher, player, _) = changed_pair(&handle, &pool, &server, "after", str::to_owned).await;
    player.until("the worker lives", flowing).await;
}

#[tokio::test]
async fn after_a_restart_a_player_says_again_what_it_can_receive() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let options = ClientOptions::play();
    let _publisher =
        Anchored::start(&handle, &pool, &server, "n", ClientOptions::publish(), AnswerOptions::default())
            .await;
    let mut player = Anchored::open(&handle, &pool, "n", options).await;
    let of_the_server = |answer: &str| {
        answer
            .replace("minptime=10;useinbandfec=1", "maxaveragebitrate=16000")
            .replace("profile-level-id=42001f", "profile-level-id=42000a")
    };
    let first = player.attach_changed(&server, AnswerOptions::default(), of_the_server).await;
    let answer = player.connect().await;
    assert!(answer.contains("maxaveragebitrate=16000"), "what the server says reaches the client");
    player.proof().await;
    player.detach();
    player.attach(true);
    let again = player.upstream_offer().await;
    let parameters = |offer: &str| {
        offer.lines().filter(|l| l.starts_with("a=fmtp:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!parameters(&again).is_empty());
    for line in parameters(&again) {
        assert!(parameters(&first).contains(&line), "{line} is not what the client said");
    }
}
