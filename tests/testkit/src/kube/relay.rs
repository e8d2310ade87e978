//! A relay before the API server that fails on demand: what a bad network or a busy server does to one client.
//!
//! It speaks plain HTTP to its client and passes everything on as the user of a kubeconfig, so RBAC holds. Invariant:
//! what it is not told to spoil, it passes on as it is; while the API server is away it breaks the connection, as that would.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ::kube::Client;
use ::kube::client::Body;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::KubeError;

type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// The relay. Dropping it breaks its connections.
#[derive(Debug)]
pub struct Relay {
    faults: Arc<Faults>,
    kubeconfig: PathBuf,
    addr: SocketAddr,
    task: AbortHandle,
}

/// What it shall do wrong, and what it was asked.
#[derive(Debug, Default)]
struct Faults {
    /// When it was asked what, in order.
    arrivals: Mutex<Vec<(Instant, String)>>,
    requests: Mutex<Vec<String>>,
    /// Requests that are still to be refused.
    refuse: AtomicU64,
    /// Requests that are still to be answered with 404.
    miss: AtomicU64,
    /// How often watches were ordered to break: one that began under a lower number breaks at its next event.
    cuts: AtomicU64,
    /// Whether plain JSON is asked for whatever the client prefers.
    plain: AtomicBool,
    /// Whether watches that are asked for now are never answered.
    swallows: AtomicBool,
    /// Whether every request ends in a broken connection.
    unplugged: AtomicBool,
    /// Watches that are never answered.
    swallowed: AtomicU64,
    /// Watches that the API server ended because their history is gone.
    gone: Mutex<Vec<String>>,
    /// Whether it is silent.
    holds: watch::Sender<bool>,
}

impl Relay {
    /// Starts it before the API that `upstream` talks to; `kubeconfig` writes the one for the URL where it listens.
    pub(super) async fn start(
        upstream: Client,
        kubeconfig: impl FnOnce(&str) -> Result<PathBuf, KubeError>,
    ) -> Result<Self, KubeError> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(KubeError::Address)?;
        let addr = listener.local_addr().map_err(KubeError::Address)?;
        let faults = Arc::new(Faults::default());
        let serving = accept(listener, upstream, Arc::clone(&faults));
        Ok(Self {
            faults,
            kubeconfig: kubeconfig(&url(addr))?,
            addr,
            task: tokio::spawn(serving).abort_handle(),
        })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.addr)
    }

    /// The kubeconfig of a client that is to be spoiled.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// When it was asked each thing whose method and path are as wanted: `PATCH /api/v1/namespaces/default/configmaps/x`.
    #[must_use]
    pub fn arrivals(&self, wanted: impl Fn(&str) -> bool) -> Vec<Instant> {
        let all = self.faults.arrivals.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let ours = all.iter().filter(|(_, asked)| wanted(asked));
        ours.map(|(at, _)| *at).collect()
    }

    /// Refuses the next `count` requests with 429 and `Retry-After: 1`.
    pub fn refuse_next(&self, count: u64) {
        self.faults.refuse.store(count, Ordering::Release);
    }

    /// Answers the next `count` requests with 404, as an API server that listens and does not serve its kinds yet.
    pub fn miss_next(&self, count: u64) {
        self.faults.miss.store(count, Ordering::Release);
    }

    /// Requests that [`Self::miss_next`] has not yet answered.
    #[must_use]
    pub fn still_missing(&self) -> u64 {
        self.faults.miss.load(Ordering::Acquire)
    }

    /// Requests that [`Self::refuse_next`] has not yet refused.
    #[must_use]
    pub fn still_refusing(&self) -> u64 {
        self.faults.refuse.load(Ordering::Acquire)
    }

    /// Breaks every watch that is open now in the middle of its next event: half of the bytes, then no more connection.
    pub fn cut_watches(&self) {
        self.faults.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// Says nothing any more to anybody, and keeps every connection, until it is told to go on: as a network that swallows
    /// what is sent, or a server that hangs.
    pub fn hold(&self, holds: bool) {
        self.faults.holds.send_replace(holds);
    }

    /// Breaks every connection that something is asked on, as a server that is not there, until it is told to go on.
    pub fn unplug(&self, unplugged: bool) {
        self.faults.unplugged.store(unplugged, Ordering::Release);
    }

    /// Asks for plain JSON whatever the client prefers, so that the API server answers as one that knows nothing newer.
    pub fn plain(&self, plain: bool) {
        self.faults.plain.store(plain, Ordering::Release);
    }

    /// Leaves every watch that is asked for from now on without an answer for ever, as an API server may that is being
    /// started; everything else is passed on. `false`: those that come later are passed on again.
    pub fn swallow_watches(&self, swallows: bool) {
        self.faults.swallows.store(swallows, Ordering::Release);
    }

    /// How many watches were left without an answer.
    #[must_use]
    pub fn swallowed(&self) -> u64 {
        self.faults.swallowed.load(Ordering::Acquire)
    }

    /// The watches that the API server itself refused with 410 Gone, as the answer's status or as its last event.
    #[must_use]
    pub fn gone(&self) -> Vec<String> {
        lock(&self.faults.gone).clone()
    }

    /// What it was asked so far, in order, refused or not: `GET /api/v1/pods?watch=true&…`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.faults.requests).clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

fn lock(list: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    /// Returns when it is not silent.
    async fn voice(&self) {
        // The sender is here.
        let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
    }

    fn note(&self, request: &Request<Incoming>) {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let arrivals = self.arrivals.lock();
        let mut arrivals = arrivals.unwrap_or_else(PoisonError::into_inner);
        arrivals.push((Instant::now(), asked));
    }

    /// Takes one of the refusals that were ordered.
    fn take_refusal(&self) -> Option<Response<Answer>> {
        let less = |left: u64| left.checked_sub(1);
        let take = |of: &AtomicU64| {
            of.fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
                .is_ok()
        };
        if take(&self.refuse) {
            return Some(too_many_requests());
        }
        take(&self.miss).then(not_found)
    }
}

async fn accept(listener: TcpListener, upstream: Client, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, upstream.clone(), Arc::clone(&faults)));
                }
                // A client that left before we came.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, upstream: Client, faults: Arc<Faults>) {
    // Best effort: without it events travel later, not wrongly.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (upstream, faults) = (upstream.clone(), Arc::clone(&faults));
        async move { answer(request, &upstream, faults).await }
    });
    // How a connection ended is the client's news, not ours.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error breaks the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    upstream: &Client,
    faults: Arc<Faults>,
) -> io::Result<Response<Answer>> {
    faults.note(&request);
    let (mut head, body) = request.into_parts();
    let asked = format!("{} {}", head.method, head.uri);
    lock(&faults.requests).push(asked.clone());
    faults.voice().await;
    if faults.unplugged.load(Ordering::Acquire) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(refusal) = faults.take_refusal() {
        return Ok(refusal);
    }
    let watches = head.uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    });
    if watches && faults.swallows.load(Ordering::Acquire) {
        faults.swallowed.fetch_add(1, Ordering::AcqRel);
        std::future::pending::<()>().await;
    }
    let began = faults.cuts.load(Ordering::Acquire);
    for of_this_connection in [HOST, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(of_this_connection);
    }
    if faults.plain.load(Ordering::Acquire) {
        let json = http::HeaderValue::from_static("application/json");
        head.headers.insert(ACCEPT, json);
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let passed_on = Request::from_parts(head, Body::from(body));
    let answer = upstream.send(passed_on).await.map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    head.version = http::Version::HTTP_11;
    for of_this_connection in [CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(of_this_connection);
    }
    let frames = BodyStream::new(body).map(|frame| frame.map_err(io::Error::other));
    let body = if watches {
        if head.status == http::StatusCode::GONE {
            lock(&faults.gone).push(asked.clone());
        }
        let frames = noting_gone(frames, Arc::clone(&faults), asked);
        BodyExt::boxed_unsync(StreamBody::new(cut(frames, faults, began)))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(frames))
    };
    Ok(Response::from_parts(head, body))
}

/// The frames of a watch, of which one that says that its history is gone is noted.
fn noting_gone(
    frames: impl Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin + 'static,
    faults: Arc<Faults>,
    asked: String,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin {
    frames.inspect(move |frame| {
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        let text = data.map_or_else(Default::default, |data| String::from_utf8_lossy(data));
        if text.contains(r#""type":"ERROR""#) && text.contains(r#""code":410"#) {
            lock(&faults.gone).push(asked.clone());
        }
    })
}

/// The frames of a watch, until it is ordered to break.
fn cut(
    frames: impl Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin + 'static,
    faults: Arc<Faults>,
    began: u64,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    stream::unfold((frames, false), move |(mut frames, broken)| {
        let faults = Arc::clone(&faults);
        async move {
            if broken {
                let error = Err(io::ErrorKind::ConnectionReset.into());
                return Some((error, (frames, true)));
            }
            let frame = frames.next().await?;
            faults.voice().await;
            let ordered = faults.cuts.load(Ordering::Acquire) > began;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) if ordered => {
                    let half = data.slice(..data.len() / 2);
                    Some((Ok(Frame::data(half)), (frames, true)))
                }
                Ok(Ok(data)) => Some((Ok(Frame::data(data)), (frames, false))),
                Ok(Err(trailers)) => Some((Ok(trailers), (frames, false))),
                Err(error) => Some((Err(error), (frames, true))),
            }
        }
    })
}

/// As an API server that is too busy refuses.
fn too_many_requests() -> Response<Answer> {
    let mut answer = refusal(
        http::StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
        json!({"retryAfterSeconds": 1}),
    );
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
    answer
}

/// As an API server that does not know the kind.
fn not_found() -> Response<Answer> {
    refusal(
        http::StatusCode::NOT_FOUND,
        "NotFound",
        "the server could not find the requested resource",
        json!({}),
    )
}

fn refusal(
    code: http::StatusCode,
    reason: &str,
    message: &str,
    details: serde_json::Value,
) -> Response<Answer> {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code.as_u16(),
    });
    let body = Full::new(Bytes::from(status.to_string()));
    let mut answer = Response::new(BodyExt::boxed_unsync(
        body.map_err(|never: Infallible| match never {}),
    ));
    *answer.status_mut() = code;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    answer
}
