//! The watch of both kinds: the same list and watch as that of the carriers.
//!
//! Invariant: nothing is published before every watch has listed once, or its kind is not known to the API server; while it is
//! away the last policies stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headgate_model::{PolicyId, PolicyKind};
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use headgate_kubernetes::policies::{Controller, PolicyCache, PolicyShape, StoredPolicy};

use super::observe::observe;
use headgate_kubernetes::access::{self, Watchable};
use headgate_kubernetes::health::{KeepsBack, WatchHealth};
use headgate_kubernetes::object::Nameless;
use headgate_kubernetes::reduce::{Reduce, reduce};
use headgate_kubernetes::update::{Event, Read};
use headgate_kubernetes::watch::Watch;
use headgate_model::Observed;

type WatchId = headgate_kubernetes::update::WatchId<PolicyKind>;
type News = headgate_kubernetes::update::News<StoredPolicy>;

/// News that may wait for the reducer; then the watches wait.
const QUEUE: usize = 1024;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespaces to watch; none for the whole cluster.
    pub namespaces: Vec<String>,
    /// As that of [`crate::cluster::Options`]: no limit is lifted by an API server that starts.
    pub absent_retry: Duration,
    /// The installation whose conditions are read.
    pub controller: Controller,
}

impl Default for Options {
    /// The whole cluster.
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            absent_retry: crate::cluster::Options::default().absent_retry,
            controller: Controller::default(),
        }
    }
}

/// A running watch of policies; dropping it ends it.
#[derive(Debug)]
pub struct Policies {
    seen: watch::Receiver<Option<Arc<PolicyCache>>>,
    _tasks: JoinSet<()>,
}

impl Policies {
    /// Starts watching on the current runtime; `states` is told how that fares, and tells when the API server is back, which
    /// need not be there.
    #[must_use]
    pub fn start(client: &Client, options: &Options, states: &WatchHealth) -> Self {
        let table: BTreeMap<PolicyKind, Watchable> = access::policies().into_iter().collect();
        let kinds: Vec<PolicyKind> = table.keys().copied().collect();
        let ids = WatchId::all(&kinds, &options.namespaces);
        let (tell, news) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let mut watches = BTreeMap::new();
        for id in ids {
            let Some(of) = table.get(&id.what) else {
                continue;
            };
            let name = of.name(id.namespace.as_deref());
            states.expect(name.clone(), of.install, KeepsBack::Everything);
            let kind = id.what;
            let controller = options.controller.clone();
            let read: Read<PolicyShape, StoredPolicy> = Box::new(move |policy| {
                StoredPolicy::read(kind, &controller, &policy.value)
                    .ok_or(Nameless("a namespace or a name"))
            });
            let (retry, pulse) = (options.absent_retry, states.pulse());
            let watch = Watch::new(client, id.clone(), of, read, retry, pulse, &tell);
            tasks.spawn(watch.run());
            watches.insert(id, Listing::named(name));
        }
        let (publish, seen) = watch::channel(None);
        let reducer = Reducer {
            watches,
            seen: PolicyCache::default(),
            states: states.clone(),
        };
        tasks.spawn(reduce(reducer, news, publish));
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// The policies as a world of their own, once all of them are known, and the task that keeps it up to date.
    pub async fn observed(
        &self,
    ) -> (
        watch::Receiver<Arc<Observed>>,
        impl Future<Output = ()> + Send + use<>,
    ) {
        let mut seen = self.seen.clone();
        // The sender lives as long as this watch.
        let first = seen.wait_for(Option::is_some).await;
        let first = first.ok().and_then(|seen| seen.clone()).unwrap_or_default();
        let (publish, observed) = watch::channel(Arc::new(observe(&first, &Observed::default())));
        let task = async move {
            while seen.changed().await.is_ok() {
                let Some(now) = seen.borrow_and_update().clone() else {
                    continue;
                };
                let next = observe(&now, &publish.borrow());
                publish.send_if_modified(|before| {
                    let news = before.objects != next.objects
                        || before.findings != next.findings
                        || before.references != next.references;
                    if news {
                        *before = Arc::new(next);
                    }
                    news
                });
            }
        };
        (observed, task)
    }

    /// The policies as they are now; `None` until all of them are known.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<Arc<PolicyCache>>> {
        self.seen.clone()
    }
}

/// How far a watch is.
struct Listing {
    /// As `status` calls it.
    name: String,
    /// Whether it has told all there is at least once.
    synced: bool,
    /// The objects of the list that is under way.
    listed: Option<BTreeSet<PolicyId>>,
}

impl Listing {
    fn named(name: String) -> Self {
        Self {
            name,
            synced: false,
            listed: None,
        }
    }
}

/// The task that reduces.
struct Reducer {
    watches: BTreeMap<WatchId, Listing>,
    seen: PolicyCache,
    states: WatchHealth,
}

impl Reduce for Reducer {
    type What = PolicyKind;
    type Object = StoredPolicy;
    type Seen = PolicyCache;

    fn synced(&self) -> bool {
        self.watches.values().all(|watch| watch.synced)
    }

    fn seen(&self) -> &PolicyCache {
        &self.seen
    }

    fn hear(&mut self, id: &WatchId, said: News) {
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        self.states.hear(&watch.name, &said);
        let News::Event(event) = said else {
            return;
        };
        match event {
            Event::Begin => watch.listed = Some(BTreeSet::new()),
            Event::Listed(object) => {
                if let Some(listed) = &mut watch.listed {
                    listed.insert(object.id.clone());
                }
                self.seen.apply(object);
            }
            Event::Done | Event::Absent => {
                watch.synced = true;
                let listed = watch.listed.take();
                let listed = listed.filter(|_| matches!(event, Event::Done));
                let listed = listed.unwrap_or_default();
                self.seen.keep(id.what, id.namespace.as_deref(), &listed);
            }
            Event::Applied(object) => self.seen.apply(object),
            Event::Deleted(object) => self.seen.delete(&object.id),
        }
    }
}
