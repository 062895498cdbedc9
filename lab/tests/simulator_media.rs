//! The simulator's media over real UDP and TCP on loopback: synthetic publishers and players
//! through every answer shape, key frames on request, refusals, loss, MSE.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use holdfast_lab::load::webrtc_client::{ClientOptions, ClientPool, ClientStats, PoolSettings, WebRtcClient};
use holdfast_lab::simulator::media::{
    AnswerOptions, AnswerShape, CodecRules, DtlsRole, Media, MediaRefusal, MediaSettings, NetworkConditions,
    VideoCodec, mse_answer,
};

/// Far beyond what any of this takes, so that a busy machine does not fail a test.
const LIMIT: Duration = Duration::from_secs(60);

fn pool() -> ClientPool {
    ClientPool::start(PoolSettings::default()).unwrap()
}

fn media() -> Media {
    Media::start(MediaSettings::default()).unwrap()
}

async fn publish(
    pool: &ClientPool,
    media: &Media,
    name: &str,
    options: ClientOptions,
    answer: AnswerOptions,
) -> WebRtcClient {
    let client = pool.client(options).await.unwrap();
    let id = format!("publish-{name}");
    let text = media.publish(&id, name, client.offer(), answer).await.unwrap();
    client.apply_answer(&text).await.unwrap();
    client
}

async fn play(pool: &ClientPool, media: &Media, name: &str, id: &str, answer: AnswerOptions) -> WebRtcClient {
    let client = pool.client(ClientOptions::play()).await.unwrap();
    let text = media.play(id, name, client.offer(), answer).await.unwrap();
    client.apply_answer(&text).await.unwrap();
    client
}

async fn until(client: &WebRtcClient, what: &str, condition: impl Fn(&ClientStats) -> bool) -> ClientStats {
    match client.wait_for(LIMIT, condition).await {
        Ok(stats) => stats,
        Err(stats) => panic!("{what} did not happen: {stats:?}"),
    }
}

fn flowing(stats: &ClientStats) -> bool {
    stats.video.packets_received > 30 && stats.audio.packets_received > 15 && stats.video.key_frames > 0
}

fn h264() -> CodecRules {
    CodecRules { prefer: vec![VideoCodec::H264], ..CodecRules::default() }
}

#[tokio::test]
async fn media_flows_in_every_answer_shape() {
    let (pool, media) = (pool(), media());
    for shape in AnswerShape::ALL {
        let name = format!("shape-{shape:?}");
        let options = AnswerOptions::shape(shape);
        let publisher = publish(&pool, &media, &name, ClientOptions::publish(), options.clone()).await;
        let player = play(&pool, &media, &name, &format!("play-{name}"), options).await;
        let stats = until(&player, &name, flowing).await;
        assert!(stats.connected);
        assert_eq!(stats.video.timestamp_steps_back, 0, "{name}");
        assert_eq!(stats.video.ssrc_changes, 0, "{name}");
        assert_eq!(stats.video.codec.as_deref(), Some("VP8"), "{name}");

        let before = publisher.stats().key_frame_requests;
        player.request_key_frame();
        until(&publisher, "the key-frame request", |s| s.key_frame_requests > before).await;
        let seen = player.stats().video.key_frames;
        until(&player, "the key frame asked for", |s| s.video.key_frames > seen).await;

        let counters = media.counters();
        let published = &counters.streams[&format!("publish-{name}")];
        let played = &counters.streams[&format!("play-{name}")];
        assert!(published.packets_received > 30 && published.packets_sent == 0, "{published:?}");
        assert!(played.packets_sent > 30 && played.packets_received == 0, "{played:?}");
        assert_eq!((published.dtls, played.dtls), ("connected", "connected"));
        assert!(played.video.key_frame_requests > 0 && published.video.key_frame_requests > 0);
    }
    let totals = media.counters().totals;
    assert_eq!((totals.publishes, totals.plays), (6, 6));
    assert!(totals.packets_received > 0 && totals.packets_sent > 0);
}

#[tokio::test]
async fn answers_look_as_their_shape_says() {
    let (pool, media) = (pool(), media());
    for shape in AnswerShape::ALL {
        let client = pool.client(ClientOptions::play()).await.unwrap();
        let id = format!("{shape:?}");
        let answer = media.play(&id, "n", client.offer(), AnswerOptions::shape(shape)).await.unwrap();
        let has = |text: &str| answer.lines().any(|line| line.starts_with(text));
        let bundled = matches!(shape, AnswerShape::A | AnswerShape::D | AnswerShape::E);
        assert_eq!(has("a=group:BUNDLE 0 1"), bundled, "{answer}");
        assert_eq!(has("a=mid:"), !matches!(shape, AnswerShape::B | AnswerShape::G), "{answer}");
        assert_eq!(has("a=setup:"), !matches!(shape, AnswerShape::B | AnswerShape::D), "{answer}");
        assert_eq!(has("a=ice-lite"), shape == AnswerShape::E, "{answer}");
        assert!(has("a=candidate:1 1 ") && has("a=candidate:1 2 "), "{answer}");
        assert_eq!(answer.contains(" tcptype passive"), shape == AnswerShape::C, "{answer}");
        assert!(answer.contains(&format!("cname:rtp/video/{id}")), "{answer}");
        let ports: Vec<&str> = answer
            .lines()
            .filter(|line| line.starts_with("m="))
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0] == ports[1], bundled, "{answer}");
    }
}

#[tokio::test]
async fn several_players_follow_one_publisher() {
    let (pool, media) = (pool(), media());
    let first = play(&pool, &media, "n", "early", AnswerOptions::default()).await;
    let publisher = publish(&pool, &media, "n", ClientOptions::publish(), AnswerOptions::default()).await;
    until(&first, "media for a player that came first", flowing).await;
    let late = play(&pool, &media, "n", "late", AnswerOptions::shape(AnswerShape::B)).await;
    let stats = until(&late, "media for a late player", flowing).await;
    assert_eq!(stats.video.missing, 0, "starts at a key frame and loses nothing: {stats:?}");
    assert!(publisher.stats().key_frame_requests > 0, "a new player needs a key frame");
    media.close("late");
    assert!(
        !media.counters().streams.contains_key("late") || {
            // The command may still be on its way; the next counters after another answer cannot be.
            let probe = pool.client(ClientOptions::play()).await.unwrap();
            media.play("probe", "n", probe.offer(), AnswerOptions::default()).await.unwrap();
            !media.counters().streams.contains_key("late")
        }
    );
}

#[tokio::test]
async fn a_player_survives_a_change_of_publisher() {
    let (pool, media) = (pool(), media());
    let options = AnswerOptions::default;
    let first = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
    let player = play(&pool, &media, "n", "p", options()).await;
    until(&player, "media", flowing).await;
    media.close("publish-n");
    drop(first);
    let _second = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
    let seen = player.stats();
    let stats = until(&player, "media of the second publisher", |stats| {
        stats.video.key_frames > seen.video.key_frames
            && stats.video.packets_received > seen.video.packets_received + 30
    })
    .await;
    assert_eq!(stats.video.ssrc_changes, 0);
    assert_eq!(stats.video.timestamp_steps_back, 0);
    assert_eq!(stats.video.missing, 0, "the line of sequence numbers has no hole: {stats:?}");
}

#[tokio::test]
async fn java_like_and_odd_servers_connect() {
    let pool = pool();
    for (rsa, role) in [(true, DtlsRole::ByShape), (true, DtlsRole::Active), (false, DtlsRole::Active)] {
        let media = Media::start(MediaSettings {
            rsa_certificate: rsa,
            dtls_role: role,
            randomise: true,
            seed: 7,
            ..MediaSettings::default()
        })
        .unwrap();
        let options = AnswerOptions::default;
        let publisher = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
        let player = play(&pool, &media, "n", "p", options()).await;
        let stats = until(&player, "media", flowing).await;
        assert_eq!(stats.video.missing, 0, "{stats:?}");
        assert_ne!(stats.video.ssrc, publisher.stats().video.ssrc);
    }
}

#[tokio::test]
async fn every_process_has_its_own_certificate_and_credentials() {
    let pool = pool();
    let client = pool.client(ClientOptions::play()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = media().play("p", "n", client.offer(), AnswerOptions::default()).await.unwrap();
        let pick = |name: &str| answer.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        seen.push([pick("a=fingerprint:"), pick("a=ice-ufrag:"), pick("a=ice-pwd:")]);
    }
    for (one, other) in seen[0].iter().zip(&seen[1]) {
        assert_ne!(one, other);
    }
}

#[tokio::test]
async fn codecs_are_chosen_and_refused_by_the_rules() {
    let (pool, media) = (pool(), media());
    let both = ClientOptions::publish;
    let only_h264 = || ClientOptions { video: vec![VideoCodec::H264], ..both() };
    let answer = |codecs| AnswerOptions { codecs, ..AnswerOptions::default() };

    let publisher = publish(&pool, &media, "h264", both(), answer(h264())).await;
    let player = play(&pool, &media, "h264", "p", AnswerOptions::default()).await;
    let stats = until(&player, "H264", flowing).await;
    assert_eq!(stats.video.codec.as_deref(), Some("H264"));
    assert_eq!(publisher.stats().video.codec.as_deref(), Some("H264"));

    let exclude = || CodecRules { exclude: vec![VideoCodec::H264], ..CodecRules::default() };
    let client = pool.client(only_h264()).await.unwrap();
    let refused = media.publish("a", "a", client.offer(), answer(exclude())).await;
    assert_eq!(refused, Err(MediaRefusal::NoCommonCodec("video")));
    let client = pool.client(both()).await.unwrap();
    let accepted = media.publish("b", "b", client.offer(), answer(exclude())).await.unwrap();
    assert!(accepted.contains("VP8/90000") && !accepted.contains("H264/90000"), "{accepted}");

    let refuse = CodecRules { refuse: vec![VideoCodec::H264], ..CodecRules::default() };
    let refused = media.publish("c", "c", client.offer(), answer(refuse)).await;
    assert_eq!(refused, Err(MediaRefusal::CodecRefused("H264")));
    assert_eq!(media.counters().totals.refused, 2);

    let single = CodecRules { single: true, ..h264() };
    let client = pool.client(both()).await.unwrap();
    let accepted = media.publish("d", "d", client.offer(), answer(single)).await.unwrap();
    let video = accepted.lines().find(|line| line.starts_with("m=video")).unwrap();
    assert_eq!(video.split(' ').skip(3).collect::<Vec<_>>(), ["103", "104"], "one codec, its RTX");
}

#[tokio::test]
async fn players_follow_a_change_of_codec() {
    let (pool, media) = (pool(), media());
    let options = AnswerOptions { codecs: h264(), ..AnswerOptions::default() };
    let publisher = publish(&pool, &media, "n", ClientOptions::publish(), options).await;
    let player = play(&pool, &media, "n", "p", AnswerOptions::default()).await;
    let before = until(&player, "H264", flowing).await;
    publisher.set_codec(VideoCodec::Vp8);
    let after = until(&player, "VP8", |stats| {
        stats.video.codec.as_deref() == Some("VP8") && stats.video.key_frames > before.video.key_frames
    })
    .await;
    assert_eq!((after.video.ssrc_changes, after.video.missing), (0, 0), "{after:?}");

    publisher.set_sending_of(true, false);
    let pause = Duration::from_millis(500);
    let paused = until(&player, "a pause of the video while audio goes on", |stats| {
        stats
            .video
            .last_packet
            .zip(stats.audio.last_packet)
            .is_some_and(|(video, audio)| audio > video + pause)
    })
    .await;
    publisher.set_sending(true);
    until(&player, "video again", |s| s.video.packets_received > paused.video.packets_received + 20).await;
}

#[tokio::test]
async fn a_player_without_the_codec_gets_audio_only() {
    let (pool, media) = (pool(), media());
    let _publisher = publish(&pool, &media, "n", ClientOptions::publish(), AnswerOptions::default()).await;
    let rules = CodecRules { exclude: vec![VideoCodec::Vp8], ..CodecRules::default() };
    let options = AnswerOptions { codecs: rules, ..AnswerOptions::default() };
    let player = play(&pool, &media, "n", "p", options).await;
    let stats = until(&player, "audio", |stats| stats.audio.packets_received > 50).await;
    assert_eq!(stats.video.packets_received, 0);
    assert!(media.counters().streams["p"].video.unsendable > 0);
}

#[tokio::test]
async fn names_ids_and_the_number_of_streams_are_guarded() {
    let pool = pool();
    let media = Media::start(MediaSettings { streams_max: 2, ..MediaSettings::default() }).unwrap();
    let options = AnswerOptions::default;
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let offer = client.offer();
    assert!(media.publish("1", "n", offer, options()).await.is_ok());
    let refused = media.publish("2", "n", offer, options()).await;
    assert_eq!(refused, Err(MediaRefusal::NameInUse));
    let refused = media.publish("1", "other", offer, options()).await;
    assert_eq!(refused, Err(MediaRefusal::IdInUse));
    assert!(media.play("2", "n", offer, options()).await.is_ok());
    let refused = media.play("3", "n", offer, options()).await;
    assert_eq!(refused, Err(MediaRefusal::TooManyStreams));
    media.close("1");
    assert!(media.publish("3", "n", offer, options()).await.is_ok(), "the name is free again");
}

#[tokio::test]
async fn offers_that_describe_nothing_are_refused() {
    let media = media();
    for offer in ["", "v=0\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "\u{0}m=\r\na=\r\n"] {
        let refused = media.publish("1", "n", offer, AnswerOptions::default()).await;
        assert_eq!(refused, Err(MediaRefusal::NoMedia), "{offer:?}");
    }
}

#[tokio::test]
async fn sources_that_are_not_announced_are_found_by_payload_type() {
    let (pool, media) = (pool(), media());
    let client = pool.client(ClientOptions::publish()).await.unwrap();
    let offer: String = client
        .offer()
        .lines()
        .filter(|line| !line.starts_with("a=ssrc") && !line.contains("sdes:mid"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let answer = media.publish("1", "n", &offer, AnswerOptions::default()).await.unwrap();
    client.apply_answer(&answer).await.unwrap();
    let player = play(&pool, &media, "n", "p", AnswerOptions::default()).await;
    until(&player, "media of unannounced SSRCs", flowing).await;
}

#[tokio::test]
async fn loss_and_jitter_are_repaired() {
    let conditions = NetworkConditions { loss_percent: 3.0, jitter_ms: 20, silent: false };
    let media =
        Media::start(MediaSettings { network: conditions, seed: 11, ..MediaSettings::default() }).unwrap();
    let pool = pool();
    let options = AnswerOptions::default;
    let _publisher = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
    let player = play(&pool, &media, "n", "p", options()).await;
    let stats = until(&player, "a good deal of media", |s| s.video.packets_received > 500).await;
    // Without repair about 6 % would be missing (3 % on either leg).
    let missing = stats.video.missing as f64 / stats.video.packets_received as f64;
    assert!(missing < 0.03, "{stats:?}");
    assert!(stats.video.late > 0, "something was repaired or reordered: {stats:?}");
}

#[tokio::test]
async fn lost_handshake_packets_are_sent_again() {
    let conditions = NetworkConditions { loss_percent: 6.0, jitter_ms: 5, silent: false };
    let settings = MediaSettings { network: conditions, seed: 3, ..MediaSettings::default() };
    let media = Media::start(settings).unwrap();
    let pool = pool();
    let mut clients = Vec::new();
    for index in 0..10 {
        let shape = AnswerShape::ALL[index % 2 * 3];
        let id = index.to_string();
        clients.push(play(&pool, &media, "n", &id, AnswerOptions::shape(shape)).await);
    }
    // OpenSSL waits 1, 2, 4, 8 … seconds between retransmissions, and each of them has a chance of one in four to be
    // lost in part.
    let limit = Duration::from_secs(300);
    for client in &clients {
        let connected = client.wait_for(limit, |stats| stats.connected).await;
        assert!(connected.is_ok(), "{connected:?}");
    }
}

#[tokio::test]
async fn a_silent_network_stops_everything_and_gives_it_back() {
    let (pool, media) = (pool(), media());
    let options = AnswerOptions::default;
    let _publisher = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
    let player = play(&pool, &media, "n", "p", options()).await;
    until(&player, "media", flowing).await;
    media.set_network(NetworkConditions { silent: true, ..NetworkConditions::default() });
    let silence = Duration::from_millis(700);
    let quiet = |stats: &ClientStats| stats.video.last_packet.is_some_and(|at| at.elapsed() > silence);
    let before = until(&player, "silence", quiet).await;
    media.set_network(NetworkConditions::default());
    let after = until(&player, "media after the silence", |stats| {
        stats.video.packets_received > before.video.packets_received + 30
    })
    .await;
    assert!(after.video.longest_silence_ms >= 700, "{after:?}");
    // Video may be repaired by retransmission even across the silence; audio is not.
    assert!(after.audio.missing > 0, "packets were lost in between: {after:?}");
}

#[tokio::test]
async fn a_player_is_sent_nothing_on_order_while_others_are() {
    let (pool, media) = (pool(), media());
    let options = AnswerOptions::default;
    let _publisher = publish(&pool, &media, "n", ClientOptions::publish(), options()).await;
    let withheld = play(&pool, &media, "n", "p", options()).await;
    let other = play(&pool, &media, "n", "q", options()).await;
    until(&withheld, "a picture", flowing).await;
    media.withhold("p", true);
    // What was on its way when that was ordered comes.
    let begin = other.stats().video.packets_received;
    until(&other, "others go on", |now| now.video.packets_received > begin + 50).await;
    let before = withheld.stats();
    let begin = other.stats().video.packets_received;
    until(&other, "others go on", |now| now.video.packets_received > begin + 200).await;
    let after = withheld.stats();
    let received = |now: &ClientStats| (now.audio.packets_received, now.video.packets_received);
    assert_eq!(received(&after), received(&before));
    assert!(!after.failed);
    media.withhold("p", false);
    until(&withheld, "it goes on", |now| now.video.packets_received > after.video.packets_received + 50)
        .await;
}

#[tokio::test]
async fn a_silent_client_comes_back_with_new_credentials() {
    let (pool, media) = (pool(), media());
    for shape in [AnswerShape::A, AnswerShape::B] {
        let name = format!("{shape:?}");
        let options = AnswerOptions::shape(shape);
        let publisher = publish(&pool, &media, &name, ClientOptions::publish(), options.clone()).await;
        let player = play(&pool, &media, &name, &format!("p{name}"), options).await;
        until(&player, "media", flowing).await;
        publisher.set_silent(true);
        let silence = Duration::from_secs(1);
        until(&player, "silence", |s| s.video.last_packet.is_some_and(|at| at.elapsed() > silence)).await;
        publisher.set_silent(false);
        let before = player.stats().video.packets_received;
        let answer = media.renew_ice(&format!("publish-{name}")).await.unwrap();
        publisher.apply_answer(&answer).await.unwrap();
        let after = until(&player, "media of the revived publisher", |stats| {
            stats.video.packets_received > before + 30
        })
        .await;
        assert_eq!(after.video.ssrc_changes, 0);
    }
    assert_eq!(media.renew_ice("nobody").await, None);
}

/// The parts of one binary message: type, timestamp, body of each record.
fn records(message: &[u8]) -> Vec<(u8, u32, &[u8])> {
    let mut out = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let timestamp = u32::from_be_bytes(rest[1..5].try_into().unwrap());
        let length = u32::from_be_bytes(rest[5..9].try_into().unwrap()) as usize;
        out.push((rest[0], timestamp, &rest[9..9 + length]));
        rest = &rest[9 + length..];
    }
    out
}

#[tokio::test]
async fn mse_players_get_configuration_then_frames_of_a_published_h264_stream() {
    let (pool, media) = (pool(), media());
    let mut messages = media.play_mse("mse", "n");
    let options = AnswerOptions { codecs: h264(), ..AnswerOptions::default() };
    let _publisher = publish(&pool, &media, "n", ClientOptions::publish(), options).await;
    let mut last = 0;
    for index in 0..40 {
        let message = tokio::time::timeout(LIMIT, messages.recv()).await.unwrap().unwrap();
        let records = records(&message);
        let heads: Vec<[u8; 2]> = records.iter().map(|(_, _, body)| [body[0], body[1]]).collect();
        if index == 0 {
            assert_eq!(heads, [[0x17, 0], [0x17, 1]], "configuration, then a key frame");
            assert_eq!(records[0].2[5..9], [1, 0x42, 0xc0, 0x1f], "version, profile, level");
        } else if heads.len() == 1 {
            assert_eq!(heads, [[0x27, 1]]);
        }
        for (kind, timestamp, _) in records {
            assert_eq!(kind, 9);
            assert!(timestamp >= last, "{timestamp} after {last}");
            last = timestamp;
        }
    }
    assert!((1_000..2_000).contains(&last), "40 frames at 30 per second end at {last} ms");
    media.close("mse");
    while messages.recv().await.is_some() {}
    assert!(media.counters().totals.mse_records >= 41);
}

#[test]
fn the_fixed_offer_of_the_mse_player_is_answered_video_only() {
    let offer = "v=0\r\no=- 1988962254 1988962254 IN IP4 0.0.0.0\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
        a=sdplang:en\r\nm=video 0 RTP/AVP 112\r\na=rtpmap:112 H264/90000\r\n\
        a=fmtp:112 packetization-mode=1; profile-level-id=420020\r\na=recvonly\r\n\
        m=audio 0 RTP/AVP 108 96\r\na=rtpmap:108 mpeg4-generic/48000/1\r\n\
        a=rtpmap:96 mpeg4-generic/8000/1\r\na=recvonly\r\n";
    let answer = mse_answer(offer).unwrap();
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=video 1 RTP/AVP 112", "m=audio 0 RTP/AVP 108 96"]);
    assert_eq!(mse_answer("v=0\r\n"), Err(MediaRefusal::NoCommonCodec("video")));
}
