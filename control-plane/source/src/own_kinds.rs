//! The watch of Headgate's own kinds: `ServedModel`s ([`Models`]) and policies ([`Policies`]).
//!
//! Invariant: nothing is published until each watch has listed once, or the kind is known to be absent or, if it is optional, forbidden.
//! While the API server is away, the last objects stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headgate_kubernetes::access::{INSTALL_CRDS, Watchable};
use headgate_kubernetes::blocks::Blocks;
use headgate_kubernetes::health::WatchHealth;
use headgate_kubernetes::listing::Listing;
use headgate_kubernetes::models::{ModelCache, ModelObjects};
use headgate_kubernetes::object::MissingIdentity;
use headgate_kubernetes::own_kinds::OwnKinds;
use headgate_kubernetes::policies::{Controller, PolicyCache};
use headgate_kubernetes::update::{Event, Parse, WatchId, WatchUpdate};
use headgate_kubernetes::watch::Watch;
use headgate_model::Observed;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The watch of `ServedModel`s.
pub type Models = OwnKindsWatch<ModelCache>;
/// The watch of policies.
pub type Policies = OwnKindsWatch<PolicyCache>;

type Update<C> = (
    WatchId<<C as OwnKinds>::Kind>,
    WatchUpdate<<C as OwnKinds>::Object>,
);

/// Capacity of the channel to the reducer. When it is full, the watches wait.
const QUEUE: usize = 1024;

/// Options of the watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespaces to watch; empty for the whole cluster.
    pub namespaces: Vec<String>,
    /// As [`crate::cluster::Options::absent_retry`]: an API server that starts must not lift a limit.
    pub absent_retry: Duration,
    /// The controller name of this installation.
    pub controller: Controller,
}

impl Default for Options {
    /// The whole cluster, with the default controller name.
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            absent_retry: crate::cluster::Options::default().absent_retry,
            controller: Controller::default(),
        }
    }
}

/// A running watch of the kinds of a cache. Dropping it ends the watch.
#[derive(Debug)]
pub struct OwnKindsWatch<C> {
    cache: watch::Receiver<Option<Arc<C>>>,
    write_failure: watch::Sender<Option<String>>,
    controller: Controller,
    _tasks: JoinSet<()>,
}

impl<C: OwnKinds> OwnKindsWatch<C> {
    /// Starts the watch on the current runtime. It reports to `health`, and shares its probe. The API server does not have to be
    /// reachable yet.
    #[must_use]
    pub fn start(client: &Client, options: &Options, health: &WatchHealth) -> Self {
        let table: BTreeMap<C::Kind, Watchable> = C::kinds().into_iter().collect();
        let kinds: Vec<C::Kind> = table.keys().cloned().collect();
        let (sender, updates) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let mut watches = BTreeMap::new();
        for id in WatchId::all(&kinds, &options.namespaces) {
            let Some(kind) = table.get(&id.kind) else {
                continue;
            };
            let name = kind.name(id.namespace.as_deref());
            health.register(name.clone(), kind.install, Blocks::Everything);
            if kind.install.is_none() {
                health.set_remedy(&name, INSTALL_CRDS.to_owned());
            }
            let (parsed, controller) = (id.kind.clone(), options.controller.clone());
            let parse: Parse<C::Shape, C::Object> = Box::new(move |object| {
                C::parse(&parsed, &controller, &object.value)
                    .ok_or(MissingIdentity("namespace or name"))
            });
            let (retry, probe) = (options.absent_retry, health.probe());
            let watch = Watch::new(client, id.clone(), kind, parse, retry, probe, &sender);
            tasks.spawn(watch.run());
            let progress = Progress {
                kind: kind.name(None),
                name,
                listing: Listing::default(),
                forbidden: false,
            };
            watches.insert(id, progress);
        }
        let (publish, cache) = watch::channel(None);
        let reducer = Reducer {
            watches,
            cache: C::empty(&options.controller),
            health: health.clone(),
        };
        tasks.spawn(reducer.run(updates, publish));
        Self {
            cache,
            write_failure: watch::Sender::new(None),
            controller: options.controller.clone(),
            _tasks: tasks,
        }
    }

    /// The objects as input of a plan, once all are known, and the task that keeps them up to date.
    pub async fn observed(
        &self,
    ) -> (
        watch::Receiver<Arc<Observed>>,
        impl Future<Output = ()> + Send + use<C>,
    ) {
        let (mut cache, mut failure) = (self.cache.clone(), self.write_failure.subscribe());
        // The sender lives as long as this watch.
        let first = cache.wait_for(Option::is_some).await;
        let first = first.ok().and_then(|cache| cache.clone());
        let first = first.unwrap_or_default().observe(None);
        let first = follow(&Observed::default(), first);
        let (publish, observed) = watch::channel(Arc::new(first));
        let task = async move {
            loop {
                let changed = tokio::select! {
                    changed = cache.changed() => changed,
                    changed = failure.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                let Some(now) = cache.borrow_and_update().clone() else {
                    continue;
                };
                let failure = failure.borrow_and_update().clone();
                let now = now.observe(failure.as_deref());
                publish.send_if_modified(|before| {
                    let changed = before.objects != now.objects
                        || before.findings != now.findings
                        || before.references != now.references;
                    if changed {
                        *before = Arc::new(follow(before, now));
                    }
                    changed
                });
            }
        };
        (observed, task)
    }

    /// A receiver of the cache; `None` until all objects are known.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<Arc<C>>> {
        self.cache.clone()
    }
}

impl Models {
    /// The interface for the writer of `ServedModel`s.
    #[must_use]
    pub fn objects(&self) -> ModelObjects {
        ModelObjects {
            cache: self.cache.clone(),
            write_failure: self.write_failure.clone(),
            controller: self.controller.to_string(),
        }
    }
}

/// Numbers an observation as the successor of `before`.
fn follow(before: &Observed, now: Observed) -> Observed {
    let generation = before.generation + 1;
    let changed = before.generation == 0 || before.objects != now.objects;
    let at = |last: u64| if changed { generation } else { last };
    Observed {
        generation,
        intent: at(before.intent),
        changed: at(before.changed),
        ..now
    }
}

/// Progress of one watch.
struct Progress<K> {
    /// Name of the kind: `servedmodels.headgate.dev`.
    kind: String,
    /// Name of the watch in `headgate status`: the kind and the namespace.
    name: String,
    listing: Listing<K>,
    /// Whether the API server forbids reading the kind.
    forbidden: bool,
}

/// The task that reduces the updates of all watches to the cache.
struct Reducer<C: OwnKinds> {
    watches: BTreeMap<WatchId<C::Kind>, Progress<C::Key>>,
    cache: C,
    health: WatchHealth,
}

impl<C: OwnKinds> Reducer<C> {
    /// Reduces until all senders are dropped. Updates that arrive together are published together.
    async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update<C>>,
        publish: watch::Sender<Option<Arc<C>>>,
    ) {
        while let Some((id, update)) = updates.recv().await {
            self.reduce(&id, update);
            while let Ok((id, update)) = updates.try_recv() {
                self.reduce(&id, update);
            }
            if self.watches.values().all(|w| w.listing.is_synced()) {
                publish.send_if_modified(|published| {
                    let changed = published.as_deref() != Some(&self.cache);
                    if changed {
                        *published = Some(Arc::new(self.cache.clone()));
                    }
                    changed
                });
            }
        }
    }

    fn reduce(&mut self, id: &WatchId<C::Kind>, update: WatchUpdate<C::Object>) {
        let Some(progress) = self.watches.get_mut(id) else {
            return;
        };
        self.health.report(&progress.name, &update);
        let namespace = id.namespace.as_deref();
        match update {
            WatchUpdate::Event(event) => self.reduce_event(id, event),
            // A forbidden optional kind delays nothing.
            WatchUpdate::Lost(failure) if C::OPTIONAL && failure.is_forbidden() => {
                progress.forbidden = true;
                progress.listing.waive();
                self.health.waive(&progress.name);
                self.cache.set_unavailable(namespace, Some(failure.message));
            }
            WatchUpdate::Answered if std::mem::take(&mut progress.forbidden) => {
                self.cache.set_unavailable(namespace, None);
            }
            WatchUpdate::Answered
            | WatchUpdate::Lost(_)
            | WatchUpdate::KindMissing
            | WatchUpdate::Version(_) => {}
        }
    }

    fn reduce_event(&mut self, id: &WatchId<C::Kind>, event: Event<C::Object>) {
        let Some(progress) = self.watches.get_mut(id) else {
            return;
        };
        let namespace = id.namespace.as_deref();
        match event {
            Event::Init => progress.listing.begin(),
            Event::InitApply(object) => {
                progress.listing.add(C::key(&object));
                self.cache.apply(object);
            }
            Event::InitDone => {
                let listed = progress.listing.complete();
                self.cache.set_unavailable(namespace, None);
                self.cache.keep(&id.kind, namespace, &listed);
            }
            Event::Absent => {
                progress.listing.set_absent();
                let reason = format!(
                    "the Kubernetes API has no kind {}: {INSTALL_CRDS}",
                    progress.kind
                );
                self.cache.set_unavailable(namespace, Some(reason));
                self.cache.keep(&id.kind, namespace, &BTreeSet::new());
            }
            Event::Apply(object) => self.cache.apply(object),
            Event::Delete(object) => self.cache.delete(&object),
        }
    }
}
