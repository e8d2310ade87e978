//! Registry, policies and scales → plan: the configuration of the filters and the content of the clusters of every namespace.
//!
//! Invariant: the plan is a function of its arguments, byte for byte. The shares of a model sum to exactly
//! [`1_000_000`](PlannedVariant::share) if anything of it is ready. The filters' own parser accepts the configuration.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    CarrierShare, DarkCarrier, Decimal, ModelId, ModelPlan, NamespaceConfig, Version, VersionShare,
};

use crate::hosts;
use crate::levels::{self, CarrierState, Levels};
use crate::memory_update::MemoryUpdate;
use crate::policy_revisions::policy_revisions;
use crate::registry::{Member, Model, count};
use crate::routed;
use crate::shares::{Candidate, percents, version_shares};
use crate::{
    Address, Authentication, CarrierKey, Finding, LabelKeys, Objects, PolicyId, PolicyOutcome,
    PolicyRevisions, Registry, Scales, Severity, Upstream, policies, reason,
};

/// The decisions for all namespaces that declare a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Per namespace.
    pub namespaces: BTreeMap<String, NamespacePlan>,
    /// All findings, sorted, each once.
    pub findings: Vec<Finding>,
    /// The outcome of every policy.
    pub policies: BTreeMap<PolicyId, PolicyOutcome>,
    /// The revision of every policy from which filters get rules.
    pub policy_revisions: PolicyRevisions,
}

impl Plan {
    /// The carrier that represents a model as a whole: the oldest that owns a version of it.
    #[must_use]
    pub fn oldest_carrier(&self, namespace: &str, id: &ModelId) -> Option<&CarrierKey> {
        self.namespaces
            .get(namespace)?
            .models
            .get(id)?
            .oldest_carrier()
    }
}

impl PlannedModel {
    /// The carrier that represents the model as a whole: the oldest that owns a version.
    #[must_use]
    pub fn oldest_carrier(&self) -> Option<&CarrierKey> {
        self.carriers.first().map(|carrier| &carrier.key)
    }
}

/// The models of a namespace and the rules for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespacePlan {
    /// The configuration of its filters.
    pub config: NamespaceConfig,
    /// The tokens that its requests must have; `None`: anybody may send requests.
    pub authentication: Option<Authentication>,
    /// The content of its clusters.
    pub models: BTreeMap<ModelId, PlannedModel>,
}

impl NamespacePlan {
    /// The models of each rule that a policy has in the namespace. `None` is a rule for all models.
    #[must_use]
    pub fn models_of_rules(&self, policy: &PolicyId) -> Vec<Option<&[ModelId]>> {
        policies::models_of_rules(&self.config, self.authentication.as_ref(), policy)
    }
}

/// A model in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedModel {
    /// The versions from which a filter picks; the same as in the namespace's configuration.
    pub plan: ModelPlan,
    /// Every declared version, served or not.
    pub variants: BTreeMap<Version, PlannedVariant>,
    /// Every carrier that owns a version, oldest first.
    pub carriers: Vec<PlannedCarrier>,
    /// The contribution of the plan to its next memory.
    pub memory_update: MemoryUpdate,
    /// What proxies of a service mesh get instead of [`Self::plan`]; `None` if they get the same.
    pub in_mesh: Option<MeshPlan>,
}

/// The plan of a model for the proxies of a service mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshPlan {
    /// The versions from which a filter picks.
    pub plan: ModelPlan,
    /// The versions that wait for their routes.
    pub waiting: BTreeSet<Version>,
}

impl PlannedModel {
    /// The versions from which a filter picks, in a proxy of a service mesh or in any other.
    #[must_use]
    pub fn plan_for(&self, in_mesh: bool) -> &ModelPlan {
        match &self.in_mesh {
            Some(mesh) if in_mesh => &mesh.plan,
            _ => &self.plan,
        }
    }

    /// The versions that proxies of a service mesh do not know yet, because they have no route.
    #[must_use]
    pub fn waiting_for_routes(&self) -> Option<&BTreeSet<Version>> {
        self.in_mesh.as_ref().map(|mesh| &mesh.waiting)
    }
}

/// A version in the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedVariant {
    /// Share of the model's new sessions, in parts of 1 000 000. The shares of a model sum to exactly that, unless nothing is ready.
    pub share: u32,
    /// Ready endpoints.
    pub endpoints: BTreeSet<Address>,
    /// Number of endpoints, ready or not.
    pub total_endpoints: u32,
    /// Carriers that brought endpoints. The first one owns the version, and its weight takes effect.
    pub carriers: Vec<CarrierKey>,
    /// Protocol, TLS and health check of its endpoints.
    pub upstream: Upstream,
}

/// A carrier in the plan, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCarrier {
    /// The carrier.
    pub key: CarrierKey,
    /// Its state among the carriers of the model.
    pub state: CarrierState,
    /// The percent that its weight label counts as; `None` without one.
    pub weight: Option<u8>,
    /// Share of the model's new sessions, in parts of 1 000 000.
    pub share: u32,
    /// Number of ready endpoints.
    pub ready: u32,
    /// Desired replicas.
    pub desired: u32,
    /// The replicas with which it counts when carriers share the base: the desired ones, or the ready ones while too few are ready.
    pub base_replicas: u32,
    /// Whether it becomes ready too often, and so takes no new sessions.
    pub flapping: bool,
    /// Whether it is of the stored base.
    pub is_stored_base: bool,
}

/// Makes the plan.
#[must_use]
pub fn plan(registry: &Registry, objects: &Objects, scales: &Scales) -> Plan {
    let mut findings = registry.findings.clone();
    let mut namespaces: BTreeMap<String, NamespacePlan> = BTreeMap::new();
    for (namespace, models) in &registry.namespaces {
        let planned = namespaces.entry(namespace.clone()).or_default();
        for (id, model) in models {
            let mut model = plan_model(namespace, id, model, &registry.keys, &mut findings);
            let key = (namespace.clone(), id.clone());
            model.plan.scale = scales.0.get(&key).copied();
            if registry.needs_routes {
                let record = objects.served_models.get(&key);
                let routed = record.map(|record| record.routed.clone());
                model.in_mesh = in_mesh(&model.plan, &routed.unwrap_or_default());
            }
            planned.config.models.insert(id.clone(), model.plan.clone());
            planned.models.insert(id.clone(), model);
        }
    }
    for (namespace, hosts) in hosts::of_namespaces(registry, objects, &mut findings) {
        if let Some(planned) = namespaces.get_mut(&namespace) {
            planned.config.hosts = hosts;
        }
    }
    let (rules, policies) = policies::resolve(registry, objects, &mut findings);
    for (namespace, rules) in rules {
        if let Some(planned) = namespaces.get_mut(&namespace) {
            planned.config.buckets = rules.buckets;
            planned.config.tagging = rules.tagging;
            planned.authentication = rules.authentication;
        }
    }
    findings.sort();
    findings.dedup();
    Plan {
        namespaces,
        findings,
        policy_revisions: policy_revisions(&policies, objects),
        policies,
    }
}

fn plan_model(
    namespace: &str,
    id: &ModelId,
    model: &Model,
    keys: &LabelKeys,
    findings: &mut Vec<Finding>,
) -> PlannedModel {
    let members = &model.members;
    let levels = Levels::of(model);
    findings.extend(levels::findings(id.as_str(), model, &levels, keys));
    let (canaries, base) = (&levels.canaries, &levels.base);
    if canaries.is_empty() && base.is_empty() {
        let lost = members.iter().any(Member::is_ready);
        let lost = lost.then(|| levels.base_key(model)).flatten();
        findings.push(nothing_serves(namespace, id, model, lost.as_ref()));
    }
    let wanted: Vec<u8> = canaries.iter().map(|(_, percent)| *percent).collect();
    let sum: u32 = wanted.iter().map(|w| u32::from(*w)).sum();
    if sum > 100 {
        let largest = canaries.iter().max_by_key(|(_, percent)| *percent);
        let largest = largest.map(|(i, _)| &members[*i].key);
        findings.push(scaled(namespace, id, sum, largest, keys));
    }
    let percents = percents(&wanted, !base.is_empty());
    let shares = shares_of(model, canaries, base, &percents);
    let memory_update = MemoryUpdate::of(model, &levels);
    PlannedModel {
        plan: ModelPlan {
            names: model.names.clone(),
            scale: None,
            unrouted: Vec::new(),
            on_base_lost: model.on_base_lost,
            default_max_tokens: model.default_max_tokens,
            served_names: model.served_names.clone(),
            canaries: canaries
                .iter()
                .zip(&percents)
                .map(|((i, _), percent)| share(&members[*i], Decimal::from_millionths(*percent)))
                .collect(),
            base: base
                .iter()
                .map(|i| {
                    share(
                        &members[*i],
                        Decimal::whole(u64::from(model.base_replicas(&members[*i]))),
                    )
                })
                .collect(),
            dark: (0..members.len())
                .filter(|i| !shares.contains_key(i))
                .map(|i| dark(&members[i], levels.reserve.contains(&i)))
                .collect(),
        },
        variants: variants(members, &shares),
        carriers: carriers(model, levels, &shares),
        memory_update,
        in_mesh: None,
    }
}

/// The plan for proxies of a service mesh, if it differs.
fn in_mesh(plan: &ModelPlan, routed: &BTreeSet<Version>) -> Option<MeshPlan> {
    let waiting = routed::waiting(plan, routed);
    (!waiting.is_empty()).then(|| MeshPlan {
        plan: routed::with_routes(plan, routed),
        waiting,
    })
}

/// The shares of the versions of every serving member, by its index.
fn shares_of(
    model: &Model,
    canaries: &[(usize, u8)],
    base: &[usize],
    percents: &[u64],
) -> BTreeMap<usize, Vec<u32>> {
    let canaries = canaries
        .iter()
        .zip(percents)
        .map(|((i, _), p)| (*i, Some(*p)));
    let serving: Vec<(usize, Option<u64>)> =
        canaries.chain(base.iter().map(|i| (*i, None))).collect();
    let members = &model.members;
    let candidates: Vec<Candidate> = serving
        .iter()
        .map(|(i, canary)| Candidate {
            canary: *canary,
            replicas: model.base_replicas(&members[*i]),
            ready: members[*i]
                .versions
                .values()
                .map(|e| count(&e.ready))
                .collect(),
        })
        .collect();
    let shares = version_shares(&candidates);
    serving.into_iter().map(|(i, _)| i).zip(shares).collect()
}

fn versions(member: &Member) -> Vec<VersionShare> {
    member
        .versions
        .iter()
        .map(|(version, endpoints)| VersionShare {
            version: version.clone(),
            endpoints: count(&endpoints.ready),
        })
        .collect()
}

fn share(member: &Member, weight: Decimal) -> CarrierShare {
    CarrierShare {
        carrier: member.key.identity(),
        weight,
        versions: versions(member),
    }
}

fn dark(member: &Member, stands_in: bool) -> DarkCarrier {
    DarkCarrier {
        carrier: member.key.identity(),
        versions: versions(member),
        stands_in,
    }
}

fn variants(
    members: &[Member],
    shares: &BTreeMap<usize, Vec<u32>>,
) -> BTreeMap<Version, PlannedVariant> {
    let mut variants = BTreeMap::new();
    for (i, member) in members.iter().enumerate() {
        for (j, (version, endpoints)) in member.versions.iter().enumerate() {
            let variant = PlannedVariant {
                share: shares.get(&i).map_or(0, |own| own[j]),
                endpoints: endpoints.ready.clone(),
                total_endpoints: count(&endpoints.all),
                carriers: endpoints.carriers.clone(),
                upstream: endpoints.upstream(),
            };
            variants.insert(version.clone(), variant);
        }
    }
    variants
}

fn carriers(
    model: &Model,
    levels: Levels,
    shares: &BTreeMap<usize, Vec<u32>>,
) -> Vec<PlannedCarrier> {
    let states = levels.states.into_iter().zip(levels.weights);
    model
        .members
        .iter()
        .zip(states)
        .enumerate()
        .map(|(i, (member, (state, weight)))| PlannedCarrier {
            key: member.key.clone(),
            state,
            weight,
            share: shares.get(&i).map_or(0, |own| own.iter().sum()),
            ready: member.ready_endpoints(),
            desired: member.desired,
            base_replicas: model.base_replicas(member),
            flapping: member.flapping,
            is_stored_base: model.is_of_stored_base(member),
        })
        .collect()
}

/// The finding on a model whose versions take no new sessions: none is ready, or `onBaseLost: hold` forbids a stand-in for the lost
/// base.
fn nothing_serves(
    namespace: &str,
    id: &ModelId,
    model: &Model,
    lost: Option<&CarrierKey>,
) -> Finding {
    let carriers: Vec<String> = model.carriers.iter().map(CarrierKey::identity).collect();
    let oldest = carriers.first().map(String::as_str).unwrap_or_default();
    let message = match lost {
        Some(base) => format!(
            "no endpoint of {base}, the base of model {id}, is ready, and `spec.onBaseLost` of its ServedModel is hold: the model answers 503 until one is, and pins still reach their version. To see why: kubectl describe {} -n {namespace}. To let another version stand in: set `spec.onBaseLost` to release",
            base.identity()
        ),
        None => format!(
            "no endpoint of model {id} is ready: the model answers 503 until one is. To see why: kubectl describe {oldest} -n {namespace}"
        ),
    };
    Finding {
        origin: carriers.join(", "),
        ..Finding::on_model(
            namespace,
            id,
            Severity::Warning,
            reason::NOTHING_READY,
            message,
        )
    }
}

fn scaled(
    namespace: &str,
    id: &ModelId,
    sum: u32,
    largest: Option<&CarrierKey>,
    keys: &LabelKeys,
) -> Finding {
    let largest = largest.map(CarrierKey::identity).unwrap_or_default();
    let message = format!(
        "the canaries of model {id} sum to {sum} percent: they are scaled to 100, and the base takes nothing. Lower their weights to a sum of at most 100: kubectl label {largest} -n {namespace} {}=10 --overwrite",
        keys.weight
    );
    Finding::on_model(
        namespace,
        id,
        Severity::Warning,
        reason::CANARIES_SCALED,
        message,
    )
}
