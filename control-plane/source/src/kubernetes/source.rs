//! The running source: watches, the one task that reduces what they tell, and what is published of it.
//!
//! Invariant: nothing is published before every watch has listed once. A label edit is published at once; endpoint churn
//! alone at most every [`CHURN_EVERY`], because a world is copied to be published.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headgate_model::{LabelKeys, Objects};
use kube::core::{ApiResource, DynamicObject, Request};
use kube::{Client, Resource as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::kinds::{Kind, KindError};
use super::objects::{Object, OwnerShape, PodShape, ServiceShape};
use super::picked::Shape;
use super::state::{ApiState, Lost, WatchState};
use super::store::{Event, Settled, Store, WatchId, What};
use super::watch::{News, Read, Watch};
use crate::change::Change;
use crate::files::Observed;

/// Time between two worlds that differ in endpoints alone.
const CHURN_EVERY: Duration = Duration::from_millis(50);
/// News that may wait for the reducer; then the watches wait.
const QUEUE: usize = 1024;

/// What to watch and how to read it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kinds that may own pods.
    pub kinds: Vec<Kind>,
    /// Keys of the three labels.
    pub keys: LabelKeys,
    /// Namespaces to watch; none for the whole cluster.
    pub namespaces: Vec<String>,
    /// How often the API server is asked again for a kind that it does not have, and how long one that was there must be
    /// missing until it is taken for removed.
    pub absent_retry: Duration,
}

impl Default for Options {
    /// The whole cluster, with the usual kinds and labels.
    fn default() -> Self {
        Self {
            kinds: Kind::defaults(),
            keys: LabelKeys::default(),
            namespaces: Vec::new(),
            absent_retry: Duration::from_secs(30),
        }
    }
}

/// A running Kubernetes source; dropping it ends the watches.
#[derive(Debug)]
pub struct Kubernetes {
    observed: watch::Receiver<Arc<Observed>>,
    state: watch::Receiver<ApiState>,
    _tasks: JoinSet<()>,
}

impl Kubernetes {
    /// Starts watching on the current runtime. The API server need not be there.
    ///
    /// # Errors
    /// [`KindError`]: two kinds of one name.
    pub fn start(client: &Client, options: Options) -> Result<Self, KindError> {
        Kind::distinct(&options.kinds)?;
        let ids = watches(&options);
        let (tell, news) = mpsc::channel(QUEUE);
        let mut starter = Starter {
            client,
            options: &options,
            tell,
            tasks: JoinSet::new(),
        };
        ids.iter().for_each(|id| starter.start(id));
        let mut tasks = starter.tasks;
        let (publish, observed) = watch::channel(Arc::default());
        let name = |id: &WatchId| (name(id, &options.kinds), WatchState::default());
        let (states, state) = watch::channel(ApiState {
            watches: ids.iter().map(name).collect(),
        });
        let reducer = Reducer {
            kinds: options.kinds.clone(),
            store: Store::new(options.kinds, options.keys, ids),
            publish,
            states,
            pending: Settled::default(),
            last: None,
        };
        tasks.spawn(reducer.run(news));
        Ok(Self {
            observed,
            state,
            _tasks: tasks,
        })
    }

    /// The world as it is and as it changes, once every watch has listed once.
    pub async fn synced(&self) -> watch::Receiver<Arc<Observed>> {
        let mut observed = self.observed.clone();
        // The sender lives as long as this source.
        let _ = observed.wait_for(|observed| observed.generation > 0).await;
        observed
    }

    /// How the watches fare, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ApiState> {
        self.state.clone()
    }
}

fn watches(options: &Options) -> Vec<WatchId> {
    let mut namespaces: Vec<Option<String>> =
        options.namespaces.iter().cloned().map(Some).collect();
    namespaces.sort();
    namespaces.dedup();
    if namespaces.is_empty() {
        namespaces.push(None);
    }
    let owners = (0..options.kinds.len()).map(What::Owners);
    let whats: Vec<What> = [What::Pods, What::Services]
        .into_iter()
        .chain(owners)
        .collect();
    let of = |namespace: Option<String>| {
        whats.clone().into_iter().map(move |what| WatchId {
            what,
            namespace: namespace.clone(),
        })
    };
    namespaces.into_iter().flat_map(of).collect()
}

/// As `status` calls a watch.
fn name(id: &WatchId, kinds: &[Kind]) -> String {
    let what = match id.what {
        What::Pods => "pods".to_owned(),
        What::Services => "services".to_owned(),
        What::Owners(place) => {
            kinds
                .get(place)
                .map_or_else(String::new, |kind| match kind.group.as_str() {
                    "" => kind.plural.clone(),
                    group => format!("{}.{group}", kind.plural),
                })
        }
    };
    match &id.namespace {
        Some(namespace) => format!("{what} in {namespace}"),
        None => what,
    }
}

/// Starts the watches.
struct Starter<'a> {
    client: &'a Client,
    options: &'a Options,
    tell: mpsc::Sender<(WatchId, News)>,
    tasks: JoinSet<()>,
}

impl Starter<'_> {
    fn start(&mut self, id: &WatchId) {
        match id.what {
            What::Pods => {
                let read: Read<PodShape> = Box::new(|pod| Object::pod(&pod.value));
                self.spawn(id, &core("pods", "Pod"), false, read);
            }
            What::Services => {
                let read: Read<ServiceShape> = Box::new(|service| Object::service(&service.value));
                self.spawn(id, &core("services", "Service"), false, read);
            }
            What::Owners(place) => {
                let Some(kind) = self.options.kinds.get(place).cloned() else {
                    return;
                };
                let (resource, metadata) = (kind.resource(), kind.replicas.is_none());
                let read: Read<OwnerShape> =
                    Box::new(move |owner| Object::owner(&owner.value, &kind));
                self.spawn(id, &resource, metadata, read);
            }
        }
    }

    fn spawn<S: Shape>(
        &mut self,
        id: &WatchId,
        resource: &ApiResource,
        metadata: bool,
        read: Read<S>,
    ) {
        let path = DynamicObject::url_path(resource, id.namespace.as_deref());
        let watch = Watch {
            client: self.client.clone(),
            id: id.clone(),
            path: Request::new(path),
            metadata,
            read,
            absent_retry: self.options.absent_retry,
            tell: self.tell.clone(),
        };
        self.tasks.spawn(watch.run());
    }
}

fn core(plural: &str, kind: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: kind.into(),
        plural: plural.into(),
    }
}

/// The task that reduces.
struct Reducer {
    kinds: Vec<Kind>,
    store: Store,
    publish: watch::Sender<Arc<Observed>>,
    states: watch::Sender<ApiState>,
    /// What became of the world since it was published.
    pending: Settled,
    /// When it was published.
    last: Option<Instant>,
}

impl Reducer {
    async fn run(mut self, mut news: mpsc::Receiver<(WatchId, News)>) {
        loop {
            let due = self.due();
            let first = match due {
                Some(due) => timeout_at(due, news.recv()).await.ok(),
                None => Some(news.recv().await),
            };
            match first {
                Some(Some((id, said))) => self.hear(&id, said),
                Some(None) => return,
                None => {}
            }
            // All that came in at once: a rollout is many events, and one world.
            for _ in 0..QUEUE {
                let Ok((id, said)) = news.try_recv() else {
                    break;
                };
                self.hear(&id, said);
            }
            if self.store.synced() {
                self.pending = self.pending.and(self.store.settle());
                if self.due().is_some_and(|due| due <= Instant::now()) {
                    self.publish();
                }
            }
        }
    }

    /// When the world is to be published, if there is another one.
    fn due(&self) -> Option<Instant> {
        let Some(last) = self.last else {
            return self.store.synced().then(Instant::now);
        };
        match self.pending {
            Settled {
                change: Some(Change::Intent),
                ..
            } => Some(last),
            Settled {
                change: None,
                findings: false,
            } => None,
            _ => Some(last + CHURN_EVERY),
        }
    }

    fn publish(&mut self) {
        self.last = Some(Instant::now());
        let settled = std::mem::take(&mut self.pending);
        let before = self.publish.borrow().clone();
        let generation = before.generation + 1;
        let first = before.generation == 0;
        let at = |happened: bool, last: u64| if happened || first { generation } else { last };
        self.publish.send_replace(Arc::new(Observed {
            objects: Objects {
                carriers: self.store.carriers(),
                ..Objects::default()
            },
            problems: Vec::new(),
            findings: self.store.findings(),
            generation,
            intent: at(settled.change == Some(Change::Intent), before.intent),
            changed: at(settled.change.is_some(), before.changed),
        }));
    }

    fn hear(&mut self, id: &WatchId, said: News) {
        match said {
            News::Event(event) => {
                match event {
                    Event::Done => {
                        self.state(id, |state| (state.synced, state.absent) = (true, false))
                    }
                    Event::Absent => {
                        self.state(id, |state| (state.synced, state.absent) = (true, true))
                    }
                    _ => {}
                }
                self.store.reduce(id, event);
            }
            News::Found => self.state(id, |state| state.lost = None),
            News::Lost(message) => self.state(id, |state| {
                let since = state.lost.as_ref().map_or_else(now, |lost| lost.since);
                state.lost = Some(Lost { since, message });
            }),
        }
    }

    fn state(&self, id: &WatchId, change: impl FnOnce(&mut WatchState)) {
        let watch = name(id, &self.kinds);
        self.states.send_if_modified(|states| {
            let state = states.watches.entry(watch.clone()).or_default();
            let before = state.clone();
            change(state);
            match (&before.lost, &state.lost) {
                (None, Some(lost)) => {
                    tracing::warn!(
                        watch,
                        why = lost.message,
                        "the Kubernetes API does not answer: what was seen last stays"
                    );
                }
                (Some(_), None) => tracing::info!(watch, "the Kubernetes API answers again"),
                _ => {}
            }
            if state.absent && !before.absent {
                tracing::info!(watch, "the Kubernetes API has no such kind");
            }
            *state != before
        });
    }
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
