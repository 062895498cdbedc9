//! The memory budget: what is only announced costs nothing, a flood of unfinished messages stays
//! under it, and whoever does not take part in the flood notices nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod net_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast::{memory::resident_bytes, net::Proxy};
use net_support::{
    HELLO, Upstream, connect, established, in_time, let_pass, next_text, send, settings, start, try_connect,
    wait_until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, watch},
    time::{Instant, timeout},
};

const MIB: usize = 1024 * 1024;
const MESSAGE_BYTES: usize = 16 * MIB;
static FRAGMENT: [u8; 128 * 1024] = [b'x'; 128 * 1024];
const BEGUN_BYTES: usize = 15 * MIB;

/// The resident set is that of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The header of a frame of a client, masked with zeros.
fn header(first: u8, payload_bytes: usize) -> Vec<u8> {
    let mut header = vec![first, 0xFF];
    header.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    header
}

/// Begins a message and does not end it, in one frame or in fragments, until told to stop. False if
/// the proxy closed the socket meanwhile, with 1009.
async fn begin_message(
    stream: &mut TcpStream,
    in_fragments: bool,
    bytes: usize,
    mut stopped: watch::Receiver<bool>,
) -> bool {
    let (mut reader, mut writer) = stream.split();
    let fragment = &FRAGMENT[..];
    let write = async {
        let mut result = Ok(());
        if !in_fragments {
            result = writer.write_all(&header(0x82, MESSAGE_BYTES)).await;
        }
        for n in 0..bytes / fragment.len() {
            if in_fragments {
                let opcode = if n == 0 { 0x02 } else { 0x00 };
                result = result.and(writer.write_all(&header(opcode, fragment.len())).await);
            }
            result = result.and(writer.write_all(fragment).await);
        }
        // After an error the close frame is still to be read.
        drop(result);
        std::future::pending::<()>().await;
    };
    let closed = async {
        let mut seen = Vec::new();
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = reader.read(&mut bytes).await {
            seen.extend_from_slice(&bytes[..read]);
            if seen.windows(2).any(|code| code == 1009_u16.to_be_bytes()) {
                return;
            }
        }
        panic!("closed without a word");
    };
    tokio::select! {
        biased;
        () = closed => false,
        () = write => false,
        _ = stopped.wait_for(|stopped| *stopped) => true,
    }
}

async fn get_status(proxy: &Proxy) -> u16 {
    match try_connect(proxy.address(), "/", &[]).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

fn resident() -> u64 {
    resident_bytes().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_announced_takes_no_memory() {
    let _alone = ALONE.lock().await;
    let mut upstream = Upstream::start().await;
    let proxy = start(settings(&[upstream.address])).await;
    let (_client, _server) = established(&proxy, &mut upstream, "t").await;
    let before = resident();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let mut client = connect(proxy.address()).await;
        // More than the buffer that all share, so that it is kept.
        let mut start = header(0x82, MESSAGE_BYTES);
        start.resize(66 * 1024, b'x');
        client.get_mut().write_all(&start).await.unwrap();
        sockets.push((client, upstream.accept().await));
    }
    wait_until("all is read", || proxy.memory().buffered_bytes >= 100 * 66 * 1024).await;
    let taken = resident().saturating_sub(before);
    assert!(taken < 100 * MIB as u64, "{taken} bytes for 100 announced messages");
    assert_eq!(proxy.memory().buffered_bytes, 100 * 66 * 1024, "to the byte");
    drop(sockets);
    wait_until("all is given back", || proxy.memory().buffered_bytes == 0).await;
}

/// What the process takes at most until it is stopped.
fn watch_resident(stop: &Arc<AtomicBool>) -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let (stop, seen) = (Arc::clone(stop), Arc::clone(&peak));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            seen.fetch_max(resident(), Ordering::Relaxed);
            std::thread::park_timeout(Duration::from_millis(2));
        }
    });
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_unfinished_messages_stay_under_the_budget_and_the_others_notice_nothing() {
    let _alone = ALONE.lock().await;
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    let budget = resident() + 256 * MIB as u64;
    settings.limits.memory_bytes_max = Some(budget);
    let proxy = start(settings).await;
    let (mut control, mut its_server) = established(&proxy, &mut upstream, "t").await;
    let mut kept = Vec::new();
    let mut clients = Vec::new();
    for n in 0..40 {
        let mut client = connect(proxy.address()).await;
        let (mut server, _) = upstream.accept().await;
        if n % 4 == 3 {
            let hello = r#"{"message":"connectMediaTransport","data":[{"authToken":"of nobody"}]}"#;
            send(&mut client, hello).await;
            assert_eq!(next_text(&mut server).await, hello);
        }
        kept.push(server);
        clients.push(client);
    }
    // What the sockets of the test take is seen.
    let_pass(Duration::from_millis(300)).await;
    let (tell, told) = watch::channel(false);
    let flood: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(n, mut client)| {
            let told = told.clone();
            tokio::spawn(async move {
                let stays = begin_message(client.get_mut(), n % 2 == 0, BEGUN_BYTES, told).await;
                (stays, client)
            })
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let peak = watch_resident(&stop);
    let mut longest = Duration::ZERO;
    // Until all that is left has been read from those that are left.
    while proxy.memory().buffered_bytes < (proxy.facts().places_taken - 1) * BEGUN_BYTES {
        let asked = Instant::now();
        send(&mut control, HELLO).await;
        assert_eq!(next_text(&mut its_server).await, HELLO);
        longest = longest.max(asked.elapsed());
        let_pass(Duration::from_millis(10)).await;
    }
    tell.send(true).unwrap();
    let mut staying = Vec::new();
    for one in flood {
        if let (true, client) = in_time("the flood to end", one).await.unwrap() {
            staying.push(client);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak <= budget, "{peak} bytes were taken of {budget}");
    assert!(longest < Duration::from_secs(5), "a message of the control client took {longest:?}");
    // As many stay as there is memory for; nobody else had to go.
    assert!((5..30).contains(&staying.len()), "{} of 40 stay", staying.len());
    assert_eq!(proxy.facts().places_taken, staying.len() + 1);
    drop(staying);
    wait_until("there is room again", || proxy.memory().buffered_bytes == 0).await;
    let again = timeout(Duration::from_secs(10), async {
        while get_status(&proxy).await != 101 {
            let_pass(Duration::from_millis(50)).await;
        }
    });
    again.await.expect("what the flood took is given back to the system");
    send(&mut control, HELLO).await;
    assert_eq!(next_text(&mut its_server).await, HELLO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_memory_is_short_new_sessions_get_503_and_the_others_go_on() {
    let _alone = ALONE.lock().await;
    let mut upstream = Upstream::start().await;
    let mut settings = settings(&[upstream.address]);
    let budget = 3 * resident() + 96 * MIB as u64;
    settings.limits.memory_bytes_max = Some(budget);
    settings.limits.memory_short_percent = 50;
    let proxy = start(settings).await;
    let (mut control, mut its_server) = established(&proxy, &mut upstream, "t").await;
    assert_eq!(get_status(&proxy).await, 101);
    // Memory that nobody counts.
    let mut ballast = Vec::new();
    while !proxy.memory().is_short {
        assert!(ballast.len() < 100, "{:?}", proxy.memory());
        ballast.push(vec![1_u8; 16 * MIB]);
        let_pass(Duration::from_millis(150)).await;
    }
    assert_eq!(get_status(&proxy).await, 503);
    let ready = net_support::raw_exchange(proxy.address(), b"GET /readyz HTTP/1.0\r\n\r\n").await;
    assert!(ready.contains(" 503 ") && ready.contains("memory is short"), "{ready}");
    send(&mut control, HELLO).await;
    assert_eq!(next_text(&mut its_server).await, HELLO);
    drop(ballast);
    wait_until("memory is enough again", || !proxy.memory().is_short).await;
    assert_eq!(get_status(&proxy).await, 101);
}
