//! The running source: watches, the one task that reduces what they tell, and what is published of it.
//!
//! Invariant: nothing is published before all Pods and Services are known, and every other kind is, or is known not to be read
//! now. A label edit is published at once; what endpoints
//! alone do at most every [`CHURN_EVERY`], because a world is copied to be published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_model::{LabelKeys, Objects, Unread};
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::external::AllowedEndpoint;
use super::initial_sync::InitialSync;
use super::objects::Object;
use super::roles;
use super::settled::Settled;
use super::shapes::{OwnerShape, PodShape, PoolShape, ServiceShape};
use super::store::{Store, WatchId};
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::access::{self, Watchable};
use headgate_kubernetes::discovery::Catalogue;
use headgate_kubernetes::health::{ApiState, WatchHealth};
use headgate_kubernetes::kinds::{Kind, KindError};
use headgate_kubernetes::object::Nameless;
use headgate_kubernetes::prober::probe;
use headgate_kubernetes::pruning::Shape;
use headgate_kubernetes::update::{Event, Read};
use headgate_kubernetes::watch::Watch;
use headgate_model::Change;
use headgate_model::Observed;
use headgate_model::reference::References;

type News = headgate_kubernetes::update::News<Object>;

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
    /// Endpoints that may be written on a Service although they are refused by default.
    pub allowed_endpoints: Vec<AllowedEndpoint>,
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
            allowed_endpoints: Vec::new(),
            absent_retry: Duration::from_secs(30),
        }
    }
}

/// A running Kubernetes source; dropping it ends the watches.
#[derive(Debug)]
pub struct Kubernetes {
    observed: watch::Receiver<Arc<Observed>>,
    states: WatchHealth,
    _tasks: JoinSet<()>,
}

impl Kubernetes {
    /// Starts watching on the current runtime. The API server need not be there.
    ///
    /// # Errors
    /// [`KindError`]: two kinds of one name.
    pub fn start(client: &Client, options: Options) -> Result<Self, KindError> {
        Kind::distinct(&options.kinds)?;
        let table: BTreeMap<WatchedKind, Watchable> =
            access::carriers(&options.kinds).into_iter().collect();
        let whats: Vec<WatchedKind> = table.keys().copied().collect();
        let ids = WatchId::all(&whats, &options.namespaces);
        let (tell, news) = mpsc::channel(QUEUE);
        let states = WatchHealth::default();
        let catalogue = Catalogue::default();
        let mut starter = Starter {
            catalogue: &catalogue,
            client,
            options: &options,
            states: &states,
            tell,
            tasks: JoinSet::new(),
        };
        let mut names = BTreeMap::new();
        for id in &ids {
            if let Some(of) = table.get(&id.what) {
                let name = of.name(id.namespace.as_deref());
                states.expect(name.clone(), of.install, id.what.keeps_back());
                states.restored_by(&name, restore(&options.kinds, id.what));
                names.insert(id.clone(), name);
                starter.start(id, of);
            }
        }
        let mut tasks = starter.tasks;
        let optional = table.iter().filter(|(what, _)| what.is_optional());
        let groups = optional.map(|(_, of)| of.resource().group.clone());
        let groups = groups.collect();
        let (pulse, retry) = (states.pulse().clone(), options.absent_retry);
        tasks.spawn(catalogue.keep(client.clone(), groups, retry, pulse));
        let built_in = table.iter().filter(|(_, of)| of.is_built_in());
        let built_in = built_in.map(|(what, _)| *what).collect();
        let (publish, observed) = watch::channel(Arc::default());
        let reducer = Reducer {
            initial_sync: InitialSync::of(ids.iter(), built_in),
            names,
            store: Store::new(options.kinds, options.keys, ids).allowing(options.allowed_endpoints),
            publish,
            states: states.clone(),
            pending: Settled::default(),
            last: None,
        };
        tasks.spawn(reducer.run(news));
        tasks.spawn(probe(client.clone(), states.clone()));
        Ok(Self {
            observed,
            states,
            _tasks: tasks,
        })
    }

    /// The world as it is and as it changes, once all is listed that can be.
    pub async fn synced(&self) -> watch::Receiver<Arc<Observed>> {
        let mut observed = self.observed.clone();
        // The sender lives as long as this source.
        let _ = observed.wait_for(|observed| observed.generation > 0).await;
        observed
    }

    /// How the watches fare, now and later.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ApiState> {
        self.states.follow()
    }

    /// For other watches of the same API server, to be told of in one place, and to hear when it is back.
    #[must_use]
    pub fn states(&self) -> &WatchHealth {
        &self.states
    }
}

/// How it is mended that a kind is not there any more.
fn restore(kinds: &[Kind], what: WatchedKind) -> String {
    let again = "install its CustomResourceDefinition again";
    let owner = match what {
        WatchedKind::Owners(place) => kinds.get(place),
        WatchedKind::Pods
        | WatchedKind::Services
        | WatchedKind::Pools
        | WatchedKind::ExperimentalPools => None,
    };
    match owner.map(|kind| (&kind.kind, Kind::usual(&kind.kind))) {
        Some((kind, Ok(_))) => format!("{again}, or start with --no-owner-kind {kind}"),
        Some((kind, Err(_))) => format!("{again}, or start without the --owner-kind of {kind}"),
        None => again.to_owned(),
    }
}

/// Starts the watches.
struct Starter<'a> {
    catalogue: &'a Catalogue,
    client: &'a Client,
    options: &'a Options,
    states: &'a WatchHealth,
    tell: mpsc::Sender<(WatchId, News)>,
    tasks: JoinSet<()>,
}

impl Starter<'_> {
    fn start(&mut self, id: &WatchId, of: &Watchable) {
        match id.what {
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
                let read = move |owner: &Value| Object::owner(owner, &kind);
                self.spawn::<OwnerShape>(id, of, metadata, read);
            }
        }
    }

    fn spawn<S: Shape>(
        &mut self,
        id: &WatchId,
        of: &Watchable,
        metadata: bool,
        read: impl Fn(&Value) -> Result<Object, Nameless> + Send + Sync + 'static,
    ) {
        let read: Read<S, Object> = Box::new(move |picked| read(&picked.value));
        let absent_retry = self.options.absent_retry;
        let optional = id.what.is_optional();
        let (id, pulse, tell) = (id.clone(), self.states.pulse(), &self.tell);
        let watch = Watch::new(self.client, id, of, read, absent_retry, pulse, tell);
        let watch = watch.of_metadata(metadata);
        self.tasks.spawn(match optional {
            true => watch.found_by(self.catalogue, of).run(),
            false => watch.run(),
        });
    }
}

/// The task that reduces.
struct Reducer {
    /// As `status` calls the watches.
    names: BTreeMap<WatchId, String>,
    store: Store,
    /// What the first world waits for.
    initial_sync: InitialSync,
    publish: watch::Sender<Arc<Observed>>,
    states: WatchHealth,
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
            if self.last.is_some() || self.due().is_some_and(|due| due <= Instant::now()) {
                self.pending = self.pending.and(self.store.settle());
                if self.due().is_some_and(|due| due <= Instant::now()) {
                    self.publish();
                }
            }
        }
    }

    /// When the world is to be published, if there is another one.
    fn due(&mut self) -> Option<Instant> {
        let Some(last) = self.last else {
            return self.initial_sync.due(self.store.synced(), Instant::now());
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
        let findings = self.store.findings();
        self.publish.send_replace(Arc::new(Observed {
            objects: Objects {
                carriers: self.store.carriers(),
                groups: self.store.groups(),
                unread: self.unread(),
                ..Objects::default()
            },
            problems: Vec::new(),
            concerned: self.store.concerned(&findings),
            findings,
            references: References::of(self.store.references()),
            generation,
            intent: at(settled.change == Some(Change::Intent), before.intent),
            loss: at(settled.change == Some(Change::Loss), before.loss),
            changed: at(settled.change.is_some(), before.changed),
        }));
    }

    fn hear(&mut self, id: &WatchId, said: News) {
        if let Some(name) = self.names.get(id) {
            self.states.hear(name, &said);
        }
        if self.last.is_none() {
            self.initial_sync.hear(id, &said);
        }
        let may_unread = !matches!(
            said,
            News::Event(Event::Begin | Event::Listed(_) | Event::Applied(_) | Event::Deleted(_))
                | News::Version(_)
        );
        match said {
            News::Event(event) => self.store.reduce(id, event),
            News::Version(version) => self.store.read_in(id.what, version),
            News::Found | News::Lost(_) | News::Missing => {}
        }
        if may_unread && self.unread() != self.publish.borrow().objects.unread {
            self.pending.findings = true;
        }
    }

    /// The kinds whose watch is lost, or has not listed yet.
    fn unread(&self) -> Unread {
        let unread = self
            .names
            .iter()
            .filter(|(_, name)| self.states.is_unread(name));
        let kinds =
            unread.filter_map(|(id, _)| Some((id.namespace.clone(), self.store.kind(id.what)?)));
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
    fn the_absence_of_a_kind_is_mended_by_a_flag_that_names_it() {
        let mut kinds = Kind::defaults();
        let place = |kinds: &[Kind], name: &str| {
            WatchedKind::Owners(kinds.iter().position(|kind| kind.kind == name).unwrap())
        };
        let sets = restore(&kinds, place(&kinds, "LeaderWorkerSet"));
        assert!(sets.ends_with("--no-owner-kind LeaderWorkerSet"), "{sets}");
        let mut own = kinds[0].clone();
        own.kind = "Trainer".to_owned();
        kinds.push(own);
        let own = restore(&kinds, place(&kinds, "Trainer"));
        assert!(
            own.ends_with("without the --owner-kind of Trainer"),
            "{own}"
        );
        assert!(!restore(&kinds, WatchedKind::Pools).contains("owner-kind"));
    }
}
