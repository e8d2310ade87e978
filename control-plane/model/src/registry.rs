//! Labels → variants: which models there are, which carriers declare their versions, which endpoints serve them.
//!
//! Invariant: a version of a model belongs to exactly one carrier (of the stored base, else the oldest that declares it), a client name to
//! exactly one model. What cannot be read becomes a [`Finding`] and takes nothing else with it; a model that any
//! carrier names stays known, so that it answers 503 and never 404.

mod max_tokens;
mod merge;
mod names;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{DefaultMaxTokens, ModelId, OnBaseLost, Version, names as wire};

use crate::capacity::OwnerReplicas;
use crate::memory::{Memory, ModelRecord};
use crate::objects::by_age;
use crate::{
    Address, Carrier, CarrierKey, Finding, LabelKeys, ModelKey, Objects, Protocol, Readiness,
    Severity, Unread, annotation_findings, incomplete_labels, reason, written_base,
};

/// Default of `minReadyPercent`: percent of a carrier's desired replicas that must be ready before it takes its full share.
const MIN_READY_PERCENT: u8 = 50;

/// All models of all namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// Models by namespace and id.
    pub namespaces: BTreeMap<String, BTreeMap<ModelId, Model>>,
    /// What could not be taken as written.
    pub findings: Vec<Finding>,
    /// The label keys it was built with: messages name them.
    pub keys: LabelKeys,
    /// The namespace whose policies are for the models of all; none if not set.
    pub root_namespace: Option<String>,
    /// The namespaces that have a domain, and so are served; none if that is not known.
    pub served: Option<BTreeSet<String>>,
}

/// A model as its carriers declare it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// Names clients write for it besides its id, sorted.
    pub names: Vec<String>,
    /// The `max_tokens` of a request that names none.
    pub default_max_tokens: DefaultMaxTokens,
    /// Carriers that own a version, oldest first.
    pub members: Vec<Member>,
    /// Every carrier that names the model, also one whose versions all belong to older ones.
    pub carriers: BTreeSet<CarrierKey>,
    /// Carriers, as `kind/name`, by the name of the model that they declare.
    pub declared_names: BTreeMap<String, BTreeSet<String>>,
    /// What is remembered of it.
    pub memory: Memory,
    /// The name of its `ServedModel`; `None` where the API server has none.
    pub object: Option<String>,
    /// Why the base that somebody wrote into its `ServedModel` is refused.
    pub refused_base: Option<String>,
    /// Percent (0–100) of a carrier's desired replicas that must be ready before it takes its full share.
    pub min_ready_percent: u8,
    /// What happens while no endpoint of the base is ready.
    pub on_base_lost: OnBaseLost,
}

/// A carrier with the versions it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The carrier.
    pub key: CarrierKey,
    /// Its age in Unix seconds; a missing one is the oldest.
    pub created: Option<i64>,
    /// Where people find it.
    pub origin: String,
    /// Its weight label.
    pub weight: Weight,
    /// Whether it may join the base at once (annotation `headgate.dev/join: share`).
    pub joins: bool,
    /// Desired replicas, with those of carriers whose versions it took over.
    pub desired: u32,
    /// Shares in the replicas of owners, with those of carriers whose versions it took over.
    pub owner_replicas: OwnerReplicas,
    /// Its endpoints of pods of which an older carrier of the same owner has another port, each with the endpoint there.
    pub same_pod: BTreeMap<Address, Address>,
    /// Its versions; never empty.
    pub versions: BTreeMap<Version, Endpoints>,
    /// When the first of its ready endpoints became ready, in Unix seconds; `None` where none is, or the source does not know.
    pub ready_since: Option<i64>,
    /// When endpoints become available, in Unix seconds: `minReadySeconds` after they became ready.
    pub available_at: BTreeMap<Address, i64>,
    /// Reasons why its pods are not ready, in the words of Kubernetes, each once.
    pub unready_reasons: Vec<String>,
    /// It goes and comes too often: it takes no new sessions.
    pub flapping: bool,
    /// It is weighted and none of its pods became ready in time.
    pub late: bool,
}

/// A weight label, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weight {
    /// No label: stable.
    Absent,
    /// 0–100.
    Percent(u8),
    /// Something else, as written.
    Invalid(String),
}

/// The endpoints of a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints {
    /// Those that may receive requests.
    pub ready: BTreeSet<Address>,
    /// All of them.
    pub all: BTreeSet<Address>,
    /// Carriers that brought them, the owner of the version first: its weight counts.
    pub carriers: Vec<CarrierKey>,
    /// How each is spoken to.
    pub protocols: BTreeMap<Address, Protocol>,
    /// What the carriers' annotations say of the way to them.
    pub said: UpstreamAnnotations,
}

impl Member {
    /// Whether any of its endpoints is ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.versions.values().any(|e| !e.ready.is_empty())
    }

    /// Whether it can take new sessions: an endpoint is ready, and it does not flap.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.ready() && !self.flapping
    }

    /// Its versions, for messages: `v1, v2`.
    pub(crate) fn version_list(&self) -> String {
        let versions: Vec<&str> = self.versions.keys().map(Version::as_str).collect();
        versions.join(", ")
    }

    /// Endpoints that are ready.
    #[must_use]
    pub fn ready_endpoints(&self) -> u32 {
        self.versions.values().map(|e| count(&e.ready)).sum()
    }
}

/// How many endpoints, as the plan counts them.
pub(crate) fn count(endpoints: &BTreeSet<Address>) -> u32 {
    u32::try_from(endpoints.len()).unwrap_or(u32::MAX)
}

impl Weight {
    /// Reads a weight label: 0–100 in decimal digits, without sign or leading zero.
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

pub use upstream::UpstreamAnnotations;

impl Registry {
    /// Reads the labels of all carriers.
    #[must_use]
    pub fn build(objects: &Objects, keys: &LabelKeys) -> Self {
        let mut findings = Vec::new();
        let mut drafts: BTreeMap<String, BTreeMap<ModelId, Vec<Draft<'_>>>> = BTreeMap::new();
        for carrier in objects.carriers.values() {
            if let Some((model, draft)) = read(carrier, keys, &mut findings) {
                let models = drafts.entry(carrier.key.namespace.clone()).or_default();
                models.entry(model).or_default().push(draft);
            }
        }
        let namespaces = drafts
            .into_iter()
            .map(|(namespace, models)| {
                let served = ServedIn {
                    namespace: &namespace,
                    all: &objects.served_models,
                    unread: &objects.unread,
                };
                let models = build_models(models, served, keys, &mut findings);
                (namespace, models)
            })
            .collect();
        Self {
            namespaces,
            findings,
            keys: keys.clone(),
            root_namespace: None,
            served: None,
        }
    }

    /// The same with a root namespace.
    #[must_use]
    pub fn with_root_namespace(self, namespace: Option<&str>) -> Self {
        Self {
            root_namespace: namespace.map(str::to_owned),
            ..self
        }
    }

    /// The same where these namespaces alone have a domain.
    #[must_use]
    pub fn with_served_namespaces(self, namespaces: BTreeSet<String>) -> Self {
        Self {
            served: Some(namespaces),
            ..self
        }
    }

    /// Whether a namespace has a domain, as far as that is known.
    pub(crate) fn serves(&self, namespace: &str) -> bool {
        let served = self.served.as_ref();
        served.is_none_or(|served| served.contains(namespace))
    }

    /// The readings a [`ScaleDamper`](crate::ScaleDamper) takes: every model's, by namespace and id.
    #[must_use]
    pub fn readiness(&self) -> BTreeMap<ModelKey, Readiness> {
        let models = self.namespaces.iter().flat_map(|(namespace, models)| {
            models
                .iter()
                .map(move |(id, model)| ((namespace.clone(), id.clone()), model.readiness()))
        });
        models.collect()
    }
}

/// The `ServedModel`s of a namespace.
#[derive(Clone, Copy)]
pub(crate) struct ServedIn<'s> {
    namespace: &'s str,
    all: &'s BTreeMap<ModelKey, ModelRecord>,
    unread: &'s Unread,
}

impl<'s> ServedIn<'s> {
    fn get(self, id: &ModelId) -> Option<&'s ModelRecord> {
        self.all.get(&(self.namespace.to_owned(), id.clone()))
    }
}

fn build_models(
    mut drafts: BTreeMap<ModelId, Vec<Draft<'_>>>,
    served: ServedIn<'_>,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> BTreeMap<ModelId, Model> {
    for carriers in drafts.values_mut() {
        carriers.sort_by(|a, b| by_age(a.age(), b.age()));
    }
    let mut names = names::claimed(&drafts, served, findings);
    drafts
        .into_iter()
        .map(|(id, drafts)| {
            let said = served.get(&id).cloned().unwrap_or_default();
            let min_ready = said.spec.min_ready_percent.unwrap_or(MIN_READY_PERCENT);
            let declared_names = names::declared(&drafts);
            let default_max_tokens = max_tokens::of_model(&id, &drafts, &said.spec, findings);
            let carriers = drafts.iter().map(|d| d.carrier.key.clone());
            let carriers: BTreeSet<CarrierKey> = carriers.collect();
            let declared = drafts.iter().map(|d| {
                let versions = d.versions.keys().cloned().collect();
                (d.carrier.key.identity(), versions)
            });
            let key = (served.namespace.to_owned(), id.clone());
            let refused_base = said.refusal(&key, &declared.collect(), served.unread);
            let refused = refused_base.clone();
            findings
                .extend(refused.map(|m| written_base::refused(&key, said.object.as_deref(), m)));
            let memory = said.effective_memory(refused_base.is_some());
            let members = merge::members(&id, drafts, &memory, keys, findings);
            let model = Model {
                names: names.remove(&id).unwrap_or_default(),
                declared_names,
                default_max_tokens,
                carriers,
                members,
                memory,
                object: said.object,
                refused_base,
                min_ready_percent: min_ready,
                on_base_lost: said.spec.on_base_lost,
            };
            findings.extend(upstream::findings(&id, &model.members));
            (id, model)
        })
        .collect()
}

/// A carrier on its way to become a member: its endpoints sorted into versions.
pub(crate) struct Draft<'a> {
    carrier: &'a Carrier,
    weight: Weight,
    versions: BTreeMap<Version, Endpoints>,
}

impl Draft<'_> {
    fn age(&self) -> (Option<i64>, &CarrierKey) {
        (self.carrier.created, &self.carrier.key)
    }
}

/// `None`: not a carrier of ours, or its model label cannot be read.
fn read<'a>(
    carrier: &'a Carrier,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> Option<(ModelId, Draft<'a>)> {
    let label = |key: &String| carrier.labels.get(key).map(String::as_str);
    let model = label(&keys.model)?;
    // A Service declares a variant only with both labels; else the workload behind it does.
    if carrier.key.kind == "service" && label(&keys.version).is_none() {
        let (key, origin) = (&carrier.key, &carrier.origin);
        findings.extend(incomplete_labels(key, origin, &carrier.labels, keys));
        return None;
    }
    let model = match ModelId::try_from(model) {
        Ok(model) => model,
        Err(e) => {
            let command = carrier.key.label_command(&keys.model, "MODEL");
            let message = format!(
                "label `{}`: {e}. The object is ignored: {command}",
                keys.model
            );
            findings.push(about(
                carrier,
                Severity::Error,
                reason::INVALID_MODEL,
                message,
            ));
            return None;
        }
    };
    let slips = annotation_findings(&carrier.key, &carrier.origin, &carrier.annotations);
    findings.extend(slips);
    let draft = Draft {
        carrier,
        weight: Weight::parse(label(&keys.weight)),
        versions: versions(carrier, keys, findings),
    };
    Some((model, draft))
}

/// The version comes from the pod, else from the carrier; without pods, from the carrier.
fn versions(
    carrier: &Carrier,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Version, Endpoints> {
    // What is wrong with a template is wrong with all its pods, and said once.
    let mut refused: BTreeSet<String> = BTreeSet::new();
    let own = carrier.labels.get(&keys.version).and_then(|text| {
        let command = carrier.key.label_command(&keys.version, "VERSION");
        let refuse = |e| refused.insert(format!("label `{}`: {e}: {command}", keys.version));
        Version::try_from(text.as_str()).map_err(refuse).ok()
    });
    let mut of_pods = |text: &str| {
        let key = &carrier.key;
        let fix = format!("kubectl edit {} -n {}", key.identity(), key.namespace);
        let label = &keys.version;
        let refuse = |e| {
            refused.insert(format!(
                "label `{label}` of its pods: {e}: write another one into the template of the pods, or none: {fix}"
            ))
        };
        Version::try_from(text).map_err(refuse).ok()
    };
    let mut versions: BTreeMap<Version, Endpoints> = BTreeMap::new();
    for pod in &carrier.pods {
        let theirs = pod.version.as_deref().filter(|text| !text.is_empty());
        let theirs = theirs.and_then(&mut of_pods);
        if let Some(version) = theirs.or_else(|| own.clone()) {
            let endpoints = versions.entry(version).or_default();
            endpoints.all.insert(pod.address.clone());
            let protocols = &mut endpoints.protocols;
            protocols.entry(pod.address.clone()).or_insert(pod.protocol);
            if pod.ready {
                endpoints.ready.insert(pod.address.clone());
            }
        }
    }
    let wrong = |message| about(carrier, Severity::Error, reason::INVALID_VERSION, message);
    findings.extend(refused.into_iter().map(wrong));
    if carrier.pods.is_empty() {
        versions.extend(own.map(|version| (version, Endpoints::default())));
    }
    let said = UpstreamAnnotations::read(carrier, findings);
    for endpoints in versions.values_mut() {
        endpoints.said = said.clone();
        endpoints.carriers.push(carrier.key.clone());
    }
    if versions.is_empty() {
        let message = format!(
            "names a model, but neither it nor a pod of it names a version: kubectl label {} -n {} {}=VERSION",
            carrier.key.identity(),
            carrier.key.namespace,
            keys.version
        );
        findings.push(about(
            carrier,
            Severity::Warning,
            reason::NO_VERSION,
            message,
        ));
    }
    versions
}

/// Whether the carrier may join the base at once.
pub(crate) fn joins(carrier: &Carrier) -> bool {
    carrier
        .annotations
        .get(wire::ANNOTATION_JOIN)
        .is_some_and(|v| v == "share")
}

pub(crate) fn about(
    carrier: &Carrier,
    severity: Severity,
    reason: &'static str,
    message: String,
) -> Finding {
    Finding {
        object: carrier.key.clone().into(),
        reason,
        severity,
        origin: carrier.origin.clone(),
        message,
    }
}
