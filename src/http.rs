//! Health, status and metrics by HTTP, for whoever watches over the daemon. Recording does not depend on it.
//!
//! It answers what is asked with GET, and nothing else: no state changes, no secret is told.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    supervisor::{Board, Status},
    telemetry::exporter::Exporter,
};

/// Connections at a time; further ones wait in the kernel.
const CONNECTIONS: usize = 32;

/// How long one connection may last, from its first byte to its last.
const CONNECTION: Duration = Duration::from_secs(30);

/// How long a question may take to be asked.
const QUESTION: Duration = Duration::from_secs(2);

/// How soon the address is tried again where it is taken.
const AGAIN: Duration = Duration::from_secs(15);

/// What the answers are made from.
struct Sources {
    board: Board,
    exporter: Exporter,
    /// Who may look at files.
    looking: Arc<Semaphore>,
}

impl Sources {
    /// The status with all that has to be looked at for it. Where somebody else looks just now, or a disk does not answer, it is
    /// as it was seen last.
    async fn status(&self) -> Status {
        if let Ok(permit) = Arc::clone(&self.looking).try_acquire_owned() {
            let board = self.board.clone();
            let look = spawn_blocking(move || {
                board.look_at_certificates();
                drop(permit);
            });
            if let Err(error) = look.await {
                warn!(%error, "our own certificates cannot be looked at");
            }
        }
        self.board.status()
    }
}

/// Answers at that address until it is dropped, and closes every connection then.
pub async fn serve(listen: SocketAddr, board: Board, exporter: Exporter) -> Infallible {
    let tidy = tidy(exporter.clone());
    let router = router(Sources { board, exporter, looking: Arc::new(Semaphore::new(1)) });
    tokio::select! {
        never = tidy => never,
        never = listen_at(listen, router) => never,
    }
}

async fn tidy(exporter: Exporter) -> Infallible {
    let mut ticks = interval(Exporter::TIDY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        exporter.tidy();
    }
}

async fn listen_at(listen: SocketAddr, router: Router) -> Infallible {
    let mut said = false;
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !said {
                    said = true;
                    warn!(
                        %error,
                        "http.listen: nothing can be served at {listen}: events are recorded all the same, and the address is \
                         tried again; give this daemon another one, or set it to \"off\""
                    );
                }
                sleep(AGAIN).await;
            }
        }
    };
    let address = listener.local_addr().unwrap_or(listen);
    info!(%address, "serving /healthz, /readyz, /status and /metrics");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(answer(stream, peer, router.clone()));
                }
                // Too many open files, perhaps: accepting at once again would spin.
                Err(error) => {
                    debug!(%error, "a connection to http.listen cannot be accepted");
                    sleep(Duration::from_secs(1)).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "what answers at http.listen died");
                }
            }
        }
    }
}

/// One question, one answer: whoever scrapes does so seldom.
async fn answer(stream: TcpStream, peer: SocketAddr, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(QUESTION)
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "a connection to http.listen ended"),
        Err(_) => debug!(%peer, "a connection to http.listen was too slow"),
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/", get(contents))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(sources))
}

async fn contents() -> Response {
    text(
        StatusCode::OK,
        "/healthz  the process lives and its loops turn\n\
         /readyz   it consumes and can store\n\
         /status   how it fares, as JSON\n\
         /metrics  the same and more for Prometheus\n"
            .to_owned(),
    )
}

async fn health(State(sources): State<Arc<Sources>>) -> Response {
    match sources.board.status().liveness() {
        Ok(alive) => text(StatusCode::OK, alive),
        Err(stuck) => text(StatusCode::SERVICE_UNAVAILABLE, stuck),
    }
}

async fn readiness(State(sources): State<Arc<Sources>>) -> Response {
    let status = sources.board.status();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(code, status.readiness())
}

async fn status(State(sources): State<Arc<Sources>>) -> Response {
    match serde_json::to_string_pretty(&sources.status().await) {
        Ok(json) => typed(StatusCode::OK, "application/json", json + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn metrics(State(sources): State<Arc<Sources>>) -> Response {
    sources.status().await.measure();
    typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", sources.exporter.render())
}

fn text(code: StatusCode, body: String) -> Response {
    typed(code, "text/plain; charset=utf-8", body)
}

fn typed(code: StatusCode, kind: &'static str, body: String) -> Response {
    (code, [(CONTENT_TYPE, kind)], body).into_response()
}

/// Asks what is served there.
///
/// # Errors
/// Nobody listens, or what answers is no such thing.
pub async fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    use http_body_util::{BodyExt as _, Empty, Limited};

    /// An answer is a few hundred bytes; something else may listen there.
    const MOST: usize = 1 << 20;

    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, address.to_string())
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<hyper::body::Bytes>::new())
        .map_err(io::Error::other)?;
    // The sender goes with it, and so the connection ends.
    let answered = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    };
    let (answered, ended) = tokio::join!(answered, connection);
    // What the answer did not say, the connection's end may.
    if answered.is_err() {
        ended.map_err(io::Error::other)?;
    }
    answered
}
