//! The simulator's media and the synthetic clients give back every socket and thread. Alone in its
//! file because it counts what the whole process holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use holdfast_lab::load::webrtc_client::{ClientOptions, ClientPool, PoolSettings};
use holdfast_lab::simulator::media::{AnswerOptions, AnswerShape, Media, MediaSettings};

const LIMIT: Duration = Duration::from_secs(30);

fn held() -> (usize, usize) {
    let count = |path: &str| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn restarts_leave_nothing_behind() {
    let before = held();
    for round in 0..3 {
        let pool = ClientPool::start(PoolSettings::default()).unwrap();
        let media = Media::start(MediaSettings::default()).unwrap();
        let mut clients = Vec::new();
        for index in 0..5 {
            let name = format!("stream-{index}");
            let shape = AnswerShape::ALL[index % AnswerShape::ALL.len()];
            for (id, options) in [
                (format!("publish-{index}"), ClientOptions::publish()),
                (format!("play-{index}-a"), ClientOptions::play()),
                (format!("play-{index}-b"), ClientOptions::play()),
            ] {
                let client = pool.client(options.clone()).await.unwrap();
                let answer = AnswerOptions::shape(shape);
                let answer = if options.publish {
                    media.publish(&id, &name, client.offer(), answer).await.unwrap()
                } else {
                    media.play(&id, &name, client.offer(), answer).await.unwrap()
                };
                client.apply_answer(&answer).await.unwrap();
                clients.push((options.publish, client));
            }
        }
        for (publish, client) in &clients {
            let flows = |packets: u64, key_frames: u64| packets > 20 && key_frames > 0;
            let done = client
                .wait_for(LIMIT, |stats| {
                    let video = &stats.video;
                    let packets = if *publish { video.packets_sent } else { video.packets_received };
                    flows(packets, video.key_frames)
                })
                .await;
            assert!(done.is_ok(), "round {round}: {done:?}");
        }
        assert!(held().0 > before.0 + 30, "sockets are open while media flows");
        // Half of the rounds close in order, the others drop everything as a crash would.
        if round % 2 == 0 {
            for id in media.counters().streams.keys() {
                media.close(id);
            }
            wait_until("the end of all streams", || media.counters().streams.is_empty()).await;
        }
        drop(media);
        drop(clients);
        drop(pool);
        wait_until("the release of sockets and threads", || held() == before).await;
    }
}
