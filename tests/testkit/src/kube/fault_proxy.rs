//! A fault-injecting proxy in front of the API server: an unreliable network or a busy server, for one client.
//!
//! It accepts plain HTTP and forwards requests with the identity of a kubeconfig, so RBAC applies. Invariant: without an injected
//! fault it forwards unchanged; while the API server is down it breaks the connection, as the server would.

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

/// The proxy. Dropping it breaks its connections.
#[derive(Debug)]
pub struct FaultProxy {
    faults: Arc<Faults>,
    kubeconfig: PathBuf,
    addr: SocketAddr,
    task: AbortHandle,
}

/// The faults to inject, and the recorded requests.
#[derive(Debug, Default)]
struct Faults {
    /// Time, method and path of each request, in order.
    arrivals: Mutex<Vec<(Instant, String)>>,
    requests: Mutex<Vec<String>>,
    /// Number of requests still to be answered with 429.
    throttle: AtomicU64,
    /// Number of requests still to be answered with 404.
    not_found: AtomicU64,
    /// Number of orders to break watches: a watch that began under a lower number breaks at its next event.
    breaks: AtomicU64,
    /// Whether plain JSON is requested, whatever the client prefers.
    force_json: AtomicBool,
    /// Whether new watches are never answered.
    leaves_unanswered: AtomicBool,
    /// Whether every request ends in a broken connection.
    disconnected: AtomicBool,
    /// Number of watches that are never answered.
    unanswered: AtomicU64,
    /// Watches that the API server ended because their version is too old.
    expired: Mutex<Vec<String>>,
    /// Whether responses are held back.
    frozen: watch::Sender<bool>,
}

impl FaultProxy {
    /// Starts it in front of the API of `upstream`; `kubeconfig` writes the kubeconfig for its URL.
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

    /// URL of the proxy: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.addr)
    }

    /// The kubeconfig of the client under test.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Times of the requests whose method and path satisfy `wanted`, such as `PATCH /api/v1/namespaces/default/configmaps/x`.
    #[must_use]
    pub fn arrival_times(&self, wanted: impl Fn(&str) -> bool) -> Vec<Instant> {
        let all = self.faults.arrivals.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let ours = all.iter().filter(|(_, request_line)| wanted(request_line));
        ours.map(|(at, _)| *at).collect()
    }

    /// Answers the next `count` requests with 429 and `Retry-After: 1`.
    pub fn throttle_next(&self, count: u64) {
        self.faults.throttle.store(count, Ordering::Release);
    }

    /// Answers the next `count` requests with 404, as an API server that does not serve its kinds yet.
    pub fn not_found_next(&self, count: u64) {
        self.faults.not_found.store(count, Ordering::Release);
    }

    /// Requests that [`Self::not_found_next`] has not answered yet.
    #[must_use]
    pub fn not_found_remaining(&self) -> u64 {
        self.faults.not_found.load(Ordering::Acquire)
    }

    /// Requests that [`Self::throttle_next`] has not answered yet.
    #[must_use]
    pub fn throttles_remaining(&self) -> u64 {
        self.faults.throttle.load(Ordering::Acquire)
    }

    /// Breaks every open watch in the middle of its next event: half of the bytes, then the connection closes.
    pub fn break_watches(&self) {
        self.faults.breaks.fetch_add(1, Ordering::AcqRel);
    }

    /// While true, sends nothing to any client and keeps every connection open, as a network that drops packets or a server that
    /// hangs.
    pub fn freeze(&self, frozen: bool) {
        self.faults.frozen.send_replace(frozen);
    }

    /// While true, breaks the connection of every request, as a server that is down.
    pub fn disconnect(&self, disconnected: bool) {
        self.faults
            .disconnected
            .store(disconnected, Ordering::Release);
    }

    /// While true, requests plain JSON whatever the client prefers, so that the API server responds as an older one.
    pub fn force_json(&self, plain: bool) {
        self.faults.force_json.store(plain, Ordering::Release);
    }

    /// While true, never answers new watches, as a starting API server may do; all other requests are forwarded. `false` forwards
    /// later watches again.
    pub fn leave_watches_unanswered(&self, leave: bool) {
        self.faults
            .leaves_unanswered
            .store(leave, Ordering::Release);
    }

    /// Number of watches that were left without an answer.
    #[must_use]
    pub fn unanswered_watches(&self) -> u64 {
        self.faults.unanswered.load(Ordering::Acquire)
    }

    /// The watches that the API server refused with 410 Gone, as the status of the response or as its last event.
    #[must_use]
    pub fn expired_watches(&self) -> Vec<String> {
        lock(&self.faults.expired).clone()
    }

    /// All requests so far, in order, failed ones included: `GET /api/v1/pods?watch=true&…`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.faults.requests).clone()
    }
}

impl Drop for FaultProxy {
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
    /// Returns when responses are not held back.
    async fn until_unfrozen(&self) {
        // The sender lives in this struct.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    fn record(&self, request: &Request<Incoming>) {
        let request_line = format!("{} {}", request.method(), request.uri().path());
        let arrivals = self.arrivals.lock();
        let mut arrivals = arrivals.unwrap_or_else(PoisonError::into_inner);
        arrivals.push((Instant::now(), request_line));
    }

    /// Takes one of the ordered error responses.
    fn take_error(&self) -> Option<Response<Answer>> {
        let less = |left: u64| left.checked_sub(1);
        let take = |of: &AtomicU64| {
            of.fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
                .is_ok()
        };
        if take(&self.throttle) {
            return Some(too_many_requests());
        }
        take(&self.not_found).then(not_found)
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
                // A client that disconnected early.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, upstream: Client, faults: Arc<Faults>) {
    // Best effort: without it events are slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (upstream, faults) = (upstream.clone(), Arc::clone(&faults));
        async move { answer(request, &upstream, faults).await }
    });
    // The result of a connection concerns its client only.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An error breaks the connection without a response.
async fn answer(
    request: Request<Incoming>,
    upstream: &Client,
    faults: Arc<Faults>,
) -> io::Result<Response<Answer>> {
    faults.record(&request);
    let (mut head, body) = request.into_parts();
    let request_line = format!("{} {}", head.method, head.uri);
    lock(&faults.requests).push(request_line.clone());
    faults.until_unfrozen().await;
    if faults.disconnected.load(Ordering::Acquire) {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(refusal) = faults.take_error() {
        return Ok(refusal);
    }
    let watches = head.uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    });
    if watches && faults.leaves_unanswered.load(Ordering::Acquire) {
        faults.unanswered.fetch_add(1, Ordering::AcqRel);
        std::future::pending::<()>().await;
    }
    let began = faults.breaks.load(Ordering::Acquire);
    for of_this_connection in [HOST, CONNECTION, TRANSFER_ENCODING] {
        head.headers.remove(of_this_connection);
    }
    if faults.force_json.load(Ordering::Acquire) {
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
            lock(&faults.expired).push(request_line.clone());
        }
        let frames = recording_expiry(frames, Arc::clone(&faults), request_line);
        BodyExt::boxed_unsync(StreamBody::new(until_broken(frames, faults, began)))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(frames))
    };
    Ok(Response::from_parts(head, body))
}

/// The frames of a watch; an event that says that its version is too old is recorded.
fn recording_expiry(
    frames: impl Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin + 'static,
    faults: Arc<Faults>,
    request_line: String,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin {
    frames.inspect(move |frame| {
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        let text = data.map_or_else(Default::default, |data| String::from_utf8_lossy(data));
        if text.contains(r#""type":"ERROR""#) && text.contains(r#""code":410"#) {
            lock(&faults.expired).push(request_line.clone());
        }
    })
}

/// The frames of a watch, until it is ordered to break.
fn until_broken(
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
            faults.until_unfrozen().await;
            let ordered = faults.breaks.load(Ordering::Acquire) > began;
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

/// The response of an API server that is too busy.
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

/// The response of an API server that does not know the kind.
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
