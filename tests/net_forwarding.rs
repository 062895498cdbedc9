//! Messages pass in both directions as the same bytes in the same order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use futures_util::{SinkExt, StreamExt};
use net_support::*;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

#[tokio::test]
async fn messages_of_all_sizes_pass_in_order() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    assert_eq!(next_text(&mut server).await, HELLO);
    let sizes = [0, 1, 125, 126, 127, 6_000, 65_535, 65_536, 200_000, 16 * 1024 * 1024, 3];
    let messages: Vec<Message> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| {
            let bytes: Vec<u8> = (0..*size).map(|at| (at * 31 + index) as u8).collect();
            if index % 2 == 0 { Message::binary(bytes) } else { Message::text("ä".repeat(size / 2)) }
        })
        .collect();
    for (from, to) in [(&mut client, &mut server)] {
        for message in &messages {
            from.feed(message.clone()).await.unwrap();
        }
        let (flushed, ()) = tokio::join!(from.flush(), async {
            for message in &messages {
                let got = next(to).await;
                assert!(got == *message, "{} bytes differ", message.len());
            }
        });
        flushed.unwrap();
    }
    for message in &messages {
        server.feed(message.clone()).await.unwrap();
    }
    let (flushed, ()) = tokio::join!(server.flush(), async {
        for message in &messages {
            let got = next(&mut client).await;
            assert!(got == *message, "{} bytes differ", message.len());
        }
    });
    flushed.unwrap();
}

#[tokio::test]
async fn a_burst_keeps_its_order_and_loses_nothing() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let count = 20_000;
    let (mut up, mut down) = server.split();
    tokio::spawn(async move {
        while let Some(Ok(message)) = down.next().await {
            if message.is_text() && up.send(message).await.is_err() {
                return;
            }
        }
    });
    let (mut out, mut back) = client.split();
    let sending = tokio::spawn(async move {
        for index in 0..count {
            out.feed(Message::text(format!("message {index}"))).await.unwrap();
        }
        out.flush().await.unwrap();
        out
    });
    for index in 0..count {
        let message = in_time("an echo", back.next()).await.unwrap().unwrap();
        assert_eq!(message.into_text().unwrap().as_str(), format!("message {index}"));
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn fragments_arrive_as_one_message_and_pings_between_them_are_answered() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let mut client = connect(proxy.address()).await;
    let (mut server, _) = upstream.accept().await;
    send(&mut client, HELLO).await;
    next(&mut server).await;
    let frames = [
        Frame::message("{\"message\":\"a€".as_bytes()[..14].to_vec(), OpCode::Data(Data::Text), false),
        Frame::ping("sign of life"),
        Frame::message("{\"message\":\"a€".as_bytes()[14..].to_vec(), OpCode::Data(Data::Continue), false),
        Frame::message(b"\"}".to_vec(), OpCode::Data(Data::Continue), true),
    ];
    for frame in frames {
        client.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(next_text(&mut server).await, "{\"message\":\"a€\"}");
    let pong = in_time("a pong", client.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("sign of life".into()));
    server
        .send(Message::Frame(Frame::message(b"par".to_vec(), OpCode::Data(Data::Binary), false)))
        .await
        .unwrap();
    server
        .send(Message::Frame(Frame::message(b"ts".to_vec(), OpCode::Data(Data::Continue), true)))
        .await
        .unwrap();
    assert_eq!(next(&mut client).await, Message::binary(b"parts".to_vec()));
}

#[tokio::test]
async fn a_wcs_session_passes_unknown_messages_untouched() {
    let (proxy, mut upstream) = proxy_and_upstream().await;
    let (mut client, mut server) = established(&proxy, &mut upstream, "token-1").await;
    let odd = "{ \"data\" : [ 1e400, \"\\u0041\" ],\n\"message\" :\"neverHeardOf\"}";
    send(&mut client, odd).await;
    assert_eq!(next_text(&mut server).await, odd);
    send(&mut server, odd).await;
    assert_eq!(next_text(&mut client).await, odd);
    server.send(Message::binary(vec![0, 1, 2])).await.unwrap();
    assert_eq!(next(&mut client).await, Message::binary(vec![0, 1, 2]));
    assert_eq!(proxy.facts().sessions, 1);
}
