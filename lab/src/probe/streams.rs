//! A publish of the operator's choice: its answer, its media, players of it, its end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Probe,
    answer::Answer,
    greeting::{Established, establish},
    messages::{MSE_OFFER, Wishes},
    quick::is_end,
    resume,
    session::Session,
    stream::Stream,
};
use crate::{
    load::webrtc_client::{ClientOptions, WebRtcClient},
    simulator::{VideoCodec, media::CertificateKey},
};

/// How long ICE and DTLS may take.
const MEDIA_TIME_MAX: Duration = Duration::from_secs(5);
/// How long feedback to a publisher is waited for.
const FEEDBACK_TIME_MAX: Duration = Duration::from_millis(2_500);
/// How long a player's first key frame is waited for.
const KEY_FRAME_TIME_MAX: Duration = Duration::from_secs(3);
/// How long other answers are waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// What the made-up picture takes.
const VIDEO_BPS: u32 = 300_000;

/// Publishes `name`, plays it, and ends both.
pub(super) async fn ask(probe: &Probe, name: &str) {
    let mark = probe.mark();
    let Ok(Established { session, .. }) =
        establish(probe, &Wishes { mark: &mark, ..Wishes::default() }).await
    else {
        return probe.findings.miss("answer_ms", "no session for a publish");
    };
    let Some(client) = publisher(probe).await else {
        return probe.findings.miss("answer_ms", "no media can be made here");
    };
    let stream = Stream::start(probe, &session, (true, name, "WebRTC"), client.offer(), Some(&client)).await;
    if let Some((verb, info)) = stream.refusal() {
        let why = format!("the publish of {name} is refused by {verb}: {}", info.unwrap_or("without a text"));
        probe.findings.miss("answer_ms", why);
        return session.close().await;
    }
    signaling(probe, &session, &stream, client.offer());
    let connected = media(probe, &client).await;
    players(probe, &session, &stream, &client, connected).await;
    session.close().await;
    resumed(probe, name).await;
}

/// A client that publishes and looks at what the server sends.
pub(super) async fn publisher(probe: &Probe) -> Option<WebRtcClient> {
    let options = ClientOptions {
        watches_peer: true,
        bitrate_bps: VIDEO_BPS,
        // MSE players take H264 alone.
        video: vec![VideoCodec::H264, VideoCodec::Vp8],
        ..ClientOptions::publish()
    };
    probe.pool.as_ref()?.client(options).await.ok()
}

fn signaling(probe: &Probe, session: &Session, stream: &Stream, offer: &str) {
    let findings = &probe.findings;
    let Some(sdp) = &stream.sdp else {
        findings.miss("answer_ms", "no setRemoteSDP came");
        return;
    };
    let took = sdp.at.saturating_duration_since(stream.asked);
    findings.measure_time("answer_ms", took, "");
    match (stream.status_before(session), &stream.running) {
        (Some(status), _) => findings.see("pending_status", status),
        (None, Some(_)) => findings.see("pending_status", "absent"),
        (None, None) => findings.miss("pending_status", "PUBLISHING did not come"),
    }
    match stream.sdp_is_first(session) {
        Some(first) => findings.see("status_order", if first { "sdp_first" } else { "status_first" }),
        None => findings.miss("status_order", "PUBLISHING did not come"),
    }
    findings.see(
        "third_sdp_argument",
        match sdp.at_index(2) {
            Some(Value::Bool(true)) => "true",
            Some(Value::Bool(false)) => "false",
            None | Some(Value::Null) => "missing",
            Some(_) => "other",
        },
    );
    let Some(text) = stream.sdp_text() else { return };
    let (answer, offer) = (Answer::read(text), Answer::read(offer));
    findings.see("answer_shape", answer.shape());
    findings.see("answer_bundle", answer.bundle_position());
    findings.see("answer_mids", answer.mids());
    findings.see("answer_setup", answer.setup());
    findings.see("answer_ice_lite", answer.ice_lite());
    findings.see("answer_candidates", answer.candidates());
    findings.see("answer_profile", answer.profile());
    findings.see("answer_payload_types", answer.payload_types(&offer));
    findings.see("answer_rtx", answer.rtx());
    findings.see("answer_fingerprints", answer.fingerprints());
    findings.see("answer_sections", answer.sections(&offer));
    findings.see("answer_codecs", answer.codecs());
    findings.see("answer_feedback", answer.feedback());
}

/// Whether media comes to stand, and what shows of the server then.
async fn media(probe: &Probe, client: &WebRtcClient) -> bool {
    let findings = &probe.findings;
    let limit = probe.limit(MEDIA_TIME_MAX);
    let connected = client.wait_for(limit, |stats| stats.connected || stats.failed).await;
    let connected = connected.is_ok_and(|stats| stats.connected);
    let waited = format!("watched for {} s", limit.as_secs());
    findings.see_with(
        "media_connects",
        if connected { "yes" } else { "no" },
        if connected { "" } else { &waited },
    );
    if connected {
        let limit = probe.limit(FEEDBACK_TIME_MAX);
        let _ = client.wait_for(limit, |stats| stats.peer.transport_feedback + stats.peer.remb > 0).await;
    }
    let peer = client.stats().peer;
    match peer.starts_dtls {
        Some(starts) => findings.see("dtls_role", if starts { "starts" } else { "waits" }),
        None => findings.miss("dtls_role", "no DTLS handshake was seen"),
    }
    match peer.certificate {
        Some(CertificateKey::Ecdsa) => findings.see("dtls_certificate", "ecdsa"),
        Some(CertificateKey::Rsa) => findings.see("dtls_certificate", "rsa"),
        None => findings.miss("dtls_certificate", "its certificate was not seen"),
    }
    if connected {
        let feedback = match (peer.remb > 0, peer.transport_feedback > 0) {
            (true, true) => "both",
            (true, false) => "remb",
            (false, true) => "transport_cc",
            (false, false) => "none",
        };
        let watched = format!("watched for {} ms", FEEDBACK_TIME_MAX.as_millis());
        findings.see_with("rtcp_feedback", feedback, watched);
    } else {
        for key in ["rtcp_feedback", "key_frame_on_play", "first_key_frame_ms"] {
            findings.miss(key, "media does not connect");
        }
    }
    connected
}

/// A second session: another publish of the name, players, and the end of all of them.
async fn players(
    probe: &Probe,
    publishing: &Session,
    published: &Stream,
    publisher: &WebRtcClient,
    connected: bool,
) {
    let mark = probe.mark();
    let second = establish(probe, &Wishes { mark: &mark, ..Wishes::default() }).await.ok();
    let Some(Established { session, token, .. }) = second else {
        probe.findings.miss("duplicate_name_verb", "no second session");
        return end_publish(probe, publishing, published, None).await;
    };
    let name = &published.name;
    duplicate(probe, &session, name).await;
    let player = play(probe, &session, name, publisher, connected).await;
    snapshot(probe, publishing, published).await;
    mse(probe, &session, name, token.as_deref()).await;
    rates(probe, [publishing, &session]);
    let watched = player.as_ref().map(|(stream, _)| (&session, stream));
    end_publish(probe, publishing, published, watched).await;
    session.close().await;
}

async fn duplicate(probe: &Probe, session: &Session, name: &str) {
    let Some(client) = publisher(probe).await else { return };
    let stream = Stream::start(probe, session, (true, name, "WebRTC"), client.offer(), None).await;
    match stream.refusal() {
        Some((verb, info)) => {
            probe.findings.see("duplicate_name_verb", verb);
            match info {
                Some(info) => probe.findings.see("duplicate_name_info", info),
                None => probe.findings.miss("duplicate_name_info", "the refusal has no text"),
            }
        }
        None if stream.is_accepted() => {
            probe.findings.see_with("duplicate_name_verb", "accepted", "two publishes have one name");
            probe.findings.miss("duplicate_name_info", "it was not refused");
            let _ = stream.stop(probe, session).await;
        }
        None => {
            for key in ["duplicate_name_verb", "duplicate_name_info"] {
                probe.findings.miss(key, "the server did not answer it");
            }
            let _ = stream.stop(probe, session).await;
        }
    }
}

/// Plays the name and sees whether and when a key frame comes.
async fn play(
    probe: &Probe,
    session: &Session,
    name: &str,
    publisher: &WebRtcClient,
    connected: bool,
) -> Option<(Stream, WebRtcClient)> {
    let client = probe.play_offer().await?;
    let before = publisher.stats().peer.key_frame_requests;
    let stream = Stream::start(probe, session, (false, name, "WebRTC"), client.offer(), Some(&client)).await;
    let Some(running) = stream.running.as_ref().filter(|_| stream.is_accepted()) else {
        for key in ["key_frame_on_play", "first_key_frame_ms"] {
            probe.findings.miss(key, "the play did not come to run");
        }
        return Some((stream, client));
    };
    if !connected {
        return Some((stream, client));
    }
    let limit = probe.limit(KEY_FRAME_TIME_MAX);
    let first = client.wait_for(limit, |stats| stats.video.key_frames > 0).await;
    let watched = format!("none within {} s", KEY_FRAME_TIME_MAX.as_secs());
    match first {
        Ok(_) => {
            let took = Instant::now().saturating_duration_since(running.at);
            probe.findings.measure_time("first_key_frame_ms", took, "");
        }
        Err(_) => probe.findings.miss("first_key_frame_ms", watched.clone()),
    }
    // The frame may be here before it is known what the publisher was asked.
    let limit = probe.limit(KEY_FRAME_TIME_MAX);
    if publisher.wait_for(limit, |stats| stats.peer.key_frame_requests > before).await.is_ok() {
        probe.findings.see("key_frame_on_play", "asked");
    } else {
        probe.findings.see_with("key_frame_on_play", "not_asked", watched);
    }
    Some((stream, client))
}

async fn snapshot(probe: &Probe, session: &Session, published: &Stream) {
    let from = session.count();
    session.say("snapshot", &json!({"name": published.name, "mediaSessionId": published.id})).await;
    let answer = session
        .wait(probe.limit(ANSWER_TIME_MAX), |heard| {
            heard.messages.iter().skip(from).find_map(|said| match (&*said.name, said.field("type")) {
                ("notifyStreamEvent", Some("snapshotCompleted")) => Some(("event", String::new())),
                ("notifyStreamEvent", Some("snapshotFailed")) => {
                    let info = said.argument().get("payload").and_then(|payload| payload.get("info"));
                    Some(("failed", info.and_then(Value::as_str).unwrap_or_default().to_owned()))
                }
                _ => (said.field("status") == Some("SNAPSHOT_COMPLETE")).then(|| ("status", String::new())),
            })
        })
        .await;
    match answer {
        Some((position, detail)) => probe.findings.see_with("snapshot", position, detail),
        None => {
            let waited = format!("no answer within {} s", ANSWER_TIME_MAX.as_secs());
            probe.findings.see_with("snapshot", "silent", waited);
        }
    }
}

/// Plays by MSE: its media comes over a socket of its own.
async fn mse(probe: &Probe, session: &Session, name: &str, token: Option<&str>) {
    let Some(token) = token else {
        return probe.findings.miss("mse_records", "getUserData gives no token");
    };
    let stream = Stream::start(probe, session, (false, name, "MSE"), MSE_OFFER, None).await;
    if let Some((_, info)) = stream.refusal() {
        probe.findings.see_with("mse_records", "refused", info.unwrap_or_default());
        return;
    }
    match probe.open().await {
        Err(error) => probe.findings.miss("mse_records", error.to_string()),
        Ok(socket) => {
            socket.say("connectMediaTransport", &json!({"authToken": token})).await;
            let came =
                socket.wait(probe.limit(ANSWER_TIME_MAX), |heard| (heard.binary.0 > 0).then_some(())).await;
            let waited = format!("none within {} s", ANSWER_TIME_MAX.as_secs());
            match came {
                Some(()) => probe.findings.see("mse_records", "records"),
                None => probe.findings.see_with("mse_records", "none", waited),
            }
            socket.close().await;
        }
    }
    ended(probe, "stop_ms", stream.stop(probe, session).await);
}

fn ended(probe: &Probe, key: &'static str, end: Option<(String, Duration)>) {
    match end {
        Some((status, took)) => probe.findings.measure_time(key, took, status),
        None => probe.findings.miss(key, "the server does not confirm it"),
    }
}

fn rates(probe: &Probe, sessions: [&Session; 2]) {
    let came = sessions.iter().any(|session| {
        session.look(|heard| {
            ["inboundVideoRate", "outboundVideoRate"].iter().any(|name| heard.named(name).is_some())
        })
    });
    probe.findings.see("rate_messages", if came { "present" } else { "absent" });
}

/// Unpublishes, and sees what a player hears of it.
async fn end_publish(
    probe: &Probe,
    publishing: &Session,
    published: &Stream,
    player: Option<(&Session, &Stream)>,
) {
    ended(probe, "unpublish_ms", published.stop(probe, publishing).await);
    let Some((session, stream)) = player.filter(|(_, stream)| stream.is_accepted()) else {
        return probe.findings.miss("players_told", "nobody played");
    };
    let told = session
        .next(probe.limit(ANSWER_TIME_MAX), 0, |said| {
            said.is_status_of(&stream.id) && said.field("status").is_some_and(is_end)
        })
        .await;
    match told {
        Some(said) => {
            let word = |key| said.field(key).unwrap_or_default();
            probe.findings.see_with("players_told", "told", format!("{} {}", word("status"), word("info")));
        }
        None => {
            let waited = format!("nothing within {} s", ANSWER_TIME_MAX.as_secs());
            probe.findings.see_with("players_told", "not_told", waited);
            let _ = stream.stop(probe, session).await;
        }
    }
}

/// Publishes in a session that is to be kept, loses it, comes back, and sees what it is told.
async fn resumed(probe: &Probe, name: &str) {
    let key = "status_after_resume";
    let seen = ["same_token", "new_token", "off"];
    if !seen.iter().any(|position| probe.findings.is("keep_alive_resume", position)) {
        return probe.findings.miss(key, "no session was resumed");
    }
    // Another name: where nothing is resumed it may stay taken for a while.
    let name = &format!("{name}-3");
    let mark = probe.mark();
    let wishes = Wishes { keep_alive: Some(true), mark: &mark, ..Wishes::default() };
    let Ok(Established { session, token: Some(token), .. }) = establish(probe, &wishes).await else {
        return probe.findings.miss(key, "no session that is kept");
    };
    let Some(client) = publisher(probe).await else { return };
    let stream = Stream::start(probe, &session, (true, name, "WebRTC"), client.offer(), Some(&client)).await;
    if !stream.is_accepted() {
        probe.findings.miss(key, "the publish was not accepted");
        session.close().await;
        return resume::end(probe, Some(&token)).await;
    }
    session.reset().await;
    let Ok((back, _)) = resume::come_back(probe, &token).await else {
        return probe.findings.miss(key, "the session was not resumed");
    };
    repeated(probe, &back, &stream, resume::is_resumed(&back, &token, &mark)).await;
    let newest = back.token.clone();
    back.session.close().await;
    resume::end(probe, newest.as_deref()).await;
}

/// What somebody who comes back hears of a stream that it left.
async fn repeated(probe: &Probe, back: &Established, stream: &Stream, known: bool) {
    let key = "status_after_resume";
    let told = back.session.next(probe.limit(ANSWER_TIME_MAX), 0, |said| said.is_status_of(&stream.id)).await;
    if told.is_some() && !known {
        // Its token and its fields are new, and yet the stream is known: that says more.
        probe.findings.see_with("keep_alive_resume", "new_token", "known by its stream");
    }
    match &told {
        Some(said) => probe.findings.see_with(key, "sent", said.field("status").unwrap_or_default()),
        None if known => {
            let waited = format!("none within {} s", ANSWER_TIME_MAX.as_secs());
            probe.findings.see_with(key, "absent", waited);
        }
        None => return probe.findings.miss(key, "no session was resumed"),
    }
    if !told.is_some_and(|said| said.field("status").is_some_and(is_end)) {
        let _ = stream.stop(probe, &back.session).await;
    }
}
