//! The streams of one proxy: those of one node on one connection, each with its session.
//!
//! An aggregated stream is alone. Streams of single kinds look at each other before each of them says something, and are woken
//! when another one heard or said what they may wait for. A connection is one process, so that nothing is guessed: of two
//! proxies that call themselves the same, neither waits for the other.
//!
//! Invariant: a session is in its group exactly as long as its stream is open, and no lock is held while anything is waited for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::watch;

use crate::fleet::StreamId;
use crate::resource::Kind;
use crate::session::{Protocol, Response, Session};

/// What tells the streams of one proxy from those of others.
type Key = (SocketAddr, String, bool);

/// The groups that are open.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<BTreeMap<Key, Weak<Group>>>);

#[derive(Debug)]
struct Group {
    sessions: Mutex<BTreeMap<StreamId, Session>>,
    /// Counts what others may wait for.
    moves: watch::Sender<u64>,
}

impl Group {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sessions: Mutex::default(),
            moves: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Groups {
    /// A seat for a stream of a single kind, beside those of the same node on the same connection.
    pub(super) fn join(
        &self,
        address: SocketAddr,
        node: &str,
        protocol: Protocol,
        stream: StreamId,
        session: Session,
    ) -> Seat {
        let key = (address, node.to_owned(), protocol == Protocol::Delta);
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        let group = groups.get(&key).and_then(Weak::upgrade);
        let group = group.unwrap_or_else(|| {
            let group = Group::new();
            groups.insert(key, Arc::downgrade(&group));
            group
        });
        drop(groups);
        Seat::take(group, stream, session)
    }
}

/// A stream's place in its group; dropping it leaves.
#[derive(Debug)]
pub(super) struct Seat {
    group: Arc<Group>,
    stream: StreamId,
    moves: watch::Receiver<u64>,
}

impl Seat {
    /// The place of a stream that is alone.
    pub(super) fn alone(stream: StreamId, session: Session) -> Self {
        Self::take(Group::new(), stream, session)
    }

    fn take(group: Arc<Group>, stream: StreamId, session: Session) -> Self {
        let moves = group.moves.subscribe();
        group.lock().insert(stream, session);
        Self {
            group,
            stream,
            moves,
        }
    }

    /// Does something with the stream's session.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.group.lock().get_mut(&self.stream).map(work)
    }

    /// The session's next response, in the light of the others.
    pub(super) fn poll(&self, now: Instant) -> Option<Response> {
        self.beside(now, |session| session.poll(now)).flatten()
    }

    /// Whether the session has something to do, in the light of the others.
    fn is_due(&self, now: Instant) -> bool {
        self.beside(now, |session| session.is_due(now))
            .unwrap_or(false)
    }

    fn beside<T>(&self, now: Instant, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let mut sessions = self.group.lock();
        let mut own = sessions.remove(&self.stream)?;
        let others: Vec<&Session> = sessions.values().collect();
        own.look_at(&others, now);
        let done = work(&mut own);
        sessions.insert(self.stream, own);
        Some(done)
    }

    /// Tells the others that this stream heard or said something of a kind; they hardly ever wait for endpoints.
    pub(super) fn moved(&self, kind: Kind) {
        let sessions = self.group.lock();
        let waits = |session: &Session| session.waits();
        let matters =
            sessions.len() > 1 && (kind != Kind::Endpoints || sessions.values().any(waits));
        drop(sessions);
        if matters {
            self.group.moves.send_modify(|n| *n += 1);
        }
    }

    /// Waits until others moved so that this stream has something to do.
    pub(super) async fn woken(&mut self, now: impl Fn() -> Instant) {
        loop {
            if self.moves.changed().await.is_err() {
                return std::future::pending().await;
            }
            if self.is_due(now()) {
                return;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.group.lock().remove(&self.stream);
        self.group.moves.send_modify(|n| *n += 1);
    }
}
