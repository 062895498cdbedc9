//! What the simulated node tells of itself to whoever balances: its page of figures (`?action=stat`) and
//! the agent of HAProxy's text protocol (protocol S14). Both stop answering with the server: they are of its
//! process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::shared::Shared;
use super::world::{Progress, Role, World};

/// How long one that asks is kept, unless the server is frozen.
const LIFE_MAX: Duration = Duration::from_secs(10);

/// Answers on the port of figures.
pub(super) async fn stat(shared: Arc<Shared>, tcp: TcpStream) {
    shared.thawed().await;
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            shared.thawed().await;
            Ok::<_, Infallible>(page(&shared, &request))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), service);
    // Who goes away or takes too long gets nothing.
    drop(timeout(LIFE_MAX, served).await);
}

/// Says one line, as an agent does, and closes.
pub(super) async fn agent(shared: Arc<Shared>, mut tcp: TcpStream) {
    shared.thawed().await;
    let line = format!("{}\n", shared.world().settings.agent_says);
    let said = async {
        tcp.write_all(line.as_bytes()).await?;
        tcp.shutdown().await
    };
    drop(timeout(LIFE_MAX, said).await);
}

fn page(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let asked = request.uri().query().unwrap_or_default();
    let is_stat = asked.split('&').any(|pair| pair == "action=stat");
    let (status, text) = if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, String::new())
    } else if is_stat {
        (StatusCode::OK, figures(&shared.world()))
    } else {
        (StatusCode::NOT_FOUND, "there is /?action=stat\n".to_owned())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// In the shape of the vendor's page: headings between dashes, then one `name=value` per line.
fn figures(world: &World) -> String {
    let sockets = world.connections.values();
    let signaling = sockets.filter(|connection| matches!(connection.role, Role::Session(_))).count();
    let live = |publishes: bool| {
        let of_kind = world.streams.values().filter(move |stream| {
            stream.progress == Progress::Live
                && (world.names.get(&stream.name) == Some(&stream.id)) == publishes
        });
        of_kind.count()
    };
    let (published, played) = (live(true), live(false));
    let uptime_s = world.started.elapsed().as_secs();
    format!(
        "-----Connections Stats-----\n\
         connections={signaling}\n\
         connections_rtmfp=0\n\
         connections_websocket={signaling}\n\
         -----Stream Stats-----\n\
         streams_webrtc_in={published}\n\
         streams_webrtc_out={played}\n\
         streams_viewers={played}\n\
         -----Core Stats-----\n\
         core_uptime={uptime_s}\n\
         wcs_version={}\n",
        world.settings.server_version
    )
}
