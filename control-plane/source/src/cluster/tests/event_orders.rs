//! Orders of events and lists: each one gives the state of a fresh read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::identity::WatchId;
use crate::cluster::store::Store;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::update::Event;

/// The objects of the API server, and the events that each watch has not yet received.
struct Server {
    objects: BTreeMap<(String, String), Value>,
    queues: BTreeMap<WatchId, VecDeque<(bool, Value)>>,
    /// Watches with an incomplete list: they receive no event until they list again.
    cut: BTreeSet<WatchId>,
    births: u32,
}

/// An edit of the objects, or the progress of a watch.
#[derive(Debug, Clone)]
enum Step {
    /// Creates or replaces an object.
    Write(Draft),
    /// Removes the n-th object.
    Remove(usize),
    /// The n-th watch receives its next event.
    Tell(usize),
    /// The n-th watch lists all objects.
    List(usize),
    /// The n-th watch starts a list that ends after some objects.
    Cut(usize, usize),
    /// The carriers are brought up to date.
    Settle,
}

#[derive(Debug, Clone)]
struct Draft {
    kind: &'static str,
    name: &'static str,
    owner: Option<(&'static str, &'static str)>,
    labels: Vec<(&'static str, &'static str)>,
    template: &'static str,
    replicas: Option<u32>,
    ready: bool,
    ends: bool,
    /// For a pod: whether it has a serving port, and whether it has ended.
    port: bool,
    ended: bool,
    /// For a Service or a pool: its port. For a pod: whether its port has another name.
    leads: bool,
    /// For a Service: whether the owner is the carrier instead. For an owner: whether its template names the model.
    yields: bool,
    /// For a Service or a Rollout: the generation that takes traffic. For a pod: its own.
    generation: Option<&'static str>,
    /// Whether it replaces an object of the same name, with another UID.
    reborn: bool,
}

const KINDS: [&str; 7] = [
    "Pod",
    "Service",
    "Deployment",
    "ReplicaSet",
    "InferenceService",
    "InferencePool",
    "Rollout",
];

/// The kinds that select pods and own none.
const GROUPS: [&str; 2] = ["Service", "InferencePool"];

fn draft() -> impl Strategy<Value = Draft> {
    let kind = || prop::sample::select(KINDS.to_vec());
    let name = || prop::sample::select(vec!["a", "b"]);
    let model = prop::option::weighted(0.7, prop::sample::select(vec!["llama", "phi"]));
    let version = prop::option::weighted(0.6, prop::sample::select(vec!["1", "2"]));
    let app = prop::option::weighted(0.7, prop::sample::select(vec!["x", "y"]));
    let labels = (model, version, app).prop_map(|(model, version, app)| {
        let all = [
            ("model-name", model),
            ("model-version", version),
            ("app", app),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    });
    let owner = prop::option::weighted(0.8, (kind(), name()));
    let changes = (
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::option::of(prop::sample::select(vec!["a", "b"])),
    );
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.1),
    );
    (
        (kind(), name(), owner, labels),
        (
            prop::sample::select(vec!["x", "y"]),
            prop::option::of(0..4_u32),
            flags,
            changes,
        ),
    )
        .prop_map(
            |((kind, name, owner, labels), (template, replicas, flags, changes))| {
                let (ready, ends, reborn, port, ended) = flags;
                let (leads, yields, generation) = changes;
                Draft {
                    kind,
                    name,
                    owner,
                    labels,
                    template,
                    replicas,
                    ready,
                    ends,
                    port,
                    ended,
                    leads,
                    yields,
                    generation,
                    reborn,
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => draft().prop_map(Step::Write),
        2 => any::<usize>().prop_map(Step::Remove),
        6 => any::<usize>().prop_map(Step::Tell),
        1 => any::<usize>().prop_map(Step::List),
        1 => (any::<usize>(), 0..4_usize).prop_map(|(watch, after)| Step::Cut(watch, after)),
        2 => Just(Step::Settle),
    ]
}

impl Server {
    fn new() -> Self {
        let queues = watches()
            .into_iter()
            .map(|id| (id, VecDeque::new()))
            .collect();
        Self {
            objects: BTreeMap::new(),
            queues,
            cut: BTreeSet::new(),
            births: 0,
        }
    }

    fn write(&mut self, draft: &Draft) {
        let place = (draft.kind.to_owned(), draft.name.to_owned());
        let owner = draft
            .owner
            .and_then(|(kind, name)| self.objects.get(&(kind.into(), name.into())))
            .cloned();
        let owner = owner.filter(|owner| {
            owner["kind"] != draft.kind && !GROUPS.contains(&owner["kind"].as_str().unwrap())
        });
        let mut made = match draft.kind {
            "Pod" => {
                let ip = u8::try_from(self.births % 200).unwrap() + 1;
                ready(pod(draft.name, 1, owner.as_ref()), draft.ready)
                    .tap(|pod| pod["status"]["podIP"] = format!("10.0.0.{ip}").into())
                    .tap(|pod| {
                        if !draft.port {
                            pod["spec"]["containers"] = json!([]);
                        } else if draft.leads {
                            pod["spec"]["containers"][1]["ports"] =
                                json!([{"containerPort": 8000}, {"name": "x", "containerPort": 8001}]);
                        }
                        if let Some(generation) = draft.generation {
                            pod["metadata"]["labels"]["rollouts-pod-template-hash"] =
                                generation.into();
                        }
                        if draft.ended {
                            pod["status"]["phase"] = "Failed".into();
                        }
                    })
            }
            "Service" => service(draft.name, json!({"app": draft.template})).tap(|service| {
                let target = if draft.leads { json!(8000) } else { json!("x") };
                service["spec"]["ports"] = json!([{"port": 80, "targetPort": target}]);
                if let Some(generation) = draft.generation {
                    service["spec"]["selector"]["rollouts-pod-template-hash"] = generation.into();
                }
                // As KServe creates them.
                if let Some(owner) = owner.filter(|owner| owner["kind"] == "InferenceService") {
                    let owned = object("Service", draft.name, 1, Some(&owner));
                    service["metadata"]["ownerReferences"] =
                        owned["metadata"]["ownerReferences"].clone();
                }
                if draft.yields {
                    service["metadata"]["annotations"]["headgate.dev/carrier"] = "owner".into();
                }
            }),
            "InferencePool" => pool(draft.name, json!({"app": draft.template})).tap(|pool| {
                pool["spec"]["targetPorts"] =
                    json!([{"number": if draft.leads { 8000 } else { 8001 }}]);
            }),
            "Rollout" => object("Rollout", draft.name, 1, owner.as_ref()).tap(|rollout| {
                rollout["spec"]["strategy"]["blueGreen"]["activeService"] = "a".into();
                if let Some(generation) = draft.generation {
                    rollout["status"]["blueGreen"]["activeSelector"] = generation.into();
                }
            }),
            kind => object(kind, draft.name, 1, owner.as_ref()),
        };
        for (key, value) in &draft.labels {
            made["metadata"]["labels"][key] = (*value).into();
        }
        if !GROUPS.contains(&draft.kind) && draft.kind != "Pod" {
            // An owner with parts has different pods.
            if draft.kind != "InferenceService" {
                made["spec"]["template"]["metadata"]["labels"]["app"] = draft.template.into();
                if draft.yields {
                    made["spec"]["template"]["metadata"]["labels"]["model-name"] = "llama".into();
                }
            }
            made["spec"]["replicas"] = draft.replicas.into();
        }
        if draft.ends {
            made = terminating(made);
        }
        let before = self.objects.get(&place).cloned();
        match &before {
            Some(before) if !draft.reborn => {
                made["metadata"]["uid"] = before["metadata"]["uid"].clone();
            }
            before => {
                if let Some(before) = before {
                    self.send(false, before.clone());
                }
                self.births += 1;
                made["metadata"]["uid"] = format!("uid-{}", self.births).into();
            }
        }
        self.objects.insert(place, made.clone());
        self.send(true, made);
    }

    fn send(&mut self, applied: bool, object: Value) {
        self.queues
            .get_mut(&watch_of(&object))
            .unwrap()
            .push_back((applied, object));
    }

    fn remove(&mut self, nth: usize) {
        let Some(place) = self
            .objects
            .keys()
            .nth(nth % self.objects.len().max(1))
            .cloned()
        else {
            return;
        };
        let object = self.objects.remove(&place).unwrap();
        self.send(false, object);
    }

    fn take(&mut self, store: &mut Store, step: &Step) {
        let watch = |nth: &usize| watches()[nth % watches().len()].clone();
        match step {
            Step::Write(draft) => self.write(draft),
            Step::Remove(nth) => self.remove(*nth),
            Step::Tell(nth) => self.deliver(store, &watch(nth)),
            Step::List(nth) => self.list(store, &watch(nth)),
            Step::Cut(nth, after) => {
                let id = watch(nth);
                store.reduce(&id, Event::Init);
                let listed = self
                    .objects
                    .values()
                    .filter(|object| watch_of(object) == id);
                for object in listed.take(*after) {
                    store.reduce(&id, Event::InitApply(read(object)));
                }
                self.cut.insert(id);
            }
            Step::Settle => {
                store.reconcile();
            }
        }
    }

    fn deliver(&mut self, store: &mut Store, id: &WatchId) {
        if self.cut.contains(id) {
            return;
        }
        match self.queues.get_mut(id).unwrap().pop_front() {
            Some((true, object)) => apply(store, &object),
            Some((false, object)) => delete(store, &object),
            None => {}
        }
    }

    /// A list is the newest state, so it includes the pending events.
    fn list(&mut self, store: &mut Store, id: &WatchId) {
        self.queues.get_mut(id).unwrap().clear();
        self.cut.remove(id);
        relist(store, id, self.objects.values());
    }
}

trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
impl Tap for Value {}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_order_of_events_and_lists_gives_the_state_of_a_new_read(
        steps in prop::collection::vec(step(), 0..100),
        rotate in 0..6_usize,
    ) {
        let mut server = Server::new();
        let mut sent = Store::new(kinds(), Default::default(), watches());
        // As every watch starts.
        for id in watches() {
            relist(&mut sent, &id, []);
        }
        for step in &steps {
            server.take(&mut sent, step);
        }
        for id in watches() {
            if server.cut.contains(&id) {
                server.list(&mut sent, &id);
            }
            while !server.queues[&id].is_empty() {
                server.deliver(&mut sent, &id);
            }
        }
        sent.reconcile();
        let mut order = watches();
        order.rotate_left(rotate);
        let fresh = fresh(server.objects.values(), &order);
        prop_assert_eq!(sent.carriers(), fresh.carriers());
        prop_assert_eq!(sent.groups(), fresh.groups());
        prop_assert_eq!(sent.findings(), fresh.findings());
        // Removed objects leave nothing behind.
        prop_assert_eq!(sent.sizes(), fresh.sizes());
    }
}

impl Store {
    /// The sizes of all tables.
    fn sizes(&self) -> [usize; 9] {
        let children = self
            .children
            .values()
            .map(std::collections::BTreeSet::len)
            .sum();
        let pods = self
            .objects
            .keys()
            .filter(|(what, _)| *what == WatchedKind::Pods)
            .count();
        let [grouped, groups, built] = self.groups.sizes();
        [
            self.objects.len(),
            pods,
            grouped,
            groups,
            built,
            self.uids.len(),
            children,
            self.memberships.len(),
            self.members.len(),
        ]
    }
}
