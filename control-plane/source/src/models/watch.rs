//! The watch of `ServedModel`s: the same list and watch as that of the carriers.
//!
//! Invariant: nothing is published until each watch has listed once, or the API server lacks the kind or forbids reading it. While
//! the API server is away, the last objects stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headgate_contract::names;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use headgate_kubernetes::models::{ModelCache, ModelShape, StoredModel, Writable};

use super::observe::observe;
use headgate_kubernetes::access::{self, DEFINE};
use headgate_kubernetes::health::{KeepsBack, WatchHealth};
use headgate_kubernetes::object::Nameless;
use headgate_kubernetes::reduce::{Reduce, reduce};
use headgate_kubernetes::update::{Event, Read};
use headgate_kubernetes::watch::Watch;
use headgate_model::Observed;

type WatchId = headgate_kubernetes::update::WatchId<()>;
type News = headgate_kubernetes::update::News<StoredModel>;

/// Capacity of the channel to the reducer. When it is full, the watches wait.
const QUEUE: usize = 1024;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespaces to watch; none for the whole cluster.
    pub namespaces: Vec<String>,
    /// As that of [`crate::cluster::Options`].
    pub absent_retry: Duration,
    /// The name of this installation; objects of another one are ignored.
    pub controller: String,
}

impl Default for Options {
    /// The whole cluster.
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            absent_retry: crate::cluster::Options::default().absent_retry,
            controller: names::DEFAULT_CONTROLLER_NAME.to_owned(),
        }
    }
}

/// A running watch of `ServedModel`s; dropping it ends it.
#[derive(Debug)]
pub struct Models {
    seen: watch::Receiver<Option<Arc<ModelCache>>>,
    unwritable: watch::Sender<Option<String>>,
    controller: String,
    _tasks: JoinSet<()>,
}

impl Models {
    /// Starts watching on the current runtime; `states` is told how that fares, and tells when the API server is back, which
    /// need not be there.
    #[must_use]
    pub fn start(client: &Client, options: &Options, states: &WatchHealth) -> Self {
        let of = access::models();
        let (tell, news) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let mut watches = BTreeMap::new();
        for id in WatchId::all(&[()], &options.namespaces) {
            let name = of.name(id.namespace.as_deref());
            states.expect(name.clone(), of.install, KeepsBack::Everything);
            states.restored_by(&name, DEFINE.to_owned());
            let read: Read<ModelShape, StoredModel> = Box::new(|model| {
                StoredModel::read(&model.value).ok_or(Nameless("a namespace or a name"))
            });
            let (retry, pulse) = (options.absent_retry, states.pulse());
            let watch = Watch::new(client, id.clone(), &of, read, retry, pulse, &tell);
            tasks.spawn(watch.run());
            watches.insert(id, Listing::named(name));
        }
        let (publish, seen) = watch::channel(None);
        let reducer = Reducer {
            watches,
            seen: ModelCache::of(&options.controller),
            states: states.clone(),
        };
        tasks.spawn(reduce(reducer, news, publish));
        Self {
            seen,
            unwritable: watch::Sender::new(None),
            controller: options.controller.clone(),
            _tasks: tasks,
        }
    }

    /// The objects as a world of their own, once all of them are known, and the task that keeps it up to date.
    pub async fn observed(
        &self,
    ) -> (
        watch::Receiver<Arc<Observed>>,
        impl Future<Output = ()> + Send + use<>,
    ) {
        let (mut seen, mut unwritable) = (self.seen.clone(), self.unwritable.subscribe());
        // The sender lives as long as this watch.
        let first = seen.wait_for(Option::is_some).await;
        let first = first.ok().and_then(|seen| seen.clone()).unwrap_or_default();
        let first = observe(&first, None, &Observed::default());
        let (publish, observed) = watch::channel(Arc::new(first));
        let task = async move {
            loop {
                let heard = tokio::select! {
                    heard = seen.changed() => heard,
                    heard = unwritable.changed() => heard,
                };
                if heard.is_err() {
                    return;
                }
                let Some(now) = seen.borrow_and_update().clone() else {
                    continue;
                };
                let why = unwritable.borrow_and_update().clone();
                let next = observe(&now, why.as_deref(), &publish.borrow());
                publish.send_if_modified(|before| {
                    let news = before.objects != next.objects || before.findings != next.findings;
                    if news {
                        *before = Arc::new(next);
                    }
                    news
                });
            }
        };
        (observed, task)
    }

    /// The objects as they are now; `None` until all of them are known.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Option<Arc<ModelCache>>> {
        self.seen.clone()
    }

    /// What a writer needs.
    #[must_use]
    pub fn writable(&self) -> Writable {
        Writable {
            seen: self.seen.clone(),
            unwritable: self.unwritable.clone(),
            controller: self.controller.clone(),
        }
    }
}

/// Progress of a watch.
struct Listing {
    /// Its name in `headgate status`.
    name: String,
    /// Whether it has listed at least once, or cannot.
    synced: bool,
    /// Whether the API server forbids reading it.
    forbidden: bool,
    /// The objects of the list that is under way.
    listed: Option<BTreeSet<(String, String)>>,
}

impl Listing {
    fn named(name: String) -> Self {
        Self {
            name,
            synced: false,
            forbidden: false,
            listed: None,
        }
    }
}

/// The task that reduces.
struct Reducer {
    watches: BTreeMap<WatchId, Listing>,
    seen: ModelCache,
    states: WatchHealth,
}

impl Reduce for Reducer {
    type What = ();
    type Object = StoredModel;
    type Seen = ModelCache;

    fn synced(&self) -> bool {
        self.watches.values().all(|watch| watch.synced)
    }

    fn seen(&self) -> &ModelCache {
        &self.seen
    }

    fn hear(&mut self, id: &WatchId, said: News) {
        let Some(watch) = self.watches.get_mut(id) else {
            return;
        };
        let place = id.namespace.clone().unwrap_or_default();
        self.states.hear(&watch.name, &said);
        if let News::Lost(loss) = &said
            && loss.is_forbidden()
        {
            // A forbidden kind delays nothing: the oldest carrier is the base, and the finding reports it.
            (watch.synced, watch.forbidden) = (true, true);
            self.states.waive(&watch.name);
            self.seen.unavailable.insert(place, loss.message.clone());
            return;
        }
        if matches!(said, News::Found) && std::mem::take(&mut watch.forbidden) {
            self.seen.unavailable.remove(&place);
        }
        let News::Event(event) = said else {
            return;
        };
        match event {
            Event::Begin => watch.listed = Some(BTreeSet::new()),
            Event::Listed(object) => {
                if let Some(listed) = &mut watch.listed {
                    listed.insert((object.namespace.clone(), object.name.clone()));
                }
                self.seen.apply(object);
            }
            Event::Done => {
                watch.synced = true;
                self.seen.unavailable.remove(&place);
                let listed = watch.listed.take().unwrap_or_default();
                self.seen.keep(id.namespace.as_deref(), &listed);
            }
            Event::Absent => {
                watch.synced = true;
                let why = format!(
                    "the Kubernetes API has no kind {}: {DEFINE}",
                    access::models().name(None)
                );
                self.seen.unavailable.insert(place, why);
                self.seen.keep(id.namespace.as_deref(), &BTreeSet::new());
            }
            Event::Applied(object) => self.seen.apply(object),
            Event::Deleted(object) => self.seen.delete(&object.namespace, &object.name),
        }
    }
}
