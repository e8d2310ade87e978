//! The state of every connected proxy: its peer, what it runs, what it rejected, what it waits for.
//!
//! Streams write; status and metrics read, and follow with [`Fleet::changes`] and [`Fleet::events`]. Invariant: an entry lives
//! exactly as long as its stream (`Member` removes it), and a slow reader costs a stream nothing (that reader misses events;
//! the entries stay correct).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use litemap::LiteMap;

use tokio::sync::{broadcast, watch};

use crate::peer::Peer;
use crate::provider::Scope;
use crate::resource::{Kind, ResourceKey};
use crate::session::{Event, KindStatus, Protocol};

/// Events that are kept for a slow reader; beyond it the reader misses the oldest.
const EVENT_BACKLOG: usize = 4096;

/// The number of a stream. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A connected proxy, as seen on one of its streams.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The stream.
    pub stream: StreamId,
    /// Its node and its connection.
    pub peer: Arc<Peer>,
    /// Its scope.
    pub scope: Scope,
    /// The protocol of the stream.
    pub protocol: Protocol,
    /// The kind of a per-type stream; `None` for an aggregated one.
    pub only: Option<Kind>,
    /// When the stream was admitted.
    pub since: SystemTime,
    /// Its progress, of every kind that it subscribes to.
    pub kinds: LiteMap<Kind, Progress>,
}

impl Proxy {
    /// Whether it runs everything that it should run.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.kinds
            .values()
            .all(|progress| progress.status.is_current())
    }
}

/// The progress of a proxy, of one kind.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Versions wanted, sent and acknowledged; rejections; waits.
    pub status: KindStatus,
    /// When it last acknowledged a response of this kind.
    pub last_ack: Option<SystemTime>,
    /// When it last rejected one, and its error message. The rejected resource may have been replaced since.
    pub last_nack: Option<(SystemTime, String)>,
    /// When it acknowledged the version that it runs of each resource in [`KindStatus::resources`].
    pub acked_at: LiteMap<Arc<str>, SystemTime>,
}

/// An event of a proxy.
#[derive(Clone, Debug)]
pub struct FleetEvent {
    /// When it happened.
    pub at: SystemTime,
    /// The stream.
    pub stream: StreamId,
    /// The proxy's node id.
    pub node: String,
    /// The event.
    pub event: ProxyEvent,
}

/// An event of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// It opened a stream and was admitted.
    Connected,
    /// Its stream ended.
    Disconnected,
    /// It was sent a response, or answered one.
    Delivery(Event),
}

/// One resource at one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningResource {
    /// The stream.
    pub stream: StreamId,
    /// The proxy's node id.
    pub node: String,
    /// The version that it should run.
    pub wanted: Arc<str>,
    /// The version that it runs; empty if none yet.
    pub acked: Arc<str>,
    /// When it acknowledged that version on this stream; `None` if it brought the version from an earlier one.
    pub at: Option<SystemTime>,
}

/// Every connected proxy. Cheap to clone; all clones share one state.
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

    /// The number of open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The version of a resource at each proxy, for the kinds whose resources are tracked one by one (listeners, routes, filter
    /// configurations, secrets).
    #[must_use]
    pub fn running(&self, key: &ResourceKey) -> Vec<RunningResource> {
        let proxies = self.lock();
        let running = proxies.values().filter_map(|proxy| {
            let progress = proxy.kinds.get(&key.kind)?;
            let resource = progress.status.resources.get(&key.name)?;
            Some(RunningResource {
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

    /// The events from now on. A reader that lags by more than 4096 events misses the oldest.
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
        let kinds = LiteMap::new_vec();
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
        member.send(since, ProxyEvent::Connected);
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

/// A stream's entry in the fleet. Dropping it removes the entry.
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

    /// Records the events of a session and the state of its client.
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
                record(&mut proxy.kinds, event, now);
            }
        }
        for event in events {
            changed = true;
            self.send(now, ProxyEvent::Delivery(event));
        }
        if changed {
            self.fleet.inner.changes.send_modify(|n| *n += 1);
        }
    }

    fn send(&self, at: SystemTime, event: ProxyEvent) {
        let event = FleetEvent {
            at,
            stream: self.stream,
            node: self.node.clone(),
            event,
        };
        // An error means that there is no reader.
        let _ = self.fleet.inner.events.send(event);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.fleet.lock().remove(&self.stream);
        self.send(SystemTime::now(), ProxyEvent::Disconnected);
        self.fleet.inner.changes.send_modify(|n| *n += 1);
    }
}

fn record(kinds: &mut LiteMap<Kind, Progress>, event: &Event, now: SystemTime) {
    match event {
        Event::Sent { .. } => {}
        Event::Acked { kind, items, .. } => {
            let progress = kinds.entry(*kind).or_default();
            progress.last_ack = Some(now);
            let tracked = &progress.status.resources;
            progress
                .acked_at
                .retain(|name, _| tracked.contains_key(name));
            for item in items.iter().filter(|item| tracked.contains_key(&item.name)) {
                progress.acked_at.insert(item.name.clone(), now);
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
    fn a_proxy_that_connects_or_disconnects_is_a_change() {
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
