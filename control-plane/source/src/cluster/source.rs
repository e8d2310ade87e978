//! The running source: the watches, and the task that reduces their updates and publishes observations.
//!
//! Invariant: nothing is published until all Pods and Services are known, and every other kind is known or cannot be read. A label edit is
//! published at once. Changes of endpoints alone are published at most every [`CHURN_EVERY`], because each publication copies all
//! objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_model::{LabelKeys, Objects, Unread};
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::carrier_change::StoreChange;
use super::external::AllowedEndpoint;
use super::identity::WatchId;
use super::initial_sync::InitialSync;
use super::objects::Object;
use super::roles;
use super::shapes::{OwnerShape, PodShape, PoolShape, ServiceShape};
use super::store::Store;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::access::{self, Watchable};
use headgate_kubernetes::discovery::Discovery;
use headgate_kubernetes::health::{ApiState, WatchHealth};
use headgate_kubernetes::kinds::{Kind, KindError};
use headgate_kubernetes::object::MissingIdentity;
use headgate_kubernetes::prober::probe;
use headgate_kubernetes::pruning::Shape;
use headgate_kubernetes::update::{Event, Parse, WatchUpdate};
use headgate_kubernetes::watch::Watch;
use headgate_model::Change;
use headgate_model::Observed;
use headgate_model::reference::References;

type Update = WatchUpdate<Object>;

/// Shortest time between two observations that differ in endpoints alone.
const CHURN_EVERY: Duration = Duration::from_millis(50);
/// Capacity of the channel to the reducer. When it is full, the watches wait.
const QUEUE: usize = 1024;

/// Options of the source.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kinds that may own pods.
    pub kinds: Vec<Kind>,
    /// Keys of the three labels.
    pub keys: LabelKeys,
    /// Namespaces to watch; empty for the whole cluster.
    pub namespaces: Vec<String>,
    /// Endpoints that an annotation may list although they are refused by default.
    pub allowed_endpoints: Vec<AllowedEndpoint>,
    /// Period of requests for a kind that the API server does not serve, and time after which a kind that was served counts as removed.
    pub absent_retry: Duration,
}

impl Default for Options {
    /// The whole cluster, with the default kinds and labels.
    fn default() -> Self {
        Self {
            kinds: Kind::defaults(),
            keys: LabelKeys::default(),
            namespaces: Vec::new(),
            allowed_endpoints: Vec::new(),
            absent_retry: Duration::from_secs(30),
        }
    }
}

/// A running Kubernetes source; dropping it ends the watches.
#[derive(Debug)]
pub struct Kubernetes {
    observed: watch::Receiver<Arc<Observed>>,
    health: WatchHealth,
    _tasks: JoinSet<()>,
}

impl Kubernetes {
    /// Starts the watches on the current runtime. The API server does not have to be reachable yet.
    ///
    /// # Errors
    /// [`KindError`] if two kinds have the same name.
    pub fn start(client: &Client, options: Options) -> Result<Self, KindError> {
        Kind::distinct(&options.kinds)?;
        let table: BTreeMap<WatchedKind, Watchable> =
            access::carriers(&options.kinds).into_iter().collect();
        let kinds: Vec<WatchedKind> = table.keys().copied().collect();
        let ids = WatchId::all(&kinds, &options.namespaces);
        let (sender, updates) = mpsc::channel(QUEUE);
        let health = WatchHealth::default();
        let discovery = Discovery::default();
        let mut starter = Starter {
            discovery: &discovery,
            client,
            options: &options,
            health: &health,
            sender,
            tasks: JoinSet::new(),
        };
        let mut names = BTreeMap::new();
        for id in &ids {
            if let Some(of) = table.get(&id.kind) {
                let name = of.name(id.namespace.as_deref());
                health.register(name.clone(), of.install, id.kind.blocks());
                health.set_remedy(&name, remedy(&options.kinds, id.kind));
                names.insert(id.clone(), name);
                starter.start(id, of);
            }
        }
        let mut tasks = starter.tasks;
        let optional = table.iter().filter(|(what, _)| what.is_optional());
        let groups = optional.map(|(_, of)| of.resource().group.clone());
        let groups = groups.collect();
        let (api_probe, period) = (health.probe().clone(), options.absent_retry);
        tasks.spawn(discovery.run(client.clone(), groups, period, api_probe));
        let built_in = table.iter().filter(|(_, of)| of.is_built_in());
        let built_in = built_in.map(|(what, _)| *what).collect();
        let (publish, observed) = watch::channel(Arc::default());
        let reducer = Reducer {
            initial_sync: InitialSync::of(ids.iter(), built_in),
            names,
            store: Store::new(options.kinds, options.keys, ids).allowing(options.allowed_endpoints),
            publish,
            health: health.clone(),
            pending: StoreChange::default(),
            last: None,
        };
        tasks.spawn(reducer.run(updates));
        tasks.spawn(probe(client.clone(), health.clone()));
        Ok(Self {
            observed,
            health,
            _tasks: tasks,
        })
    }

    /// A receiver of observations, once the initial sync is complete.
    pub async fn synced(&self) -> watch::Receiver<Arc<Observed>> {
        let mut observed = self.observed.clone();
        // The sender lives as long as this source.
        let _ = observed.wait_for(|observed| observed.generation > 0).await;
        observed
    }

    /// A receiver of the health of the watches.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ApiState> {
        self.health.subscribe()
    }

    /// The health of the watches, for other watches of the same API server.
    #[must_use]
    pub fn health(&self) -> &WatchHealth {
        &self.health
    }
}

/// The remedy for a kind that was removed.
fn remedy(kinds: &[Kind], what: WatchedKind) -> String {
    let install = "install its CustomResourceDefinition again";
    let owner = match what {
        WatchedKind::Owners(place) => kinds.get(place),
        WatchedKind::Pods
        | WatchedKind::Services
        | WatchedKind::Pools
        | WatchedKind::ExperimentalPools => None,
    };
    match owner.map(|kind| (&kind.kind, Kind::default_kind(&kind.kind))) {
        Some((kind, Ok(_))) => format!("{install}, or start with --no-owner-kind {kind}"),
        Some((kind, Err(_))) => format!("{install}, or start without the --owner-kind of {kind}"),
        None => install.to_owned(),
    }
}

/// Starts the watches.
struct Starter<'a> {
    discovery: &'a Discovery,
    client: &'a Client,
    options: &'a Options,
    health: &'a WatchHealth,
    sender: mpsc::Sender<(WatchId, Update)>,
    tasks: JoinSet<()>,
}

impl Starter<'_> {
    fn start(&mut self, id: &WatchId, of: &Watchable) {
        match id.kind {
            WatchedKind::Pods => self.spawn::<PodShape>(id, of, false, Object::pod),
            WatchedKind::Services => self.spawn::<ServiceShape>(id, of, false, Object::service),
            WatchedKind::Pools | WatchedKind::ExperimentalPools => {
                self.spawn::<PoolShape>(id, of, false, Object::pool)
            }
            WatchedKind::Owners(place) => {
                let Some(kind) = self.options.kinds.get(place).cloned() else {
                    return;
                };
                let metadata = !roles::reads_in_full(&kind);
                let parse = move |owner: &Value| Object::owner(owner, &kind);
                self.spawn::<OwnerShape>(id, of, metadata, parse);
            }
        }
    }

    fn spawn<S: Shape>(
        &mut self,
        id: &WatchId,
        of: &Watchable,
        metadata: bool,
        parse: impl Fn(&Value) -> Result<Object, MissingIdentity> + Send + Sync + 'static,
    ) {
        let parse: Parse<S, Object> = Box::new(move |object| parse(&object.value));
        let absent_retry = self.options.absent_retry;
        let optional = id.kind.is_optional();
        let (id, probe, sender) = (id.clone(), self.health.probe(), &self.sender);
        let watch = Watch::new(self.client, id, of, parse, absent_retry, probe, sender);
        let watch = watch.metadata_only(metadata);
        self.tasks.spawn(match optional {
            true => watch.discovered_by(self.discovery, of).run(),
            false => watch.run(),
        });
    }
}

/// The task that reduces the updates of all watches.
struct Reducer {
    /// Names of the watches in `headgate status`.
    names: BTreeMap<WatchId, String>,
    store: Store,
    /// Decides when the first observation is published.
    initial_sync: InitialSync,
    publish: watch::Sender<Arc<Observed>>,
    health: WatchHealth,
    /// The change since the last publication.
    pending: StoreChange,
    /// Time of the last publication.
    last: Option<Instant>,
}

impl Reducer {
    async fn run(mut self, mut updates: mpsc::Receiver<(WatchId, Update)>) {
        loop {
            let due = self.due();
            let first = match due {
                Some(due) => timeout_at(due, updates.recv()).await.ok(),
                None => Some(updates.recv().await),
            };
            match first {
                Some(Some((id, update))) => self.reduce(&id, update),
                Some(None) => return,
                None => {}
            }
            // Updates that arrived together are published together: a rollout is many events.
            for _ in 0..QUEUE {
                let Ok((id, update)) = updates.try_recv() else {
                    break;
                };
                self.reduce(&id, update);
            }
            if self.last.is_some() || self.due().is_some_and(|due| due <= Instant::now()) {
                self.pending = self.pending.and(self.store.reconcile());
                if self.due().is_some_and(|due| due <= Instant::now()) {
                    self.publish();
                }
            }
        }
    }

    /// When the next observation is due, if there is a change.
    fn due(&mut self) -> Option<Instant> {
        let Some(last) = self.last else {
            return self.initial_sync.due(self.store.synced(), Instant::now());
        };
        match self.pending {
            StoreChange {
                change: Some(Change::Intent),
                ..
            } => Some(last),
            StoreChange {
                change: None,
                findings: false,
            } => None,
            _ => Some(last + CHURN_EVERY),
        }
    }

    fn publish(&mut self) {
        self.last = Some(Instant::now());
        let change = std::mem::take(&mut self.pending);
        let before = self.publish.borrow().clone();
        let generation = before.generation + 1;
        let first = before.generation == 0;
        let at = |happened: bool, last: u64| if happened || first { generation } else { last };
        let findings = self.store.findings();
        self.publish.send_replace(Arc::new(Observed {
            objects: Objects {
                carriers: self.store.carriers(),
                groups: self.store.groups(),
                unread: self.unread(),
                ..Objects::default()
            },
            problems: Vec::new(),
            related_models: self.store.related_models(&findings),
            findings,
            references: References::of(self.store.references()),
            generation,
            intent: at(change.change == Some(Change::Intent), before.intent),
            loss: at(change.change == Some(Change::Loss), before.loss),
            changed: at(change.change.is_some(), before.changed),
        }));
    }

    fn reduce(&mut self, id: &WatchId, update: Update) {
        if let Some(name) = self.names.get(id) {
            self.health.report(name, &update);
        }
        if self.last.is_none() {
            self.initial_sync.report(id, &update);
        }
        let may_change_unread = !matches!(
            update,
            WatchUpdate::Event(
                Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)
            ) | WatchUpdate::Version(_)
        );
        match update {
            WatchUpdate::Event(event) => self.store.reduce(id, event),
            WatchUpdate::Version(version) => self.store.set_version(id.kind, version),
            WatchUpdate::Answered | WatchUpdate::Lost(_) | WatchUpdate::KindMissing => {}
        }
        if may_change_unread && self.unread() != self.publish.borrow().objects.unread {
            self.pending.findings = true;
        }
    }

    /// The kinds whose watch is lost or has not listed yet.
    fn unread(&self) -> Unread {
        let unread = self
            .names
            .iter()
            .filter(|(_, name)| self.health.is_unread(name));
        let kinds =
            unread.filter_map(|(id, _)| Some((id.namespace.clone(), self.store.kind(id.kind)?)));
        Unread {
            anything: false,
            kinds: kinds.collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_for_a_removed_kind_names_a_flag() {
        let mut kinds = Kind::defaults();
        let place = |kinds: &[Kind], name: &str| {
            WatchedKind::Owners(kinds.iter().position(|kind| kind.kind == name).unwrap())
        };
        let sets = remedy(&kinds, place(&kinds, "LeaderWorkerSet"));
        assert!(sets.ends_with("--no-owner-kind LeaderWorkerSet"), "{sets}");
        let mut own = kinds[0].clone();
        own.kind = "Trainer".to_owned();
        kinds.push(own);
        let own = remedy(&kinds, place(&kinds, "Trainer"));
        assert!(
            own.ends_with("without the --owner-kind of Trainer"),
            "{own}"
        );
        assert!(!remedy(&kinds, WatchedKind::Pools).contains("owner-kind"));
    }
}
