//! Exchange of counts through ConfigMaps: each replica writes its own with its admin address, watches those of the others, and the
//! leader deletes expired ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::json;
use tokio::sync::watch;
use tracing::{Instrument as _, Span};

use super::peer_counts::HEARTBEAT;
use super::{Peer, PeerCounts, PublishSchedule, parse, render};
use headgate_kubernetes::access::COUNTS;
use headgate_kubernetes::fault::{Backoff, Fault};
use headgate_kubernetes::faults::Faults;
use headgate_model::ReplicaCounts;

/// Field manager of the ConfigMaps.
const MANAGER: &str = "headgate-counts";
/// Label of the ConfigMaps; its value is the name of the Lease.
const LABEL: &str = "headgate.dev/counts-of";
/// Data key of the counts.
const KEY: &str = "counts.json";
/// Data keys of the replica name and of its admin address.
const REPLICA_KEY: &str = "replica";
const ADMIN_KEY: &str = "admin";
/// Data key of the heartbeat, which makes each publication differ from the last one.
const HEARTBEAT_KEY: &str = "heartbeat";
/// Part of the permission: the watch.
const WATCH: &str = "watch";
/// Part of the permission: the deletion.
const DELETE: &str = "delete";
/// Counts of other replicas that cannot be parsed.
const OTHERS: &str = "counts of other replicas";
/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Duration of a watch request, in seconds.
const WATCH_SECONDS: u32 = 15;
/// Time without an event after which the connection counts as broken. The own heartbeat causes events more often, and two such
/// timeouts are shorter than the expiry of a replica.
const WATCH_TIMEOUT: Duration = Duration::from_secs(15);

/// Exchanges the counts of the replicas that share a Lease.
#[derive(Clone, Debug)]
pub(crate) struct CountsExchange {
    pub(crate) api: Api<ConfigMap>,
    /// Name of the Lease.
    pub(crate) lease: String,
    /// Name of the own ConfigMap.
    pub(crate) own: String,
    /// This replica, as it is published.
    pub(crate) peer: Peer,
    pub(crate) faults: Faults,
    pub(crate) started: Instant,
    pub(crate) peer_counts: Arc<Mutex<PeerCounts>>,
}

/// The other replicas.
#[derive(Clone, Debug)]
pub struct Peers {
    own: String,
    started: Instant,
    peer_counts: Arc<Mutex<PeerCounts>>,
}

impl Peers {
    /// The name of this replica.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// The other replicas whose counts have not expired.
    #[must_use]
    pub fn now(&self) -> Vec<Peer> {
        let peer_counts = self
            .peer_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        peer_counts.peers(self.started.elapsed())
    }
}

impl CountsExchange {
    /// A handle to the other replicas.
    pub(crate) fn peers(&self) -> Peers {
        Peers {
            own: self.peer.replica.clone(),
            started: self.started,
            peer_counts: self.peer_counts.clone(),
        }
    }

    /// The counts of the other replicas. Callers hold the lock only while they read.
    pub(crate) fn peer_counts(&self) -> MutexGuard<'_, PeerCounts> {
        self.peer_counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// When to aggregate again without an event: when a replica expires, and, for the leader, when a failed deletion is due again.
    pub(crate) fn next(&self, is_leader: bool) -> Option<Duration> {
        let (peer_counts, clock) = (self.peer_counts(), self.started.elapsed());
        let again = is_leader && !peer_counts.expired(clock).is_empty();
        let again = again.then(|| clock + HEARTBEAT);
        peer_counts
            .next_expiry(clock)
            .into_iter()
            .chain(again)
            .min()
    }

    /// Publishes the own counts on schedule until their sender is dropped.
    pub(crate) async fn publish(self, mut own: watch::Receiver<Arc<ReplicaCounts>>) {
        let mut schedule = PublishSchedule::default();
        loop {
            let counts = own.borrow_and_update().clone();
            let due = self.started + schedule.due(&counts, self.started.elapsed());
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {
                    self.put(&counts).await;
                    schedule.published(ReplicaCounts::clone(&counts), self.started.elapsed());
                }
                changed = own.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn put(&self, counts: &ReplicaCounts) {
        let lost = "the proxies of this replica are not counted in the status of policies";
        let text = match render(counts) {
            Ok(text) => text,
            Err(error) => return self.faults.failed(&COUNTS.name(), lost, &error.to_string()),
        };
        let mut map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.own, "labels": {LABEL: self.lease}},
            "data": {
                KEY: text,
                HEARTBEAT_KEY: self.started.elapsed().as_millis().to_string(),
                REPLICA_KEY: self.peer.replica,
            },
        });
        if let Some(admin) = self.peer.admin {
            map["data"][ADMIN_KEY] = admin.to_string().into();
        }
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&map);
        let written = self.api.patch(&self.own, &params, &patch);
        match tokio::time::timeout(REQUEST_TIMEOUT, written.instrument(span(&self.own))).await {
            Ok(Ok(_)) => self.faults.succeeded(&COUNTS.name()),
            Ok(Err(error)) => {
                let why = Fault::from(error).message();
                self.faults.failed(&COUNTS.name(), lost, &why);
            }
            Err(_) => {
                let why = format!("no answer within {REQUEST_TIMEOUT:?}");
                self.faults.failed(&COUNTS.name(), lost, &why);
            }
        }
    }

    /// Deletes the own counts, because this process ends.
    pub(crate) async fn withdraw(&self) {
        let params = DeleteParams::default();
        let span = span(&self.own);
        let deleted = self.api.delete(&self.own, &params);
        let deleted = tokio::time::timeout(REQUEST_TIMEOUT, deleted.instrument(span.clone())).await;
        if let Ok(Err(error)) = deleted {
            tracing::debug!(parent: &span, %error, "counts cannot be deleted; the leader deletes them after they expire");
        }
    }

    /// Deletes the counts of expired replicas, if this replica is the leader. A replica that publishes meanwhile keeps its counts.
    pub(crate) async fn delete_expired(&self, is_leader: bool) {
        let expired = is_leader.then(|| self.peer_counts().expired(self.started.elapsed()));
        let mut failure: Option<String> = None;
        for (name, version) in expired.unwrap_or_default() {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    resource_version: Some(version),
                    uid: None,
                }),
                ..DeleteParams::default()
            };
            let span = span(&name);
            let deleted = self.api.delete(&name, &params);
            match tokio::time::timeout(REQUEST_TIMEOUT, deleted.instrument(span.clone())).await {
                Ok(Ok(_)) => {
                    tracing::info!(parent: &span, "deleted the counts of an expired replica")
                }
                // The replica published meanwhile, or another client was faster.
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
                // Only the first failure is reported, and it is the same each time.
                Ok(Err(error)) => {
                    failure.get_or_insert_with(|| Fault::from(error).message());
                }
                Err(_) => {
                    failure.get_or_insert_with(|| format!("no answer within {REQUEST_TIMEOUT:?}"));
                    break;
                }
            }
        }
        match failure {
            Some(why) => {
                let lost = "the counts of expired replicas are not deleted";
                self.faults.failed(&COUNTS.part(DELETE), lost, &why);
            }
            None => self.faults.succeeded(&COUNTS.part(DELETE)),
        }
    }
}

/// The span of a write of counts.
fn span(name: &str) -> Span {
    tracing::info_span!("write_counts", object = format!("ConfigMap {name}"))
}

/// Watches the counts of the other replicas. `changed` increases with each change.
pub(crate) async fn follow(exchange: CountsExchange, changed: watch::Sender<u64>) {
    follow_within(WATCH_TIMEOUT, exchange, changed).await;
}

/// Restarts the watch after `timeout` without an event.
async fn follow_within(timeout: Duration, exchange: CountsExchange, changed: watch::Sender<u64>) {
    let labels = format!("{LABEL}={}", exchange.lease);
    let config = Config::default().labels(&labels).timeout(WATCH_SECONDS);
    let lost = "the proxies of other replicas are not counted in the status of policies";
    let mut follower = Follower {
        exchange: exchange.clone(),
        listed: BTreeSet::new(),
        unreadable: BTreeMap::new(),
    };
    let mut backoff = Backoff::new();
    loop {
        let mut events = watcher(exchange.api.clone(), config.clone()).boxed();
        let mut answered = false;
        while let Ok(Some(event)) = tokio::time::timeout(timeout, events.next()).await {
            match event {
                Ok(event) => {
                    // `Init` comes before the first request.
                    if !matches!(event, Event::Init) {
                        answered = true;
                        backoff.reset();
                        exchange.faults.succeeded(&COUNTS.part(WATCH));
                    }
                    follower.apply(event);
                }
                Err(error) => {
                    answered = true;
                    let mut why = error.to_string();
                    if let Some(cause) = std::error::Error::source(&error) {
                        why = format!("{why}: {cause}");
                    }
                    exchange.faults.failed(&COUNTS.part(WATCH), lost, &why);
                    tokio::time::sleep(backoff.next_wait()).await;
                }
            }
            changed.send_modify(|n| *n += 1);
        }
        // A watch that was answered before may just be idle. The new list contains everything that was missed.
        if !answered {
            let why = format!("no answer within {timeout:?}");
            exchange.faults.failed(&COUNTS.part(WATCH), lost, &why);
        }
    }
}

/// Applies the events of the watch.
struct Follower {
    exchange: CountsExchange,
    /// Names in the current list so far.
    listed: BTreeSet<String>,
    /// Counts that cannot be parsed, with the error.
    unreadable: BTreeMap<String, String>,
}

impl Follower {
    fn apply(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(map) => {
                self.listed.insert(map.name_any());
                self.read(&map);
            }
            Event::InitDone => {
                let listed = &self.listed;
                self.unreadable.retain(|name, _| listed.contains(name));
                self.exchange
                    .peer_counts()
                    .retain(|name| listed.contains(name));
            }
            Event::Apply(map) => self.read(&map),
            Event::Delete(map) => {
                self.unreadable.remove(&map.name_any());
                self.exchange.peer_counts().remove(&map.name_any());
            }
        }
        let why: Vec<&str> = self.unreadable.values().map(String::as_str).collect();
        if why.is_empty() {
            self.exchange.faults.succeeded(&COUNTS.part(OTHERS));
        } else {
            let lost = "proxies of other replicas are not counted in the status of policies";
            self.exchange
                .faults
                .failed(&COUNTS.part(OTHERS), lost, &why.join("; "));
        }
    }

    /// Counts that cannot be parsed are replaced by empty ones. They expire like all others.
    fn read(&mut self, map: &ConfigMap) {
        let name = map.name_any();
        if name == self.exchange.own {
            return;
        }
        let text = |key: &str| map.data.as_ref()?.get(key).map(String::as_str);
        let peer = Peer {
            replica: text(REPLICA_KEY).unwrap_or(&name).to_owned(),
            admin: text(ADMIN_KEY).and_then(|text| text.parse().ok()),
        };
        let counts = match parse(text(KEY).unwrap_or_default()) {
            Ok(counts) => {
                self.unreadable.remove(&name);
                counts
            }
            Err(error) => {
                let why = format!("{name}: {error}");
                self.unreadable.insert(name.clone(), why);
                ReplicaCounts::default()
            }
        };
        let version = map.resource_version().unwrap_or_default();
        let clock = self.exchange.started.elapsed();
        let entry = (peer, counts);
        self.exchange
            .peer_counts()
            .update(&name, &version, entry, clock);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use kube::Client;

    use super::*;

    fn exchange(server: &str) -> CountsExchange {
        let config = kube::Config::new(server.parse().unwrap());
        let client = Client::try_from(config).unwrap();
        CountsExchange {
            api: Api::namespaced(client, "system"),
            lease: "headgate".to_owned(),
            own: "headgate-counts-a".to_owned(),
            peer: Peer::default(),
            faults: Faults::default(),
            started: Instant::now(),
            peer_counts: Arc::default(),
        }
    }

    fn config_map(version: &str, text: &str) -> ConfigMap {
        let map = json!({
            "metadata": {"name": "headgate-counts-b", "resourceVersion": version},
            "data": {KEY: text},
        });
        serde_json::from_value(map).unwrap()
    }

    #[tokio::test]
    async fn a_watch_without_an_answer_is_reported_and_restarted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let exchange = exchange(&format!("http://{}", listener.local_addr().unwrap()));
        let mut faults = exchange.faults.watch();
        let (changed, _changes) = watch::channel(0);
        let timeout = Duration::from_millis(50);
        let following = tokio::spawn(follow_within(timeout, exchange, changed));
        let reconnects = async {
            // Held open, and never answered.
            let _first = listener.accept().await.unwrap();
            listener.accept().await.unwrap();
            faults
                .wait_for(|faults| faults.contains_key(&COUNTS.part(WATCH)))
                .await
                .unwrap();
        };
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, reconnects).await.unwrap();
        following.abort();
    }

    #[tokio::test]
    async fn counts_that_cannot_be_parsed_are_empty_reported_once_and_deleted_after_they_expire() {
        let exchange = exchange("http://127.0.0.1:1");
        let mut follower = Follower {
            exchange: exchange.clone(),
            listed: BTreeSet::new(),
            unreadable: BTreeMap::new(),
        };
        let counts = ReplicaCounts {
            proxies: BTreeMap::from([(headgate_model::ProxyGroup::default(), 3)]),
            ..ReplicaCounts::default()
        };
        let readable = render(&counts).unwrap();
        let current = || -> Vec<ReplicaCounts> {
            let peer_counts = exchange.peer_counts();
            peer_counts
                .current(exchange.started.elapsed())
                .cloned()
                .collect()
        };
        follower.apply(Event::Apply(config_map("1", &readable)));
        assert_eq!(current(), std::slice::from_ref(&counts));
        assert!(exchange.faults.now().is_empty());
        let mut faults = exchange.faults.watch();
        follower.apply(Event::Apply(config_map("2", "{]")));
        assert_eq!(
            current(),
            [ReplicaCounts::default()],
            "earlier counts no longer apply"
        );
        assert!(faults.has_changed().unwrap());
        let now = faults.borrow_and_update().clone();
        assert!(
            now[&COUNTS.part(OTHERS)]
                .message
                .contains("headgate-counts-b"),
            "{now:?}"
        );
        follower.apply(Event::Apply(config_map("3", "{]")));
        assert!(!faults.has_changed().unwrap(), "it is reported already");
        let later = exchange.started.elapsed() + Duration::from_secs(60);
        let expired = [("headgate-counts-b".to_owned(), "3".to_owned())];
        assert_eq!(exchange.peer_counts().expired(later), expired);
        follower.apply(Event::Apply(config_map("4", &readable)));
        assert!(exchange.faults.now().is_empty());
        follower.apply(Event::Apply(config_map("5", "")));
        assert_eq!(exchange.faults.now().len(), 1);
        follower.apply(Event::Delete(config_map("5", "")));
        assert!(exchange.faults.now().is_empty() && current().is_empty());
    }
}
