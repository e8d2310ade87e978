//! Labels → registry: the models, the carriers that declare their versions, and the endpoints of each version.
//!
//! Invariant: a version of a model belongs to exactly one carrier (a carrier of the stored base, else the oldest that declares it), and
//! a client name to exactly one model. An input that cannot be read becomes a [`Finding`] and affects nothing else. A model that any
//! carrier names stays known, so it answers 503 and never 404.

mod draft;
mod max_tokens;
mod merge;
mod names;
mod served_names;
mod stored_base;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{DefaultMaxTokens, ModelId, OnBaseLost, Version};

use self::draft::Draft;
pub use self::upstream::UpstreamAnnotations;
use crate::age::by_age;
use crate::host_rules::HostRules;
use crate::memory::{self, Memory, ModelRecord};
use crate::{
    Address, CarrierKey, Finding, LabelKeys, ModelKey, Objects, OwnerReplicas, Protocol, Unread,
};

/// Default of `minReadyPercent`: percent of a carrier's desired replicas that must be ready before it takes its full share.
const MIN_READY_PERCENT: u8 = 50;

/// All models of all namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// Models by namespace and id.
    pub namespaces: BTreeMap<String, BTreeMap<ModelId, Model>>,
    /// Findings on labels and annotations.
    pub findings: Vec<Finding>,
    /// The label keys it was built with, for messages.
    pub keys: LabelKeys,
    /// The namespace whose policies apply to models of all namespaces; `None` if not configured.
    pub root_namespace: Option<String>,
    /// The namespaces that have a domain and so are served; `None` if not known.
    pub served: Option<BTreeSet<String>>,
    /// The rules of hosts in a service mesh.
    pub hosts: HostRules,
    /// Whether a version needs a route in a service mesh before proxies of the mesh send sessions to it.
    pub needs_routes: bool,
}

/// A model as its carriers declare it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// Names that clients write for it besides its id, sorted.
    pub names: Vec<String>,
    /// The `max_tokens` of a request that names none.
    pub default_max_tokens: DefaultMaxTokens,
    /// The names that the servers of a version want for it.
    pub served_names: BTreeMap<Version, String>,
    /// Carriers that own a version, oldest first.
    pub members: Vec<Member>,
    /// Every carrier that names the model, including those whose versions all belong to other carriers.
    pub carriers: BTreeSet<CarrierKey>,
    /// Carriers, as `kind/name`, by the client name that they declare.
    pub declared_names: BTreeMap<String, BTreeSet<String>>,
    /// Its memory in effect.
    pub memory: Memory,
    /// The name of its `ServedModel`; `None` if the API server has none.
    pub object: Option<String>,
    /// The reason why the base that a user wrote into its `ServedModel` is refused.
    pub refused_base: Option<String>,
    /// Percent (0–100) of a carrier's desired replicas that must be ready before it takes its full share.
    pub min_ready_percent: u8,
    /// The handling of traffic while no endpoint of the base is ready.
    pub on_base_lost: OnBaseLost,
}

/// A carrier of a model, with the versions it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The carrier.
    pub key: CarrierKey,
    /// Its creation time in Unix seconds; `None` counts as the oldest.
    pub created: Option<i64>,
    /// The place of the object for messages.
    pub origin: String,
    /// Its weight label.
    pub weight: Weight,
    /// Whether it joins the base at once (annotation `headgate.dev/join: share`).
    pub joins: bool,
    /// Desired replicas, including those of carriers whose versions it took over.
    pub desired: u32,
    /// Shares in the replicas of owners, including those of carriers whose versions it took over.
    pub owner_replicas: OwnerReplicas,
    /// Its endpoints on pods that an older carrier of the same owner serves on another port: the endpoint of that carrier, by its own.
    pub same_pod: BTreeMap<Address, Address>,
    /// Its versions; never empty.
    pub versions: BTreeMap<Version, Endpoints>,
    /// When the first of its ready endpoints became ready, in Unix seconds; `None` if none is ready or the source does not know.
    pub ready_since: Option<i64>,
    /// When endpoints become available, in Unix seconds: `minReadySeconds` after they became ready.
    pub available_at: BTreeMap<Address, i64>,
    /// Reasons why its pods are not ready, in the words of Kubernetes, each once.
    pub unready_reasons: Vec<String>,
    /// Whether it becomes ready too often, and so takes no new sessions.
    pub flapping: bool,
    /// Whether it is weighted and none of its pods became ready in time.
    pub not_started: bool,
}

/// A parsed weight label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
    /// No label: the carrier is stable.
    Absent,
    /// 0–100.
    Percent(u8),
    /// Not a weight; the text as written.
    Invalid(String),
}

/// The endpoints of a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// Endpoints that may receive requests.
    pub ready: BTreeSet<Address>,
    /// All endpoints, ready or not.
    pub all: BTreeSet<Address>,
    /// Carriers that brought them; the first one owns the version, and its weight counts.
    pub carriers: Vec<CarrierKey>,
    /// The protocol of each endpoint.
    pub protocols: BTreeMap<Address, Protocol>,
    /// Upstream settings from the annotations of the carriers.
    pub annotations: UpstreamAnnotations,
}

impl Member {
    /// Whether any of its endpoints is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.versions.values().any(|e| !e.ready.is_empty())
    }

    /// Whether it can take new sessions: an endpoint is ready, and it is not flapping.
    #[must_use]
    pub fn accepts_sessions(&self) -> bool {
        self.is_ready() && !self.flapping
    }

    /// Its versions, for messages: `v1, v2`.
    pub(crate) fn version_list(&self) -> String {
        let versions: Vec<&str> = self.versions.keys().map(Version::as_str).collect();
        versions.join(", ")
    }

    /// The number of ready endpoints.
    #[must_use]
    pub fn ready_endpoints(&self) -> u32 {
        self.versions.values().map(|e| count(&e.ready)).sum()
    }
}

/// The number of endpoints, saturating at `u32::MAX`.
pub(crate) fn count(endpoints: &BTreeSet<Address>) -> u32 {
    u32::try_from(endpoints.len()).unwrap_or(u32::MAX)
}

impl Weight {
    /// Parses a weight label: 0–100 in decimal digits, without sign or leading zero.
    #[must_use]
    pub fn parse(label: Option<&str>) -> Self {
        let Some(text) = label else {
            return Self::Absent;
        };
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        let canonical = digits && (text == "0" || !text.starts_with('0'));
        match text.parse::<u8>() {
            Ok(percent) if canonical && percent <= 100 => Self::Percent(percent),
            _ => Self::Invalid(text.to_owned()),
        }
    }
}

impl Registry {
    /// Reads the labels of all carriers.
    #[must_use]
    pub fn build(objects: &Objects, keys: &LabelKeys) -> Self {
        let mut findings = Vec::new();
        let mut drafts: BTreeMap<String, BTreeMap<ModelId, Vec<Draft<'_>>>> = BTreeMap::new();
        for carrier in objects.carriers.values() {
            if let Some((model, draft)) = draft::read(carrier, keys, &mut findings) {
                let models = drafts.entry(carrier.key.namespace.clone()).or_default();
                models.entry(model).or_default().push(draft);
            }
        }
        let namespaces = drafts
            .into_iter()
            .map(|(namespace, models)| {
                let records = Records {
                    namespace: &namespace,
                    all: &objects.served_models,
                    unread: &objects.unread,
                };
                let models = build_models(models, records, keys, &mut findings);
                (namespace, models)
            })
            .collect();
        Self {
            namespaces,
            findings,
            keys: keys.clone(),
            root_namespace: None,
            served: None,
            hosts: HostRules::default(),
            needs_routes: false,
        }
    }

    /// The same registry with these hosts. `needs_routes`: see [`Registry::needs_routes`].
    #[must_use]
    pub fn in_mesh(self, hosts: HostRules, needs_routes: bool) -> Self {
        Self {
            hosts,
            needs_routes,
            ..self
        }
    }

    /// The same registry with this root namespace.
    #[must_use]
    pub fn with_root_namespace(self, namespace: Option<&str>) -> Self {
        Self {
            root_namespace: namespace.map(str::to_owned),
            ..self
        }
    }

    /// The same registry where only these namespaces have a domain.
    #[must_use]
    pub fn with_served_namespaces(self, namespaces: BTreeSet<String>) -> Self {
        Self {
            served: Some(namespaces),
            ..self
        }
    }

    /// Whether a namespace is served: it has a domain, or Services are hosts of a mesh; true if that is not known.
    pub(crate) fn serves(&self, namespace: &str) -> bool {
        self.needs_routes || self.has_domain(namespace)
    }

    /// Whether a namespace has a domain; true if that is not known.
    pub(crate) fn has_domain(&self, namespace: &str) -> bool {
        let served = self.served.as_ref();
        served.is_none_or(|served| served.contains(namespace))
    }
}

/// The `ServedModel`s of a namespace.
#[derive(Clone, Copy)]
struct Records<'s> {
    namespace: &'s str,
    all: &'s BTreeMap<ModelKey, ModelRecord>,
    unread: &'s Unread,
}

impl<'s> Records<'s> {
    fn get(self, id: &ModelId) -> Option<&'s ModelRecord> {
        self.all.get(&(self.namespace.to_owned(), id.clone()))
    }
}

fn build_models(
    mut drafts: BTreeMap<ModelId, Vec<Draft<'_>>>,
    records: Records<'_>,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ModelId, Model> {
    for carriers in drafts.values_mut() {
        carriers.sort_by(|a, b| by_age(a.age(), b.age()));
    }
    let mut names = names::resolve(&drafts, records, findings);
    drafts
        .into_iter()
        .map(|(id, drafts)| {
            let names = names.remove(&id).unwrap_or_default();
            let model = build_model(&id, names, drafts, records, keys, findings);
            (id, model)
        })
        .collect()
}

/// `drafts` come oldest first.
fn build_model(
    id: &ModelId,
    names: Vec<String>,
    drafts: Vec<Draft<'_>>,
    records: Records<'_>,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> Model {
    let record = records.get(id).cloned().unwrap_or_default();
    let declared = drafts.iter().map(|draft| {
        let versions = draft.versions.keys().cloned().collect();
        (draft.carrier.key.identity(), versions)
    });
    let key = (records.namespace.to_owned(), id.clone());
    let refused_base = record.refusal(&key, &declared.collect(), records.unread);
    let refused = refused_base.clone();
    findings.extend(refused.map(|m| memory::finding(&key, record.object.as_deref(), m)));
    let memory = record.effective_memory(refused_base.is_some());
    let carriers = drafts.iter().map(|draft| draft.carrier.key.clone());
    let model = Model {
        names,
        declared_names: names::declared(&drafts),
        default_max_tokens: max_tokens::of_model(id, &drafts, &record.spec, findings),
        served_names: served_names::of_model(&drafts, findings),
        carriers: carriers.collect(),
        members: merge::members(id, drafts, &memory, keys, findings),
        memory,
        object: record.object,
        refused_base,
        min_ready_percent: record.spec.min_ready_percent.unwrap_or(MIN_READY_PERCENT),
        on_base_lost: record.spec.on_base_lost,
    };
    findings.extend(upstream::findings(id, &model.members));
    model
}
