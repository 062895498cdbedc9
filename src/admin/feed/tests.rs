#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;

use super::*;

fn listen(feed: &Arc<Feed>) -> Option<Listener> {
    let place = Arc::clone(&feed.places).try_acquire_owned().ok()?;
    Some(feed.attach(place, || Some(News::new("state", &json!("now")))))
}

fn tell(feed: &Feed, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| feed.tell(News::new("node", &number)));
}

async fn heard(listener: &mut Listener) -> String {
    let news = listener.news.recv().await.expect("it is told something");
    format!("{} {}", news.name, news.data)
}

#[tokio::test(start_paused = true)]
async fn whoever_keeps_up_hears_all_in_order() {
    let feed = Feed::new(1);
    let mut listener = listen(&feed).unwrap();
    assert_eq!(heard(&mut listener).await, "state \"now\"");
    for number in 0..1_000 {
        tell(&feed, number..number + 1);
        assert_eq!(heard(&mut listener).await, format!("node {number}"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_hears_how_much_and_gets_the_state_anew() {
    let feed = Feed::new(1);
    let mut listener = listen(&feed).unwrap();
    assert_eq!(heard(&mut listener).await, "state \"now\"");
    tell(&feed, 0..1);
    // One waits to be written; the next is held by the one who tells it.
    tokio::task::yield_now().await;
    tell(&feed, 1..1_000);
    let mut told = Vec::new();
    loop {
        told.push(heard(&mut listener).await);
        if told.last().unwrap().starts_with("state") {
            break;
        }
    }
    let lagged = &told[told.len() - 2];
    let missed = lagged.strip_prefix("lagged {\"missed\":").and_then(|rest| rest.strip_suffix('}'));
    let missed: usize = missed.unwrap_or_else(|| panic!("{told:?}")).parse().unwrap();
    assert!(missed >= 1_000 - NEWS_MAX - 3, "{told:?}");
    assert!(told.len() <= 4, "what is older than the state is not told: {told:?}");
    tell(&feed, 7..8);
    assert_eq!(heard(&mut listener).await, "node 7", "it goes on from there");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_let_go() {
    let feed = Feed::new(1);
    let listener = listen(&feed).unwrap();
    assert!(listen(&feed).is_none(), "there is one place");
    tell(&feed, 0..3);
    let begun = Instant::now();
    listener.stalled.cancelled().await;
    assert_eq!(begun.elapsed(), listener::STALLED_MAX);
    tokio::task::yield_now().await;
    assert!(listen(&feed).is_some(), "its place is free");
}

#[tokio::test(start_paused = true)]
async fn who_goes_makes_room_although_nothing_happens() {
    let feed = Feed::new(1);
    let mut listener = listen(&feed).unwrap();
    assert_eq!(heard(&mut listener).await, "state \"now\"");
    drop(listener);
    while feed.places.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(feed.is_over());
}
