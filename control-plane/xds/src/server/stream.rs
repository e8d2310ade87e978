//! One stream: waits for requests, snapshots, timers and room in the transport, and lets the session
//! decide.
//!
//! Requests are read by a loop that never waits for the response channel. While that is full the
//! session is simply not asked for more, so a client that stops reading holds at most
//! `response_queue` responses, whose bodies it shares with everyone else, and the newest snapshot.
//! When the server ends, a stream goes on as ever until its turn to leave comes.

use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use crate::fleet::{Member, StreamId};
use crate::resource::Kind;
use crate::session::{Event, Response, Session, TooManyNames};
use crate::snapshot::Snapshot;
use crate::world::{Peer, Refused, Scope, World};

use super::XdsServer;
use super::good::LastGood;
use super::group::Seat;
use super::memory::{Identity, Memory};
use super::wire::{Wire, kind_of};

pub(super) type Outbound = mpsc::Sender<Result<Response, Status>>;
type Snapshots = watch::Receiver<Option<Arc<Snapshot>>>;

/// Runs a stream until either side ends it, and tells the client why if we do.
pub(super) async fn run<P: Wire, W: World>(
    server: XdsServer<W>,
    address: Option<std::net::SocketAddr>,
    only: Option<Kind>,
    mut inbound: Streaming<P::Request>,
    outbound: Outbound,
) {
    let ended = tokio::select! {
        ended = converse::<P, W>(&server, address, only, &mut inbound, &outbound) => ended,
        () = outbound.closed() => Ok(()),
    };
    if let Err(status) = ended {
        // A client that does not read does not learn why; its stream ends all the same.
        let _ = outbound.try_send(Err(status));
    }
}

async fn converse<P: Wire, W: World>(
    server: &XdsServer<W>,
    address: Option<std::net::SocketAddr>,
    only: Option<Kind>,
    inbound: &mut Streaming<P::Request>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let opening = open::<P, W>(server, address, only, inbound);
    let Some((mut conversation, mut snapshots)) = until_its_turn(server, None, opening).await?
    else {
        return Ok(());
    };
    let stream = conversation.member.stream();
    let talk = conversation.go_on::<P>(inbound, &mut snapshots, outbound);
    let ended = until_its_turn(server, Some(stream), talk).await;
    tracing::info!(node = %conversation.peer.id, "proxy disconnected");
    ended
}

/// Does `work`, or leaves it when the server ends and it is the stream's turn.
pub(super) async fn until_its_turn<W: World, T>(
    server: &XdsServer<W>,
    stream: Option<StreamId>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let mut ending = server.inner.ending.subscribe();
    let turn = async {
        loop {
            let ends = ending.borrow_and_update().clone();
            // Who is not named came too late to wait for a turn.
            let turn = ends.map(|ends| {
                stream
                    .and_then(|s| ends.get(&s).copied())
                    .unwrap_or_else(now)
            });
            tokio::select! {
                () = at(turn), if turn.is_some() => return,
                changed = ending.changed() => if changed.is_err() { return },
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = turn => Err(Status::unavailable("the control plane is shutting down")),
    }
}

/// Waits for the first message, which says who it is; `None` if the client leaves before it.
async fn open<'a, P: Wire, W: World>(
    server: &'a XdsServer<W>,
    address: Option<std::net::SocketAddr>,
    only: Option<Kind>,
    inbound: &mut Streaming<P::Request>,
) -> Result<Option<(Conversation<'a>, Snapshots)>, Status> {
    let Some(mut first) = inbound.message().await? else {
        return Ok(None);
    };
    let node = P::take_node(&mut first).unwrap_or_default();
    let (peer, scope) = admit(server, node, address)?;
    let inner = &server.inner;
    let mut snapshots = snapshots_for(server, &peer).await?;
    let Some(snapshot) = snapshots.borrow_and_update().clone() else {
        return Err(Status::unavailable("not synced yet"));
    };
    tracing::info!(node = %peer.id, %scope, protocol = ?P::PROTOCOL, kind = ?only, "proxy connected");
    let identity = Identity::of(&peer, P::PROTOCOL, only);
    let session = Session::new(P::PROTOCOL, inner.options.clone(), snapshot);
    let mut session = session.with_past(inner.memory.recall(&identity));
    session.know_good(inner.good.of(&scope));
    let member = inner
        .fleet
        .join(peer.clone(), scope.clone(), P::PROTOCOL, only);
    let stream = member.stream();
    let seat = match address.filter(|_| only.is_some()) {
        Some(address) => inner
            .groups
            .join(address, &peer.id, P::PROTOCOL, stream, session),
        None => Seat::alone(stream, session),
    };
    let mut conversation = Conversation {
        seat,
        member,
        scope,
        good: &inner.good,
        memory: &inner.memory,
        identity,
        peer,
        only,
    };
    conversation.hear::<P>(first)?;
    Ok(Some((conversation, snapshots)))
}

/// Who opens a stream, and what it may have.
pub(super) fn admit<W: World>(
    server: &XdsServer<W>,
    node: Node,
    address: Option<std::net::SocketAddr>,
) -> Result<(Arc<Peer>, Scope), Status> {
    let peer = Arc::new(Peer::new(node, address));
    let scope = server.inner.world.scope(&peer);
    let scope = scope.map_err(|refused| denied(&peer, refused))?;
    Ok((peer, scope))
}

fn denied(peer: &Peer, refused: Refused) -> Status {
    tracing::warn!(node = %peer.id, address = ?peer.address, %refused, "proxy refused");
    Status::permission_denied(refused.reason)
}

/// The snapshots for a proxy. The world may have to build the first one, which takes too long for the threads that serve streams.
async fn snapshots_for<W: World>(
    server: &XdsServer<W>,
    peer: &Arc<Peer>,
) -> Result<Snapshots, Status> {
    let (server, of) = (server.clone(), peer.clone());
    tokio::task::spawn_blocking(move || server.inner.world.snapshots(&of))
        .await
        .map_err(|_| Status::unavailable("no snapshot could be made; try again"))?
        .map_err(|refused| denied(peer, refused))
}

struct Conversation<'a> {
    seat: Seat,
    member: Member,
    scope: Scope,
    good: &'a LastGood,
    memory: &'a Memory,
    identity: Identity,
    peer: Arc<Peer>,
    only: Option<Kind>,
}

impl Drop for Conversation<'_> {
    /// However the stream ends, by being dropped too.
    fn drop(&mut self) {
        self.remember();
    }
}

impl Conversation<'_> {
    fn remember(&self) {
        if let Some(past) = self.seat.with(|session| session.past(now())) {
            self.memory.keep(&self.identity, self.member.stream(), past);
        }
    }

    async fn go_on<P: Wire>(
        &mut self,
        inbound: &mut Streaming<P::Request>,
        snapshots: &mut Snapshots,
        outbound: &Outbound,
    ) -> Result<(), Status> {
        let mut world_lives = true;
        loop {
            let stalled = self.speak(outbound)?;
            let deadline = self.seat.with(|session| session.deadline()).flatten();
            let deadline = deadline.filter(|_| !stalled);
            tokio::select! {
                request = inbound.message() => match request? {
                    Some(request) => self.hear::<P>(request)?,
                    None => return Ok(()),
                },
                changed = snapshots.changed(), if world_lives => {
                    // Traffic and proxies go on with the last snapshot when nobody makes new ones.
                    world_lives = changed.is_ok();
                    if let Some(snapshot) = snapshots.borrow_and_update().clone() {
                        self.seat.with(|session| session.snapshot(snapshot));
                    }
                }
                room = outbound.reserve(), if stalled => {
                    // Only to learn that there is room: what to send is decided at the last moment.
                    drop(room.map_err(|_| Status::cancelled("the client is gone"))?);
                }
                () = at(deadline), if deadline.is_some() => {}
                () = self.seat.woken(now), if self.only.is_some() && !stalled => {}
            }
        }
    }

    fn hear<P: Wire>(&mut self, request: P::Request) -> Result<(), Status> {
        let Some(kind) = kind_of::<P>(&request, self.only)? else {
            tracing::debug!(url = P::type_url(&request), "a type that is not served");
            return Ok(());
        };
        let request = P::parse(kind, request);
        let heard = self.seat.with(|session| {
            if request.error.is_some() {
                session.know_good(self.good.of(&self.scope));
            }
            session.request(request, now())?;
            let accepted = session.take_good();
            self.good.accept(&self.scope, &accepted, session.newest());
            Ok(())
        });
        self.seat.moved(kind);
        heard
            .unwrap_or(Ok(()))
            .map_err(|too_many: TooManyNames| Status::resource_exhausted(too_many.to_string()))
    }

    /// Hands over what is due while there is room; `true` if there was not enough.
    fn speak(&mut self, outbound: &Outbound) -> Result<bool, Status> {
        let stalled = loop {
            match outbound.try_reserve() {
                Err(TrySendError::Full(())) => break true,
                Err(TrySendError::Closed(())) => {
                    return Err(Status::cancelled("the client is gone"));
                }
                Ok(permit) => match self.seat.poll(now()) {
                    Some(response) => permit.send(Ok(response)),
                    None => break false,
                },
            }
        };
        let learnt = self
            .seat
            .with(|session| (session.status(), session.take_events()));
        let Some((status, events)) = learnt else {
            return Ok(stalled);
        };
        // At once: the proxy may be back before the end of this stream is noticed.
        if events.iter().any(|e| matches!(e, Event::Nacked { .. })) {
            self.remember();
        }
        if let Some(kind) = self.only.filter(|_| !events.is_empty()) {
            self.seat.moved(kind);
        }
        self.member.update(status, events);
        Ok(stalled)
    }
}

/// The one clock of the shell; under tokio's paused time it is paused too.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn at(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}
