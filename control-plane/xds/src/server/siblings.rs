//! The streams of one proxy: those of one node on one connection, each with its session.
//!
//! An aggregated stream has no siblings. A per-type stream looks at its siblings each time before it sends something, and wakes
//! up when another one received or sent what it may wait for. A connection belongs to one process, so nothing is guessed: two
//! proxies with the same node id do not wait for each other.
//!
//! Invariant: a session is in its group exactly as long as its stream is open, and no lock is held across an await.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::watch;

use crate::connection::PeerIdentity;
use crate::fleet::StreamId;
use crate::peer::Peer;
use crate::resource::Kind;
use crate::session::{Protocol, Response, Session};

/// Address, identity, node id, and whether the protocol is delta. A proxy in front of this server sends the streams of many
/// proxies over one connection, so the node id alone, which is a claim, does not tell them apart.
type GroupKey = (SocketAddr, Option<PeerIdentity>, String, bool);

/// The open groups.
#[derive(Debug, Default)]
pub(super) struct SiblingGroups(Mutex<BTreeMap<GroupKey, Weak<SiblingGroup>>>);

#[derive(Debug)]
struct SiblingGroup {
    /// Boxed: a node of the map has room for eleven values, and most groups have one.
    sessions: Mutex<BTreeMap<StreamId, Box<Session>>>,
    /// Grows with everything that another session of the group may wait for.
    changes: watch::Sender<u64>,
}

impl SiblingGroup {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sessions: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Box<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SiblingGroups {
    /// Adds the session of a per-type stream to those of the same node on the same connection.
    pub(super) fn join(
        &self,
        address: SocketAddr,
        peer: &Peer,
        protocol: Protocol,
        stream: StreamId,
        session: Session,
    ) -> SessionHandle {
        let is_delta = protocol == Protocol::Delta;
        let key = (address, peer.identity.clone(), peer.id.clone(), is_delta);
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| group.strong_count() > 0);
        let group = groups.get(&key).and_then(Weak::upgrade);
        let group = group.unwrap_or_else(|| {
            let group = SiblingGroup::new();
            groups.insert(key, Arc::downgrade(&group));
            group
        });
        drop(groups);
        SessionHandle::insert(group, stream, session)
    }
}

/// A session, from any thread. Once its stream has ended there is none.
#[derive(Clone, Debug)]
pub(super) struct SessionRef {
    group: Arc<SiblingGroup>,
    stream: StreamId,
}

impl SessionRef {
    /// Calls `work` with the session.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.group
            .lock()
            .get_mut(&self.stream)
            .map(|session| work(session))
    }
}

/// A session in its group. Dropping the handle removes the session.
#[derive(Debug)]
pub(super) struct SessionHandle {
    session: SessionRef,
    changes: watch::Receiver<u64>,
}

impl SessionHandle {
    /// The session of a stream without siblings.
    pub(super) fn alone(stream: StreamId, session: Session) -> Self {
        Self::insert(SiblingGroup::new(), stream, session)
    }

    fn insert(group: Arc<SiblingGroup>, stream: StreamId, session: Session) -> Self {
        let changes = group.changes.subscribe();
        group.lock().insert(stream, Box::new(session));
        let session = SessionRef { group, stream };
        Self { session, changes }
    }

    /// The session, for work on another thread.
    pub(super) fn session(&self) -> SessionRef {
        self.session.clone()
    }

    /// Calls `work` with the session.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.session.with(work)
    }

    /// The session's next response, given its siblings.
    pub(super) fn poll(&self, now: Instant) -> Option<Response> {
        self.with_siblings(now, |session| session.poll(now))
            .flatten()
    }

    /// Whether anything may be due, given the siblings.
    fn is_due(&self, now: Instant) -> bool {
        self.with_siblings(now, |session| session.is_due(now))
            .unwrap_or(false)
    }

    fn with_siblings<T>(&self, now: Instant, work: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let mut sessions = self.session.group.lock();
        let mut own = sessions.remove(&self.session.stream)?;
        let others: Vec<&Session> = sessions.values().map(Box::as_ref).collect();
        own.update_siblings(&others, now);
        let done = work(&mut own);
        sessions.insert(self.session.stream, own);
        Some(done)
    }

    /// Wakes the siblings after this stream received or sent something of a kind. They hardly ever wait for endpoints.
    pub(super) fn notify(&self, kind: Kind) {
        let sessions = self.session.group.lock();
        let matters = sessions.len() > 1
            && (kind != Kind::Endpoints || sessions.values().any(|s| s.is_waiting()));
        drop(sessions);
        if matters {
            self.session.group.changes.send_modify(|n| *n += 1);
        }
    }

    /// Waits until a sibling's change makes something due on this stream.
    pub(super) async fn until_due(&mut self, now: impl Fn() -> Instant) {
        loop {
            if self.changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            if self.is_due(now()) {
                return;
            }
        }
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.session.group.lock().remove(&self.session.stream);
        self.session.group.changes.send_modify(|n| *n += 1);
    }
}
