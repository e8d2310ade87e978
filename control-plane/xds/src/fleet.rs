//! What is known of every connected proxy: who it is, what it runs, what it refused, what it waits
//! for.
//!
//! Streams write, `status` and metrics read; [`Fleet::changes`] and [`Fleet::events`] let them
//! follow. Invariant: an entry lives exactly as long as its stream (`Member` removes it), and a
//! slow reader costs a stream nothing (events are dropped for that reader, the entries stay true).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{broadcast, watch};

use crate::resource::{Kind, ResourceKey};
use crate::session::{Event, KindStatus, Protocol};
use crate::world::{Peer, Scope};

/// Events kept for a reader that lags; beyond it the reader misses some.
const EVENT_BACKLOG: usize = 4096;

/// One stream of one proxy, for as long as it is open. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A connected proxy, as one of its streams shows it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The stream.
    pub stream: StreamId,
    /// Who it said it is, and where it connects from.
    pub peer: Arc<Peer>,
    /// What it may have.
    pub scope: Scope,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The kind of a per-type stream; `None` for an aggregated one.
    pub only: Option<Kind>,
    /// Since when it is connected.
    pub since: SystemTime,
    /// How far it is, of every kind it subscribes to.
    pub kinds: BTreeMap<Kind, Progress>,
}

impl Proxy {
    /// Whether it runs everything that it should.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.kinds
            .values()
            .all(|progress| progress.status.is_settled())
    }
}

/// How far a proxy is, of one kind.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Versions wanted, sent, acknowledged; refusals; waits.
    pub status: KindStatus,
    /// When it last acknowledged a response of this kind.
    pub last_ack: Option<SystemTime>,
    /// When it last refused one, and what it said (the culprit may since be found, or replaced).
    pub last_nack: Option<(SystemTime, String)>,
    /// When it acknowledged the version it runs of each resource in [`KindStatus::resources`].
    pub acked_at: BTreeMap<String, SystemTime>,
}

/// Something that happened to a proxy.
#[derive(Clone, Debug)]
pub struct FleetEvent {
    /// When.
    pub at: SystemTime,
    /// On which stream.
    pub stream: StreamId,
    /// The proxy's node id.
    pub node: String,
    /// What.
    pub what: Happening,
}

/// What can happen to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It opened a stream and was given its scope.
    Connected,
    /// Its stream ended.
    Disconnected,
    /// It was sent, accepted or refused something.
    Delivery(Event),
}

/// The version of one resource that one proxy runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The stream it acknowledged it on.
    pub stream: StreamId,
    /// The proxy's node id.
    pub node: String,
    /// The version it should run.
    pub wanted: String,
    /// The version it runs; empty if none yet.
    pub acked: String,
    /// Since when.
    pub at: Option<SystemTime>,
}

/// Every connected proxy. Cheap to clone; all clones are the same fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    proxies: Mutex<BTreeMap<StreamId, Proxy>>,
    next: AtomicU64,
    changes: watch::Sender<u64>,
    events: broadcast::Sender<FleetEvent>,
}

impl Default for Fleet {
    fn default() -> Self {
        let inner = Inner {
            proxies: Mutex::default(),
            next: AtomicU64::new(1),
            changes: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENT_BACKLOG),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Fleet {
    /// Every connected proxy, by stream.
    #[must_use]
    pub fn proxies(&self) -> Vec<Proxy> {
        self.lock().values().cloned().collect()
    }

    /// The proxy of a stream, while it is connected.
    #[must_use]
    pub fn proxy(&self, stream: StreamId) -> Option<Proxy> {
        self.lock().get(&stream).cloned()
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Who runs which version of a resource, for the kinds of which resources are followed one by
    /// one (listeners, routes, filter configurations, secrets).
    #[must_use]
    pub fn running(&self, key: &ResourceKey) -> Vec<Running> {
        let proxies = self.lock();
        let running = proxies.values().filter_map(|proxy| {
            let progress = proxy.kinds.get(&key.kind)?;
            let resource = progress.status.resources.get(&key.name)?;
            Some(Running {
                stream: proxy.stream,
                node: proxy.peer.id.clone(),
                wanted: resource.wanted.clone(),
                acked: resource.acked.clone(),
                at: progress.acked_at.get(&key.name).copied(),
            })
        });
        running.collect()
    }

    /// A number that grows with every change to any entry.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// What happens from now on. A reader that lags by thousands misses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<FleetEvent> {
        self.inner.events.subscribe()
    }

    pub(crate) fn join(
        &self,
        peer: Arc<Peer>,
        scope: Scope,
        protocol: Protocol,
        only: Option<Kind>,
    ) -> Member {
        let stream = StreamId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        let node = peer.id.clone();
        let since = SystemTime::now();
        let kinds = BTreeMap::new();
        let proxy = Proxy {
            stream,
            peer,
            scope,
            protocol,
            only,
            since,
            kinds,
        };
        self.lock().insert(stream, proxy);
        let member = Member {
            fleet: self.clone(),
            stream,
            node,
        };
        member.tell(since, Happening::Connected);
        self.inner.changes.send_modify(|n| *n += 1);
        member
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Proxy>> {
        self.inner
            .proxies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's entry in the fleet; dropping it ends the entry.
#[derive(Debug)]
pub(crate) struct Member {
    fleet: Fleet,
    stream: StreamId,
    node: String,
}

impl Member {
    /// The stream.
    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// Enters what a session learnt, and how far its client is now.
    pub(crate) fn update(&self, status: BTreeMap<Kind, KindStatus>, events: Vec<Event>) {
        let now = SystemTime::now();
        let mut changed = false;
        if let Some(proxy) = self.fleet.lock().get_mut(&self.stream) {
            for (kind, status) in status {
                let progress = proxy.kinds.entry(kind).or_default();
                changed |= progress.status != status;
                progress.status = status;
            }
            for event in &events {
                note(&mut proxy.kinds, event, now);
            }
        }
        for event in events {
            changed = true;
            self.tell(now, Happening::Delivery(event));
        }
        if changed {
            self.fleet.inner.changes.send_modify(|n| *n += 1);
        }
    }

    fn tell(&self, at: SystemTime, what: Happening) {
        let event = FleetEvent {
            at,
            stream: self.stream,
            node: self.node.clone(),
            what,
        };
        // Nobody listening is fine.
        let _ = self.fleet.inner.events.send(event);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.fleet.lock().remove(&self.stream);
        self.tell(SystemTime::now(), Happening::Disconnected);
        self.fleet.inner.changes.send_modify(|n| *n += 1);
    }
}

fn note(kinds: &mut BTreeMap<Kind, Progress>, event: &Event, now: SystemTime) {
    match event {
        Event::Sent { .. } => {}
        Event::Acked { kind, items } => {
            let progress = kinds.entry(*kind).or_default();
            progress.last_ack = Some(now);
            let followed = &progress.status.resources;
            progress
                .acked_at
                .retain(|name, _| followed.contains_key(name));
            for (name, _) in items.iter().filter(|(name, _)| followed.contains_key(name)) {
                progress.acked_at.insert(name.clone(), now);
            }
        }
        Event::Nacked { kind, message, .. } => {
            kinds.entry(*kind).or_default().last_nack = Some((now, message.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_comes_or_goes_is_a_change() {
        let fleet = Fleet::default();
        let mut changes = fleet.changes();
        let scope = Scope("all".to_owned());
        let member = fleet.join(Arc::default(), scope, Protocol::Delta, None);
        assert!(changes.has_changed().is_ok_and(|changed| changed));
        changes.mark_unchanged();
        drop(member);
        assert!(changes.has_changed().is_ok_and(|changed| changed));
    }
}
