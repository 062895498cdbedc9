//! Whoever does not take what it is sent is not read from either, and is dropped when it takes too
//! little: nobody makes the proxy keep more than its buffers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use net_support::{
    ClientSocket, HELLO, PATIENCE, Upstream, connect, established, in_time, next, next_text,
    proxy_and_upstream, send, settings, start, user_data, wait_until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// What the kernel holds in both directions of both connections, and our own buffers.
const TAKEN_BYTES_MAX: usize = 96 * 1024 * 1024;

/// A frame as a client (masked with zeros) or a server writes it; at most 65,535 bytes.
fn frame(opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    let mask = if masked { 0x80 } else { 0 };
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(mask | length),
        _ => {
            frame.push(mask | 126);
            frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(if masked { &[0; 4] } else { &[] });
    frame.extend_from_slice(payload);
    frame
}

/// Writes this frame again and again and reads nothing, until it is not taken any more; how many
/// bytes were.
async fn flood(stream: &mut TcpStream, frame: &[u8]) -> usize {
    let chunk = frame.repeat(65_536 / frame.len());
    let mut taken = 0;
    while taken <= TAKEN_BYTES_MAX {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            match timeout(Duration::from_secs(2), stream.write(rest)).await {
                Ok(Ok(written)) => {
                    taken += written;
                    rest = &rest[written..];
                }
                Ok(Err(_)) | Err(_) => return taken,
            }
        }
    }
    taken
}

fn assert_bounded(taken: usize, whose: &str) {
    assert!(taken <= TAKEN_BYTES_MAX, "{whose}: {taken} bytes were read from one that reads nothing");
}

/// Answers to pings are as long as the pings, and answers to questions longer than those.
#[tokio::test]
async fn a_client_that_pings_and_never_reads_is_not_read_from() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, _server) = established(&proxy, &mut upstream, "t").await;
    let taken = flood(client.get_mut(), &frame(0x9, true, &[7; 125])).await;
    assert_bounded(taken, "client");
    assert!(taken > 1024 * 1024, "{taken} bytes are no flood");
}

#[tokio::test]
async fn a_client_that_is_passed_through_is_held_to_it_as_well() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    assert_bounded(flood(client.get_mut(), &frame(0x9, true, &[7; 125])).await, "client");
}

#[tokio::test]
async fn an_upstream_that_pings_and_never_reads_is_not_read_from() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_client, mut server) = established(&proxy, &mut upstream, "t").await;
    assert_bounded(flood(server.get_mut(), &frame(0x9, false, &[7; 125])).await, "upstream");
}

/// What is answered here because nobody else can is answered at the pace of who asks.
#[tokio::test]
async fn a_client_that_asks_in_an_outage_and_never_reads_is_not_read_from() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, server) = established(&proxy, &mut upstream, "t").await;
    let address = upstream.stop().await;
    drop(server);
    wait_until("the outage has begun", || std::net::TcpStream::connect(address).is_err()).await;
    let question =
        br#"{"message":"snapshot","data":[{"mediaSessionId":"0123456789012345678901234567890123456789"}]}"#;
    assert_bounded(flood(client.get_mut(), &frame(0x1, true, question)).await, "client");
}

#[tokio::test]
async fn media_sockets_are_held_to_it_on_both_sides() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (_client, _server) = established(&proxy, &mut upstream, "t").await;
    let (mut player, mut source) = media_socket(&proxy, &mut upstream, "t").await;
    assert_bounded(flood(player.get_mut(), &frame(0x9, true, &[7; 125])).await, "player");
    assert_bounded(flood(source.get_mut(), &frame(0x9, false, &[7; 125])).await, "source");
}

async fn media_socket(
    proxy: &holdfast::net::Proxy,
    upstream: &mut Upstream,
    token: &str,
) -> (ClientSocket, net_support::UpstreamSocket) {
    let mut player = connect(proxy.address()).await;
    let (mut source, _) = upstream.accept().await;
    let hello = format!(r#"{{"message":"connectMediaTransport","data":[{{"authToken":"{token}"}}]}}"#);
    send(&mut player, &hello).await;
    assert_eq!(next_text(&mut source).await, hello);
    (player, source)
}

/// Fills the way to a client until the proxy has to keep bytes for it.
async fn lag_behind(server: &mut net_support::UpstreamSocket, bytes: usize) {
    let chunk = Message::binary(vec![1; 1024 * 1024]);
    for _ in 0..bytes / (1024 * 1024) {
        in_time("the proxy to take a message", server.send(chunk.clone())).await.unwrap();
    }
}

#[tokio::test]
async fn of_the_pings_of_one_that_lags_behind_the_newest_is_answered() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.client_buffer_bytes_max = 256 * 1024 * 1024;
    let proxy = start(settings).await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    lag_behind(&mut server, 48 * 1024 * 1024).await;
    send(&mut server, r#"{"message":"last","data":[null]}"#).await;
    for n in 1..=3_u8 {
        client.send(Message::Ping(Bytes::from(vec![n]))).await.unwrap();
    }
    // Behind the pings, on the way nobody blocks.
    send(&mut client, r#"{"message":"heard","data":[null]}"#).await;
    assert!(next_text(&mut server).await.contains("heard"));
    let mut pongs = Vec::new();
    while pongs.is_empty() {
        let message = in_time("a message", client.next()).await.unwrap().unwrap();
        if let Message::Pong(payload) = message {
            pongs.push(payload);
        }
    }
    client.send(Message::Ping(Bytes::from(vec![4]))).await.unwrap();
    while pongs.len() < 2 {
        if let Message::Pong(payload) = in_time("a message", client.next()).await.unwrap().unwrap() {
            pongs.push(payload);
        }
    }
    assert_eq!(pongs, [vec![3], vec![4]], "the newest, and then each again");
}

/// Reads at this many bytes per second until the end of the connection, or of the patience.
async fn read_slowly(stream: &mut TcpStream, bytes_per_s: usize, bytes_max: usize) -> usize {
    let mut buffer = vec![0; bytes_per_s / 20];
    let mut total = 0;
    while total < bytes_max {
        match in_time("bytes", stream.read_exact(&mut buffer)).await {
            Ok(read) => total += read,
            Err(_) => return total,
        }
        sleep(Duration::from_millis(50)).await;
    }
    total
}

#[tokio::test]
async fn a_client_that_reads_a_little_is_dropped_and_a_slow_one_is_not() {
    for (bytes_min, is_dropped) in [(64 * 1024 * 1024, true), (64 * 1024, false)] {
        let mut upstream = Upstream::start().await;
        let mut settings = settings(&[upstream.address]);
        settings.limits.client_buffer_bytes_max = 256 * 1024 * 1024;
        settings.limits.stall_timeout = Duration::from_secs(2);
        settings.limits.stall_bytes_min = bytes_min;
        let proxy = start(settings).await;
        let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
        lag_behind(&mut server, 64 * 1024 * 1024).await;
        // Something is taken all the time.
        let wanted = 16 * 1024 * 1024;
        let read = tokio::spawn(async move { read_slowly(client.get_mut(), 2 * 1024 * 1024, wanted).await });
        if is_dropped {
            wait_until("the client is dropped", || proxy.facts().sessions == 0).await;
            read.abort();
        } else {
            let read = timeout(PATIENCE, read).await.unwrap().unwrap();
            assert!(read >= wanted, "dropped after {read} bytes");
            assert_eq!(proxy.facts().sessions, 1);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_reads_a_little_is_given_up() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.upstream_buffer_bytes_max = 256 * 1024 * 1024;
    settings.limits.stall_timeout = Duration::from_secs(2);
    settings.limits.stall_bytes_min = 64 * 1024 * 1024;
    let proxy = start(settings).await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    let chunk = Message::binary(vec![1; 1024 * 1024]);
    for _ in 0..64 {
        in_time("the proxy to take a message", client.send(chunk.clone())).await.unwrap();
    }
    let slow = tokio::spawn(async move { read_slowly(server.get_mut(), 2 * 1024 * 1024, usize::MAX).await });
    let (mut again, _) = upstream.accept().await;
    assert_eq!(next_text(&mut again).await, net_support::CONNECTION);
    send(&mut again, &user_data("t2")).await;
    slow.abort();
}

#[tokio::test]
async fn a_player_that_reads_a_little_is_dropped() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.client_buffer_bytes_max = 256 * 1024 * 1024;
    settings.limits.stall_timeout = Duration::from_secs(2);
    settings.limits.stall_bytes_min = 64 * 1024 * 1024;
    let proxy = start(settings).await;
    let (_client, _server) = established(&proxy, &mut upstream, "t").await;
    let (mut player, mut source) = media_socket(&proxy, &mut upstream, "t").await;
    lag_behind(&mut source, 64 * 1024 * 1024).await;
    let slow = tokio::spawn(async move { read_slowly(player.get_mut(), 2 * 1024 * 1024, usize::MAX).await });
    wait_until("the player is dropped", || proxy.facts().places_taken == 1).await;
    slow.abort();
}

/// What a server still says after our close frame is skipped, however large, and its own close
/// frame found behind it.
#[tokio::test]
async fn a_close_frame_is_found_behind_a_large_message() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "t").await;
    client.close(None).await.unwrap();
    let stream = server.get_mut();
    let mut close = [0; 6];
    in_time("the close frame", stream.read_exact(&mut close)).await.unwrap();
    assert_eq!(close[0], 0x88);
    let mut bytes = vec![0x82, 127];
    bytes.extend_from_slice(&(300 * 1024_u64).to_be_bytes());
    bytes.resize(bytes.len() + 300 * 1024, 7);
    bytes.extend_from_slice(&frame(0x8, false, &1000_u16.to_be_bytes()));
    // Its header comes in two parts.
    let (start, rest) = bytes.split_at(3);
    let begun = tokio::time::Instant::now();
    stream.write_all(start).await.unwrap();
    stream.flush().await.unwrap();
    sleep(Duration::from_millis(20)).await;
    stream.write_all(rest).await.unwrap();
    let mut end = Vec::new();
    in_time("the end", stream.read_to_end(&mut end)).await.unwrap();
    assert!(end.is_empty());
    assert!(begun.elapsed() < Duration::from_millis(1_500), "it was not found: {:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_only_passed_through_ends_when_nothing_comes_for_long() {
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    settings.limits.passthrough_idle_timeout = Duration::from_secs(2);
    let proxy = start(settings).await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    let (mut player, mut source) = media_socket(&proxy, &mut upstream, "of nobody here").await;
    // A session that is understood has its pings for that.
    let (mut known, mut its_server) = established(&proxy, &mut upstream, "t").await;
    // For twice as long one side or the other says something.
    for n in 0..8 {
        let (from, to) = if n % 2 == 0 { (&mut client, &mut server) } else { (&mut server, &mut client) };
        send(from, HELLO).await;
        assert_eq!(next_text(to).await, HELLO);
        send(&mut source, HELLO).await;
        assert_eq!(next_text(&mut player).await, HELLO);
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(net_support::close_of(&mut client).await.unwrap().code, 1001.into());
    assert_eq!(net_support::close_of(&mut server).await.unwrap().code, 1001.into());
    assert_eq!(net_support::close_of(&mut player).await.unwrap().code, 1001.into());
    assert_eq!(net_support::close_of(&mut source).await.unwrap().code, 1001.into());
    send(&mut known, HELLO).await;
    assert!(matches!(next(&mut its_server).await, Message::Text(_)));
}
