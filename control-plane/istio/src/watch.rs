//! The watch of Istio's objects: the ones that are Headgate's, what other people's rules and `VirtualService`s change for them, and the hosts
//! that other people's `VirtualService`s and `HTTPRoute`s have on gateways.
//!
//! Invariant: nothing is published until each kind has listed once or is absent; the Gateway API may also be denied. While the API server is
//! away, the last objects stay. [`read`] alone goes on without a kind that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_kubernetes::access::{self, Watchable};
use headgate_kubernetes::blocks::Blocks;
use headgate_kubernetes::health::WatchHealth;
use headgate_kubernetes::listing::Listing;
use headgate_kubernetes::object::{IDENTITY, MissingIdentity};
use headgate_kubernetes::pruning::{Keep, Shape};
use headgate_kubernetes::update::{Event, Parse, WatchId, WatchUpdate};
use headgate_kubernetes::watch::Watch;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::gateway_hosts::{GatewayRoute, RouteKind};
use crate::host_rule::HostRule;
use crate::manifest::IstioKind;
use crate::object::ObjectKey;
use crate::stored::{Stored, StoredObject};
use crate::virtual_service::VirtualService;

/// Capacity of the channel to the reducer. When it is full, the watches wait.
const QUEUE: usize = 1024;
/// Period of requests for a kind that the API server does not serve.
const ABSENT_RETRY: Duration = Duration::from_secs(30);
/// The depth to which a `spec` is read: that of a default configuration, and some more.
const DEPTH: u8 = 32;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Of(IstioKind),
    Route(RouteKind),
}

/// The whole `spec`, and the metadata by which an object is known to be Headgate's.
#[derive(Debug, Clone)]
struct IstioShape;
impl Shape for IstioShape {
    const KEEP: Keep = Keep::Fields(&[
        (
            "metadata",
            Keep::Joined(
                IDENTITY,
                &[
                    ("labels", Keep::Prefixed("")),
                    ("annotations", Keep::Prefixed("headgate.dev/")),
                ],
            ),
        ),
        ("spec", Keep::All(DEPTH)),
    ]);
}

/// An object of any watched kind.
#[derive(Debug)]
struct Object {
    key: ObjectKey,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Own(StoredObject),
    Foreign,
    ForeignRule(HostRule),
    Route(Option<VirtualService>, Option<GatewayRoute>),
}

impl Object {
    fn read(kind: Kind, object: &Value) -> Result<Self, MissingIdentity> {
        let text = |pointer, what| {
            let found = object.pointer(pointer).and_then(Value::as_str);
            found.map(str::to_owned).ok_or(MissingIdentity(what))
        };
        let key = ObjectKey {
            namespace: text("/metadata/namespace", "namespace")?,
            name: text("/metadata/name", "name")?,
        };
        let content = match kind {
            Kind::Route(kind) => {
                let service = match kind {
                    RouteKind::VirtualService => VirtualService::read(object),
                    RouteKind::HttpRoute => None,
                };
                Content::Route(service, GatewayRoute::read(kind, &key.namespace, object))
            }
            Kind::Of(kind) => match (StoredObject::read(object), kind) {
                (Some(own), _) => Content::Own(own),
                (None, IstioKind::DestinationRule) => Content::ForeignRule(HostRule::read(object)),
                (None, IstioKind::EnvoyFilter) => Content::Foreign,
            },
        };
        Ok(Self { key, content })
    }
}

/// The running watch; dropping it ends it.
#[derive(Debug)]
pub struct StoredObjects {
    stored: watch::Receiver<Option<Arc<Stored>>>,
    _tasks: JoinSet<()>,
}

impl StoredObjects {
    /// A receiver of the objects; `None` until all are known.
    #[must_use]
    pub fn stored(&self) -> watch::Receiver<Option<Arc<Stored>>> {
        self.stored.clone()
    }
}

/// Starts the watch of these namespaces; empty for the whole cluster. It reports to `health`.
#[must_use]
pub fn watch(client: &Client, namespaces: &[String], health: &WatchHealth) -> StoredObjects {
    start(client, namespaces, health, None)
}

/// Reads the objects of these namespaces once; empty for the whole cluster. A kind that fails for `patience` is left out, and `health` has
/// its error.
pub async fn read(
    client: &Client,
    namespaces: &[String],
    health: &WatchHealth,
    patience: Duration,
) -> Stored {
    let watch = start(client, namespaces, health, Some(patience));
    let mut stored = watch.stored();
    let stored = stored.wait_for(Option::is_some).await;
    let stored = stored.ok().and_then(|stored| stored.as_deref().cloned());
    stored.unwrap_or_default()
}

fn start(
    client: &Client,
    namespaces: &[String],
    health: &WatchHealth,
    patience: Option<Duration>,
) -> StoredObjects {
    let [rules, filters, services, routes] = access::istio();
    let table: BTreeMap<Kind, Watchable> = [
        (Kind::Of(IstioKind::DestinationRule), rules),
        (Kind::Of(IstioKind::EnvoyFilter), filters),
        (Kind::Route(RouteKind::VirtualService), services),
        (Kind::Route(RouteKind::HttpRoute), routes),
    ]
    .into();
    let kinds: Vec<Kind> = table.keys().copied().collect();
    let (sender, updates) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let mut listings = BTreeMap::new();
    for id in WatchId::all(&kinds, namespaces) {
        let Some(of) = table.get(&id.kind) else {
            continue;
        };
        let name = of.name(id.namespace.as_deref());
        health.register(name.clone(), of.install, Blocks::MeshRoutes);
        let kind = id.kind;
        let parse: Parse<IstioShape, Object> =
            Box::new(move |object| Object::read(kind, &object.value));
        let watch = Watch::new(
            client,
            id.clone(),
            of,
            parse,
            ABSENT_RETRY,
            health.probe(),
            &sender,
        );
        tasks.spawn(watch.run());
        listings.insert(id, (name, Listing::default()));
    }
    let (publish, stored) = watch::channel(None);
    let reducer = Reducer {
        listings,
        stored: Stored::default(),
        health: health.clone(),
        patience,
        deadlines: BTreeMap::new(),
    };
    tasks.spawn(reducer.run(updates, publish));
    StoredObjects {
        stored,
        _tasks: tasks,
    }
}

/// Waits until a time; forever if there is none.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

type Update = (WatchId<Kind>, WatchUpdate<Object>);

struct Reducer {
    /// The name of each watch in `headgate status`, and its progress.
    listings: BTreeMap<WatchId<Kind>, (String, Listing<ObjectKey>)>,
    stored: Stored,
    health: WatchHealth,
    /// How long a kind may fail before the others are published without it; `None`: forever.
    patience: Option<Duration>,
    /// When the others are published without a kind that fails.
    deadlines: BTreeMap<WatchId<Kind>, Instant>,
}

impl Reducer {
    async fn run(
        mut self,
        mut updates: mpsc::Receiver<Update>,
        publish: watch::Sender<Option<Arc<Stored>>>,
    ) {
        loop {
            let overdue = sleep_until(self.deadlines.values().min().copied());
            let update = tokio::select! {
                update = updates.recv() => update,
                () = overdue => {
                    self.waive_overdue();
                    updates.try_recv().ok()
                }
            };
            if let Some((id, update)) = update {
                self.reduce(&id, update);
            } else if updates.is_closed() {
                return;
            }
            while let Ok((id, update)) = updates.try_recv() {
                self.reduce(&id, update);
            }
            if self
                .listings
                .values()
                .all(|(_, listing)| listing.is_synced())
            {
                publish.send_if_modified(|published| {
                    let changed = published.as_deref() != Some(&self.stored);
                    if changed {
                        *published = Some(Arc::new(self.stored.clone()));
                    }
                    changed
                });
            }
        }
    }

    fn reduce(&mut self, id: &WatchId<Kind>, update: WatchUpdate<Object>) {
        let Some((name, listing)) = self.listings.get_mut(id) else {
            return;
        };
        self.health.report(name, &update);
        let event = match update {
            WatchUpdate::Event(event) => event,
            WatchUpdate::Answered => {
                self.deadlines.remove(id);
                return;
            }
            // The Gateway API is optional, and so is the right to read it.
            WatchUpdate::Lost(failure)
                if failure.is_forbidden() && id.kind == Kind::Route(RouteKind::HttpRoute) =>
            {
                listing.waive();
                self.health.waive(name);
                return;
            }
            WatchUpdate::Lost(_) if !listing.is_synced() => {
                let deadline = self.patience.map(|patience| Instant::now() + patience);
                if let Some(deadline) = deadline {
                    self.deadlines.entry(id.clone()).or_insert(deadline);
                }
                return;
            }
            _ => return,
        };
        match event {
            Event::Init => listing.begin(),
            Event::InitApply(object) => {
                listing.add(object.key.clone());
                self.put(id.kind, object);
            }
            Event::InitDone => {
                let listed = listing.complete();
                self.keep(id, &listed);
            }
            Event::Absent => {
                listing.set_absent();
                self.keep(id, &BTreeSet::new());
            }
            Event::Apply(object) => self.put(id.kind, object),
            Event::Delete(object) => self.remove(id.kind, &object.key),
        }
    }

    /// Goes on without the kinds that have failed for too long.
    fn waive_overdue(&mut self) {
        let now = Instant::now();
        let (listings, health) = (&mut self.listings, &self.health);
        self.deadlines.retain(|id, deadline| {
            let is_overdue = *deadline <= now;
            if is_overdue && let Some((name, listing)) = listings.get_mut(id) {
                listing.waive();
                health.waive(name);
            }
            !is_overdue
        });
    }

    fn put(&mut self, kind: Kind, object: Object) {
        self.remove(kind, &object.key);
        match (kind, object.content) {
            (Kind::Of(kind), Content::Own(own)) => {
                self.stored.objects.insert((kind, object.key), own);
            }
            (Kind::Of(kind), Content::Foreign) => {
                self.stored.foreign.insert((kind, object.key));
            }
            (Kind::Of(kind), Content::ForeignRule(rule)) => {
                self.stored.foreign.insert((kind, object.key.clone()));
                self.stored.foreign_rules.insert(object.key, rule);
            }
            (Kind::Route(kind), Content::Route(service, gateways)) => {
                let place = (kind, object.key.clone());
                self.stored
                    .gateways
                    .extend(gateways.map(|route| (place, route)));
                self.stored
                    .services
                    .extend(service.map(|service| (object.key, service)));
            }
            _ => {}
        }
    }

    fn remove(&mut self, kind: Kind, key: &ObjectKey) {
        match kind {
            Kind::Route(kind) => {
                self.stored.gateways.remove(&(kind, key.clone()));
                if kind == RouteKind::VirtualService {
                    self.stored.services.remove(key);
                }
            }
            Kind::Of(kind) => {
                let place = (kind, key.clone());
                self.stored.objects.remove(&place);
                if self.stored.foreign.remove(&place) && kind == IstioKind::DestinationRule {
                    self.stored.foreign_rules.remove(key);
                }
            }
        }
    }

    /// Removes the objects of a watch that are not in its list.
    fn keep(&mut self, id: &WatchId<Kind>, listed: &BTreeSet<ObjectKey>) {
        let stays = |key: &ObjectKey| {
            let elsewhere = id.namespace.as_ref().is_some_and(|ns| *ns != key.namespace);
            elsewhere || listed.contains(key)
        };
        match id.kind {
            Kind::Route(kind) => {
                let gateways = &mut self.stored.gateways;
                gateways.retain(|(of, key), _| *of != kind || stays(key));
                if kind == RouteKind::VirtualService {
                    self.stored.services.retain(|key, _| stays(key));
                }
            }
            Kind::Of(kind) => {
                self.stored
                    .objects
                    .retain(|(of, key), _| *of != kind || stays(key));
                self.stored
                    .foreign
                    .retain(|(of, key)| *of != kind || stays(key));
                if kind == IstioKind::DestinationRule {
                    self.stored.foreign_rules.retain(|key, _| stays(key));
                }
            }
        }
    }
}
