//! One stream: it waits for requests, snapshots, timers and room in the transport, and lets the session decide.
//!
//! Requests are read by a loop that never waits for the response channel. While the channel is full the session is not polled,
//! so a client that stops reading holds at most `response_queue` responses, whose bodies it shares with all other clients, and
//! the newest snapshot. When the server drains, a stream is served as usual until its turn to end.
//!
//! Futures are boxed where an idle stream would hold the room for work that is done, such as its admission, or where another
//! future would hold the same room again.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tracing::Instrument as _;

use crate::connection::ConnectionInfo;
use crate::fleet::{Member, StreamId};
use crate::peer::Peer;
use crate::provider::{Scope, SnapshotProvider};
use crate::resource::Kind;
use crate::session::{Event, Response, Session, TooManyNames};
use crate::snapshot::Snapshot;
use crate::wire::{Wire, kind_of};

use super::admission::{admit, denied};
use super::framing::{Requests, decode};
use super::histories::{ProxyKey, StreamHistories};
use super::last_good::LastGoodByScope;
use super::log::{self, StreamLog};
use super::scope_changes::ScopeChanges;
use super::siblings::SessionHandle;
use super::{MAX_REQUEST_BYTES, XdsServer};

/// Requests up to this size are handled on the threads that serve all streams. It takes a millisecond at most.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// The queue of a stream's responses. It has room for many at once, so they are boxed.
pub(super) type Outbound = mpsc::Sender<Result<Box<Response>, Status>>;
type Snapshots = watch::Receiver<Option<Arc<Snapshot>>>;

/// Serves a stream until either side ends it. If the server ends it, the client is sent the reason.
pub(super) async fn run<P: Wire, S: SnapshotProvider>(
    server: XdsServer<S>,
    connection: ConnectionInfo,
    only: Option<Kind>,
    mut inbound: Requests<P::Request>,
    outbound: Outbound,
) {
    let ended = tokio::select! {
        // What the client sent before it closed the stream counts: it may be a NACK.
        biased;
        ended = serve::<P, S>(&server, connection, only, &mut inbound, &outbound) => ended,
        () = outbound.closed() => Ok(()),
    };
    if let Err(status) = ended {
        // A client that does not read does not get the reason; its stream ends all the same.
        let _ = outbound.try_send(Err(status));
    }
}

async fn serve<P: Wire, S: SnapshotProvider>(
    server: &XdsServer<S>,
    connection: ConnectionInfo,
    only: Option<Kind>,
    inbound: &mut Requests<P::Request>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let scope_changes = ScopeChanges::since_now(server);
    let admission = Box::pin(receive_first::<P, S>(server, connection, inbound));
    let Some(admission) = until_drained(server, None, admission).await? else {
        return Ok(());
    };
    let span = log::span(&admission.peer, &admission.scope, P::PROTOCOL, only);
    let admitted =
        serve_admitted::<P, S>(server, admission, only, inbound, outbound, scope_changes);
    Box::pin(admitted).instrument(span).await
}

/// Serves a stream that is admitted.
async fn serve_admitted<P: Wire, S: SnapshotProvider>(
    server: &XdsServer<S>,
    admission: Admission<P::Request>,
    only: Option<Kind>,
    inbound: &mut Requests<P::Request>,
    outbound: &Outbound,
    mut scope_changes: ScopeChanges,
) -> Result<(), Status> {
    let (peer, scope) = (admission.peer.clone(), admission.scope.clone());
    let (mut stream, first, mut snapshots) = ActiveStream::open::<P, S>(server, admission, only);
    let id = stream.member.stream();
    let events = async {
        let FirstRequest { bytes, request } = first;
        Box::pin(stream.receive::<P>(bytes, move || Ok(request))).await?;
        tokio::select! {
            ended = stream.run::<P>(inbound, &mut snapshots, outbound) => ended,
            status = scope_changes.until_changed(server, &peer, &scope) => Err(status),
        }
    };
    let ended = until_drained(server, Some(id), Box::pin(events)).await;
    if let Err(status) = &ended {
        status.message().clone_into(&mut stream.end_reason);
    }
    ended
}

/// Runs `work` until it is done, or until the server drains and the turn of the stream comes.
pub(super) async fn until_drained<S: SnapshotProvider, T>(
    server: &XdsServer<S>,
    stream: Option<StreamId>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let mut drain = server.inner.drain.subscribe();
    let turn = async {
        loop {
            let schedule = drain.borrow_and_update().clone();
            // A stream that is not in the schedule was opened during the drain.
            let turn = schedule.map(|schedule| {
                stream
                    .and_then(|s| schedule.get(&s).copied())
                    .unwrap_or_else(now)
            });
            tokio::select! {
                () = at(turn), if turn.is_some() => return,
                changed = drain.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = turn => Err(Status::unavailable("the control plane is shutting down")),
    }
}

/// A stream that is admitted, before its first request is handled.
struct Admission<R> {
    peer: Arc<Peer>,
    scope: Scope,
    snapshot: Arc<Snapshot>,
    snapshots: Snapshots,
    first: FirstRequest<R>,
}

/// The first request of a stream, without its node.
struct FirstRequest<R> {
    /// Its size on the wire.
    bytes: usize,
    request: R,
}

/// Waits for the first request, which names the node, and admits the stream. `None` if the client leaves before it.
async fn receive_first<P: Wire, S: SnapshotProvider>(
    server: &XdsServer<S>,
    connection: ConnectionInfo,
    inbound: &mut Requests<P::Request>,
) -> Result<Option<Admission<P::Request>>, Status> {
    let Some(bytes) = inbound.next().await? else {
        return Ok(None);
    };
    let length = bytes.len();
    let mut request: P::Request = off_the_reactor(length, move || decode(bytes)).await?;
    let node = P::take_node(&mut request).unwrap_or_default();
    let (peer, scope) = admit(server, node, connection)?;
    let first = FirstRequest {
        bytes: length,
        request,
    };
    inbound.set_limit(MAX_REQUEST_BYTES);
    let mut snapshots = snapshots_for(server, &peer).await?;
    let Some(snapshot) = snapshots.borrow_and_update().clone() else {
        return Err(Status::unavailable("not synced yet"));
    };
    Ok(Some(Admission {
        peer,
        scope,
        snapshot,
        snapshots,
        first,
    }))
}

/// The snapshots for a proxy. The provider may have to build the first one, which takes too long for the threads that serve
/// streams.
async fn snapshots_for<S: SnapshotProvider>(
    server: &XdsServer<S>,
    peer: &Arc<Peer>,
) -> Result<Snapshots, Status> {
    let (own, of) = (server.clone(), peer.clone());
    tokio::task::spawn_blocking(move || own.inner.provider.snapshots(&of))
        .await
        .map_err(|_| Status::unavailable("no snapshot could be built; try again"))?
        .map_err(|reason| denied(server, peer, reason))
}

/// An open stream. Dropping it ends it.
struct ActiveStream<'a> {
    session: SessionHandle,
    member: Member,
    scope: Scope,
    last_good: Arc<LastGoodByScope>,
    histories: &'a StreamHistories,
    key: ProxyKey,
    only: Option<Kind>,
    log: StreamLog<'a>,
    /// Why the stream ends, for the log.
    end_reason: String,
}

impl Drop for ActiveStream<'_> {
    /// Runs however the stream ends, also when its task is cancelled.
    fn drop(&mut self) {
        self.store_history();
        self.log.disconnected(&self.end_reason, now());
    }
}

impl<'a> ActiveStream<'a> {
    fn open<P: Wire, S: SnapshotProvider>(
        server: &'a XdsServer<S>,
        admission: Admission<P::Request>,
        only: Option<Kind>,
    ) -> (Self, FirstRequest<P::Request>, Snapshots) {
        let inner = &server.inner;
        let Admission { peer, scope, .. } = admission;
        let key = ProxyKey::new(&peer, P::PROTOCOL, only);
        let session = Session::new(P::PROTOCOL, inner.options.clone(), admission.snapshot);
        let session = session.sharing(inner.shared.clone());
        let mut session = session.with_history(inner.histories.get(&key));
        session.set_last_good(inner.last_good.of(&scope));
        let log = StreamLog::connected(&peer, only, &inner.log_limits, now());
        let fleet = &inner.fleet;
        let member = fleet.join(peer.clone(), scope.clone(), P::PROTOCOL, only);
        let id = member.stream();
        let session = match peer.address.filter(|_| only.is_some()) {
            Some(address) => {
                let groups = &inner.siblings;
                groups.join(address, &peer, P::PROTOCOL, id, session)
            }
            None => SessionHandle::alone(id, session),
        };
        let stream = Self {
            session,
            member,
            scope,
            last_good: inner.last_good.clone(),
            histories: &inner.histories,
            key,
            only,
            log,
            end_reason: "the proxy closed the stream".to_owned(),
        };
        (stream, admission.first, admission.snapshots)
    }

    fn store_history(&self) {
        if let Some(history) = self.session.with(|session| session.history(now())) {
            let id = self.member.stream();
            self.histories.store(&self.key, id, history);
        }
    }

    /// Serves the stream until the client closes it.
    async fn run<P: Wire>(
        &mut self,
        inbound: &mut Requests<P::Request>,
        snapshots: &mut Snapshots,
        outbound: &Outbound,
    ) -> Result<(), Status> {
        let mut has_provider = true;
        loop {
            let stalled = self.send(outbound)?;
            let deadline = self.session.with(|session| session.deadline()).flatten();
            let deadline = deadline.filter(|_| !stalled);
            let report_at = self.log.report_at();
            tokio::select! {
                request = inbound.next() => match request? {
                    Some(bytes) => {
                        Box::pin(self.receive::<P>(bytes.len(), move || decode(bytes))).await?;
                    }
                    None => return Ok(()),
                },
                changed = snapshots.changed(), if has_provider => {
                    // Traffic and proxies go on with the last snapshot when the provider of new ones is gone.
                    has_provider = changed.is_ok();
                    if let Some(snapshot) = snapshots.borrow_and_update().clone() {
                        self.session.with(|session| session.set_snapshot(snapshot));
                    }
                }
                room = outbound.reserve(), if stalled => {
                    // This only waits for room: the session decides what to send at the last moment.
                    drop(room.map_err(|_| Status::cancelled("the proxy closed the stream"))?);
                }
                () = at(deadline), if deadline.is_some() => {}
                () = self.session.until_due(now), if self.only.is_some() && !stalled => {}
                () = at(report_at), if report_at.is_some() => self.log.report_suppressed(now()),
            }
        }
    }

    /// Handles a request of this many bytes.
    async fn receive<P: Wire>(
        &mut self,
        bytes: usize,
        request: impl FnOnce() -> Result<P::Request, Status> + Send + 'static,
    ) -> Result<(), Status> {
        let (session, only, now) = (self.session.session(), self.only, now());
        let (last_good, scope) = (self.last_good.clone(), self.scope.clone());
        let handle = move || {
            let request = request()?;
            let kind = kind_of::<P>(&request, only);
            let kind = kind.map_err(|wrong| Status::invalid_argument(wrong.to_string()))?;
            let Some(kind) = kind else {
                let type_url = P::type_url(&request);
                tracing::debug!(type_url, "proxy asks for a type that is not served");
                return Ok(None);
            };
            let request = P::parse(kind, request);
            let received = session.with(|session| {
                if request.error.is_some() {
                    session.set_last_good(last_good.of(&scope));
                }
                session.request(request, now)?;
                let accepted = session.take_accepted();
                last_good.accept(&scope, &accepted, session.snapshot());
                Ok(())
            });
            let received: Result<(), TooManyNames> = received.unwrap_or(Ok(()));
            received.map_err(|too_many| Status::resource_exhausted(too_many.to_string()))?;
            Ok(Some(kind))
        };
        if let Some(kind) = off_the_reactor(bytes, handle).await? {
            self.session.notify(kind);
        }
        Ok(())
    }

    /// Sends what is due while there is room in the transport. Returns `true` if there was not enough.
    fn send(&mut self, outbound: &Outbound) -> Result<bool, Status> {
        let stalled = loop {
            match outbound.try_reserve() {
                Err(TrySendError::Full(())) => break Ok(true),
                Err(TrySendError::Closed(())) => {
                    break Err(Status::cancelled("the proxy closed the stream"));
                }
                Ok(permit) => match self.session.poll(now()) {
                    Some(response) => permit.send(Ok(Box::new(response))),
                    None => break Ok(false),
                },
            }
        };
        self.report();
        stalled
    }

    /// Reports the events of the session and the state of the client.
    fn report(&mut self) {
        let state = self
            .session
            .with(|session| (session.status(), session.take_events()));
        let Some((status, events)) = state else {
            return;
        };
        // Stored at once: the proxy may reconnect before the server notices the end of this stream.
        if events.iter().any(|e| matches!(e, Event::Nacked { .. })) {
            self.store_history();
        }
        if let Some(kind) = self.only.filter(|_| !events.is_empty()) {
            self.session.notify(kind);
        }
        self.log.events(&events, &status, now());
        self.member.update(status, events);
    }
}

/// Does the work for a request of this many bytes where it holds up nobody else: a large one on a thread of its own.
async fn off_the_reactor<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    if bytes <= MAX_INLINE_BYTES {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Status::internal("the request could not be handled")))
}

/// The one clock of the server. Under tokio's paused time it is paused too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn at(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
