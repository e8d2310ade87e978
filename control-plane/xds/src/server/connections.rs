//! The open connections: their limits, HTTP/2, and their end when the server shuts down.
//!
//! A connection beyond a limit is closed at once, counted and logged. So is one that sends no request in time. The number of
//! streams of a connection is a setting of HTTP/2, which clients keep to by opening another connection.
//!
//! Invariant: a connection counts for exactly as long as it is open.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::Request;
use tonic::service::Routes;

use crate::connection::{Connection, ConnectionInfo};
use crate::counts::Counted;
use crate::peer::Peer;
use crate::provider::{PermissionDenied, SnapshotProvider};
use crate::refusal::Refusal;

use super::admission::denied;
use super::{XdsServer, services};

/// The pause after an error of the listener, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` and the end of the last connection.
pub(super) async fn serve<S: SnapshotProvider, T>(
    server: &XdsServer<S>,
    connections: impl Stream<Item = io::Result<Connection<T>>>,
    shutdown: impl Future<Output = ()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = services::routes(server).prepare();
    // Each connection has a receiver, so the sender knows when the last one has ended.
    let (closing, closes) = watch::channel(());
    {
        let mut connections = std::pin::pin!(connections);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = connections.next() => accepted,
            };
            match accepted {
                Some(Ok(connection)) => {
                    if let Some(counted) = count(server, connection.info()) {
                        let (server, routes) = (server.clone(), routes.clone());
                        let work = run(server, connection, routes, closes.clone(), counted);
                        tokio::spawn(work);
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => break,
            }
        }
    }
    drop(closes);
    closing.send_replace(());
    closing.closed().await;
}

/// Counts a connection, if it is within the limits.
fn count<S: SnapshotProvider>(server: &XdsServer<S>, info: &ConnectionInfo) -> Option<Counted> {
    let options = &server.inner.options;
    let peer = peer_of(info);
    let check = |total, of_peer| {
        let (total_limit, peer_limit) = (options.max_connections, options.max_connections_per_peer);
        if total >= total_limit {
            Err((Refusal::ConnectionLimit, total_limit, "--max-connections"))
        } else if of_peer >= peer_limit {
            let flag = "--max-connections-per-peer";
            Err((Refusal::PeerConnectionLimit, peer_limit, flag))
        } else {
            Ok(())
        }
    };
    match server.inner.connections.add(peer.origin(), check) {
        Ok(counted) => Some(counted),
        Err((refusal, limit, flag)) => {
            let reason = format!("{limit} connections are open, the limit of {flag}");
            denied(server, &peer, PermissionDenied { refusal, reason });
            None
        }
    }
}

fn peer_of(info: &ConnectionInfo) -> Peer {
    Peer {
        address: info.address,
        identity: info.identity.clone(),
        ..Peer::default()
    }
}

/// Serves one connection until it ends.
async fn run<S: SnapshotProvider, T>(
    server: XdsServer<S>,
    connection: Connection<T>,
    routes: Routes,
    mut closes: watch::Receiver<()>,
    counted: Counted,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = &server.inner.options;
    let info = connection.info().clone();
    let peer = peer_of(&info);
    let has_request = Arc::new(AtomicBool::new(false));
    let requested = has_request.clone();
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        requested.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(info.clone());
        routes.clone().call(request.map(Body::new))
    });
    let (interval, timeout) = options.keepalive;
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .max_concurrent_streams(options.max_streams)
        .serve_connection(TokioIo::new(connection), service);
    // On the heap once, not in each state of this task.
    let mut serving = Box::pin(serving);
    let mut first_request = std::pin::pin!(tokio::time::sleep(options.first_request));
    let (mut is_closing, mut is_checked) = (false, false);
    loop {
        tokio::select! {
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = peer.remote(), "a connection failed");
                }
                break;
            }
            _ = closes.changed(), if !is_closing => {
                is_closing = true;
                serving.as_mut().graceful_shutdown();
            }
            () = &mut first_request, if !is_checked => {
                is_checked = true;
                if !has_request.load(Ordering::Relaxed) {
                    let (refusal, within) = (Refusal::NoRequest, options.first_request);
                    let reason = format!("the client sent no request within {within:?}");
                    denied(&server, &peer, PermissionDenied { refusal, reason });
                    break;
                }
            }
        }
    }
    drop(counted);
}
