//! A publisher's browser falls back to another codec on its own: the upstream is asked anew, and
//! players follow without being asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod media_support;

use holdfast::{
    load::webrtc_client::ClientOptions,
    media::{Fact, MediaHandle},
    simulator::media::{AnswerOptions, CodecRules, VideoCodec},
};

use media_support::{Anchored, anchor, assert_continuous, pair, pool, server, settings};

fn prefer_h264() -> AnswerOptions {
    let codecs = CodecRules { prefer: vec![VideoCodec::H264], ..CodecRules::default() };
    AnswerOptions { codecs, ..AnswerOptions::default() }
}

/// The answer as a browser sees it whose H264 encoder fails: VP8 is what is left to send.
fn with_vp8_first(answer: &str) -> String {
    let rtpmap = answer.lines().find(|l| l.ends_with(" VP8/90000")).unwrap();
    let vp8 = rtpmap.trim_start_matches("a=rtpmap:").split(' ').next().unwrap();
    let reorder = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        let at = words.iter().skip(3).position(|w| *w == vp8).unwrap() + 3;
        let vp8 = words.remove(at);
        words.insert(3, vp8);
        words.join(" ")
    };
    answer
        .lines()
        .map(|l| if l.starts_with("m=video") { reorder(l) } else { l.to_owned() } + "\r\n")
        .collect()
}

async fn publisher_that_falls_back(
    handle: &MediaHandle,
    server: &holdfast::simulator::media::Media,
) -> Anchored {
    let pool = pool();
    let mut publisher = Anchored::open(handle, &pool, "n", ClientOptions::publish()).await;
    publisher.attach_to(server, prefer_h264()).await;
    let sdp = publisher.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    let video = sdp.lines().find(|l| l.starts_with("m=video")).unwrap();
    assert!(
        sdp.contains("H264/90000") && sdp.contains("VP8/90000"),
        "both, for the browser's own fallback: {video}"
    );
    publisher.client.apply_answer(&with_vp8_first(&sdp)).await.unwrap();
    publisher
}

#[tokio::test]
async fn the_upstream_follows_the_publisher_and_players_follow_too() {
    let (handle, pool, server) = (anchor(), pool(), server());
    // The player was there before, with H264.
    let (publisher, mut player) = pair(&handle, &pool, &server, "n", &prefer_h264()).await;
    player.until("H264", |s| s.video.codec.as_deref() == Some("H264")).await;
    server.close(&publisher.id());
    drop(publisher);

    let mut publisher = publisher_that_falls_back(&handle, &server).await;
    let codec = publisher
        .expect(|fact| if let Fact::CodecChanged { codec, .. } = fact { Some(codec) } else { None })
        .await;
    assert_eq!(codec, "VP8");
    server.close(&publisher.id());
    publisher.attach(true);
    let offer = publisher.upstream_offer().await;
    assert!(!offer.contains("H264"), "only what is sent: {offer}");
    server.close(&publisher.id());
    publisher.attach(true);
    publisher.attach_to(&server, prefer_h264()).await;
    assert!(publisher.proof().await);

    let stats = player
        .until("VP8 without a new offer", |s| {
            s.video.codec.as_deref() == Some("VP8") && s.video.key_frames > 1
        })
        .await;
    assert_continuous(&stats, "across codecs");
    player.facts.close();
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let settings = holdfast::media::MediaSettings { change_codec: false, ..settings() };
    let handle = MediaHandle::start(settings).unwrap();
    let server = server();
    let mut publisher = publisher_that_falls_back(&handle, &server).await;
    // Statistics come at intervals; by the second one the client's packets were seen.
    let mut reports = 0;
    while reports < 2 {
        publisher
            .expect(|fact| match fact {
                Fact::Stats(stats) if stats.dropped > 0 => Some(()),
                Fact::CodecChanged { .. } => panic!("it was switched off"),
                _ => None,
            })
            .await;
        reports += 1;
    }
}

#[tokio::test]
async fn refused_h264_is_neither_offered_nor_answered() {
    let (handle, pool, server) = (anchor(), pool(), server());
    let mut publisher = Anchored::open_with(&handle, &pool, "n", ClientOptions::publish(), true).await;
    let offer = publisher.upstream_offer().await;
    assert!(!offer.contains("H264"), "{offer}");
    publisher.attach(false);
    publisher.attach_to(&server, prefer_h264()).await;
    let sdp = publisher.expect(|f| if let Fact::ClientAnswer { sdp } = f { Some(sdp) } else { None }).await;
    assert!(!sdp.contains("H264") && sdp.contains("VP8/90000"), "{sdp}");
}
