//! A configuration prepared for lookups: names lead to models in one step, and each model holds its tagging and its buckets,
//! priced for it.
//!
//! Invariant: it never changes after [`Compiled::new`], except that the constant properties of the proxy's pod are read when needed. What requests change is in [`Counters`](crate::counters::Counters).
//! A stream keeps only the [`Limit`]s that it has to settle, so a replaced configuration is freed.

mod assigned;
mod rules;

use std::rc::Rc;

use headgate_contract::{
    Attribute, Bodies, BucketRule, ChargeAt, ConfigError, DefaultMaxTokens, FailureCharge,
    FilterConfig, Mode, ModelId, ModelPlan, NamespaceConfig, OnFailure, Role, SettleOn, Stages,
    Tagging, Unreadable, UsageReport, Version, names,
};

use crate::body_fields::BodyFields;
use crate::cost::Pricing;
use crate::endpoint::ServedApis;
use crate::failure::Failure;
use crate::host::Host;
use crate::hosts::Hosts;
use crate::ledger::Rule;
use crate::mesh::{CarrierVersions, OwnPod};
use crate::outages::Target;
use crate::overrides::Overrides;
use crate::pick::Picker;
use crate::scale::{ExpiringScale, ReceivedScales};
use crate::schemas::BodySchemas;

use crate::tag_rules::TagRules;

use assigned::Assigned;
use rules::{OpenBucket, open_rules};

/// The active configuration of one filter.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The stages of this filter: those of its configuration, else the module's default; only `tag` if it reads no bodies.
    pub(crate) stages: Stages,
    pub(crate) role: Role,
    pub(crate) bodies: Bodies,
    pub(crate) max_body_bytes: u32,
    /// Whether there is at least one bucket.
    pub(crate) limits: bool,
    /// Sorted by name.
    namespaces: Vec<Namespace>,
    hosts: Hosts,
    /// The APIs that some namespace serves.
    pub(crate) served: ServedApis,
    /// Whether every namespace serves the same APIs.
    pub(crate) same_apis: bool,
    /// Key of the label that names a pod's version.
    pub(crate) version_label: String,
    pub(crate) own_pod: OwnPod,
}

/// Where a request belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// To a namespace with models.
    Namespace(&'a Namespace),
    /// To a namespace of Headgate that this configuration does not have.
    Unknown,
    /// To a host that serves no model. It passes untouched.
    Elsewhere,
}

/// The configuration of one namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Rc<str>,
    models: Vec<Model>,
    /// Ids and client names, sorted.
    index: Vec<(String, usize)>,
    /// The rules for every model, and so for one that is not in the plan.
    pub(crate) rest: Rules,
    /// The APIs that it serves.
    pub(crate) served: ServedApis,
    /// The fields of bodies that its attributes name.
    pub(crate) fields: BodyFields,
}

/// One model of the plan.
#[derive(Debug)]
pub(crate) struct Model {
    /// Index of its counters.
    pub(crate) number: usize,
    pub(crate) id: Rc<str>,
    pub(crate) names: Vec<String>,
    pub(crate) picker: Picker,
    pub(crate) carriers: CarrierVersions,
    /// A scale other than 100 %.
    pub(crate) scale: Option<ExpiringScale>,
    pub(crate) rules: Rules,
    /// The `max_tokens` of a request that names none.
    pub(crate) default_max_tokens: DefaultMaxTokens,
}

/// A tagging, with its compiled parts.
#[derive(Debug)]
struct Tagged {
    tagging: Rc<Tagging>,
    tag_rules: Option<Rc<TagRules>>,
    schemas: Option<Rc<BodySchemas>>,
}

impl Tagged {
    fn new(mut tagging: Tagging) -> Self {
        Self {
            tag_rules: TagRules::new(&tagging.rules).map(Rc::new),
            schemas: BodySchemas::new(std::mem::take(&mut tagging.schemas)).map(Rc::new),
            tagging: tagging.into(),
        }
    }
}

/// The tagging and the buckets of a model.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) tagging: Rc<Tagging>,
    /// The rules of the tagging.
    pub(crate) tag_rules: Option<Rc<TagRules>>,
    /// The schemas of the tagging.
    pub(crate) schemas: Option<Rc<BodySchemas>>,
    pub(crate) limits: Vec<Rc<Limit>>,
}

/// A bucket, priced for one model.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Index of its counters.
    pub(crate) number: usize,
    /// The rule of keys without an override of their own.
    pub(crate) rule: Rule,
    pub(crate) overrides: Option<Rc<Overrides>>,
    pub(crate) bucket: String,
    /// The versions that spend it; `None`: all.
    versions: Option<Vec<Version>>,
    pub(crate) key: Vec<Attribute>,
    /// It refuses nothing.
    pub(crate) shadow: bool,
    pub(crate) pricing: Pricing,
    /// Millionths.
    pub(crate) bytes_per_token: u64,
    pub(crate) settle_on: SettleOn,
    pub(crate) unreadable: Unreadable,
    usage: UsageReport,
    on_failure: OnFailure,
    abandoned: FailureCharge,
    /// The longest `Retry-After` that a client is expected to wait for, ns.
    pub(crate) max_client_wait: u64,
}

/// Numbers for what has counters.
#[derive(Debug, Default)]
struct Numbers {
    models: usize,
    versions: usize,
    limits: usize,
}

/// The next number of a sequence.
fn next(number: &mut usize) -> usize {
    *number += 1;
    *number - 1
}

impl Compiled {
    /// Prepares a configuration that arrived now. `default`: its stages, if it names none.
    ///
    /// # Errors
    /// A bucket whose table cannot be created.
    pub(crate) fn new(
        config: FilterConfig,
        default: Stages,
        receptions: &mut ReceivedScales,
        host: &dyn Host,
    ) -> Result<Self, ConfigError> {
        let received = receptions.after(scales(&config), host.now());
        let stages = match config.bodies {
            Bodies::Read => config.stages.unwrap_or(default),
            Bodies::Never => Stages::TAG,
        };
        let mut numbers = Numbers::default();
        let mut hosts = Vec::new();
        let mut namespaces = Vec::with_capacity(config.namespaces.len());
        for (name, mut namespace) in config.namespaces {
            namespace
                .buckets
                .retain(|rule| rule.at == ChargeAt::of(config.role));
            for host in std::mem::take(&mut namespace.hosts) {
                hosts.push((host, namespaces.len()));
            }
            let rules = if stages.limit {
                open_rules(&name, &namespace.buckets, host)?
            } else {
                Vec::new()
            };
            let fields = BodyFields::of(&namespace)
                .map_err(|e| ConfigError::new(format!("namespaces.{name}"), e))?;
            namespaces.push(Namespace::new(
                name,
                fields,
                namespace,
                &rules,
                &received,
                &mut numbers,
            ));
        }
        *receptions = received;
        let served = ServedApis::of_all(namespaces.iter().map(|namespace| &namespace.served));
        Ok(Self {
            same_apis: namespaces
                .iter()
                .all(|namespace| namespace.served == served),
            served,
            stages,
            role: config.role,
            bodies: config.bodies,
            max_body_bytes: config.max_body_bytes,
            limits: namespaces.iter().any(Namespace::limits),
            namespaces,
            hosts: Hosts::new(hosts),
            version_label: config.version_label,
            own_pod: OwnPod::default(),
        })
    }

    /// The namespace of a request. One namespace without hosts has every virtual host.
    pub(crate) fn place(&self, host: &dyn Host) -> Place<'_> {
        match &self.namespaces[..] {
            [only] if self.hosts.is_empty() => Place::Namespace(only),
            _ => self.place_of_virtual_host(host),
        }
    }

    /// The namespace with this name.
    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        let found = self.namespaces.binary_search_by(|n| (*n.name).cmp(name));
        self.namespaces.get(found.ok()?)
    }

    /// Ready endpoints of a version; 0 if it is not in the plan.
    #[cold]
    pub(crate) fn endpoints(&self, target: Target<'_>) -> u32 {
        let mut namespaces = self.namespaces.iter();
        let namespace = namespaces.find(|n| *n.name == *target.namespace);
        let model = namespace.and_then(|n| n.models.iter().find(|m| *m.id == *target.model));
        let version = model.and_then(|m| m.picker.known(target.version));
        version.map_or(0, |version| version.endpoints)
    }

    #[inline(never)]
    fn place_of_virtual_host(&self, host: &dyn Host) -> Place<'_> {
        let virtual_host = host.virtual_host().unwrap_or_default();
        if let Some(name) = virtual_host.strip_prefix(names::VIRTUAL_HOST_PREFIX) {
            return self
                .namespace(name)
                .map_or(Place::Unknown, Place::Namespace);
        }
        let namespace = if virtual_host.starts_with(names::INBOUND_PREFIX) {
            let name = self.own_pod.namespace(host);
            name.and_then(|name| self.namespace(name))
        } else {
            let index = self.hosts.namespace(&virtual_host);
            index.and_then(|index| self.namespaces.get(index))
        };
        namespace.map_or(Place::Elsewhere, Place::Namespace)
    }
}

impl Namespace {
    fn new(
        name: String,
        fields: BodyFields,
        mut config: NamespaceConfig,
        rules: &[OpenBucket],
        received: &ReceivedScales,
        numbers: &mut Numbers,
    ) -> Self {
        let taggings = std::mem::take(&mut config.tagging).into_iter();
        let taggings: Vec<_> = taggings
            .map(|rule| (rule.models, Tagged::new(rule.tagging)))
            .collect();
        let default = Tagged::new(Tagging::default());
        let tags: Vec<_> = taggings
            .iter()
            .map(|(models, _)| models.as_deref())
            .collect();
        let buckets: Vec<_> = config.buckets.iter().map(|b| b.models.as_deref()).collect();
        let (tags, buckets) = (Assigned::new(&tags), Assigned::new(&buckets));
        let tagging_of = |model: &str| {
            let index = tags.of(model).first().copied();
            let found = index.and_then(|i| taggings.get(i));
            found.map_or(&default, |(_, tagged)| tagged)
        };
        let rules_of = |model: &str, numbers: &mut Numbers| {
            let tagged = tagging_of(model);
            Rules {
                tagging: Rc::clone(&tagged.tagging),
                tag_rules: tagged.tag_rules.clone(),
                schemas: tagged.schemas.clone(),
                limits: buckets
                    .of(model)
                    .into_iter()
                    .filter_map(|i| {
                        let (bucket, rule) = (config.buckets.get(i)?, rules.get(i)?);
                        let number = next(&mut numbers.limits);
                        Some(Rc::new(limit(bucket, rule, model, number)))
                    })
                    .collect(),
            }
        };
        let mut models = Vec::with_capacity(config.models.len());
        for (id, plan) in &config.models {
            let rules = rules_of(id.as_str(), numbers);
            models.push(Model::new(&name, id, plan, rules, received, numbers));
        }
        let mut index = Vec::new();
        for (i, model) in models.iter().enumerate() {
            index.push((model.id.to_string(), i));
            index.extend(model.names.iter().map(|name| (name.clone(), i)));
        }
        index.sort_unstable();
        add_served_names(&mut index, config.models.values());
        let rest = rules_of("", numbers);
        let served = rest.tagging.apis.as_ref().map(ServedApis::new);
        Self {
            served: served.unwrap_or_default(),
            fields,
            name: name.into(),
            models,
            index,
            rest,
        }
    }

    /// The model a client means.
    pub(crate) fn model(&self, name: &str) -> Option<&Model> {
        let found = self.index.binary_search_by(|(n, _)| n.as_str().cmp(name));
        self.models.get(self.index.get(found.ok()?)?.1)
    }

    /// Every model, in order of the ids.
    pub(crate) fn models(&self) -> &[Model] {
        &self.models
    }

    fn limits(&self) -> bool {
        let some = |rules: &Rules| !rules.limits.is_empty();
        some(&self.rest) || self.models.iter().any(|m| some(&m.rules))
    }
}

impl Model {
    fn new(
        namespace: &str,
        id: &ModelId,
        plan: &ModelPlan,
        rules: Rules,
        received: &ReceivedScales,
        numbers: &mut Numbers,
    ) -> Self {
        let scale = plan.scale.filter(|s| s.percent != 100).and_then(|s| {
            Some(ExpiringScale {
                percent: s.percent,
                received: received.received(namespace, id.as_str())?,
            })
        });
        let picker = Picker::with_counter_numbers(plan, numbers.versions);
        numbers.versions += picker.versions();
        Self {
            number: next(&mut numbers.models),
            id: id.as_str().into(),
            names: plan.names.clone(),
            carriers: CarrierVersions::new(plan),
            picker,
            scale,
            default_max_tokens: plan.default_max_tokens,
            rules,
        }
    }
}

impl Limit {
    /// Whether a request for this version spends it. A request without a known version spends the buckets for all versions.
    pub(crate) fn is_for(&self, version: Option<&str>) -> bool {
        let Some(versions) = &self.versions else {
            return true;
        };
        version.is_some_and(|version| versions.iter().any(|v| v.as_str() == version))
    }

    /// Whether the answer has to be read to settle it.
    pub(crate) fn meters(&self) -> bool {
        self.settle_on == SettleOn::Usage
    }

    /// Whether the upstream may be asked to report the usage of a stream.
    pub(crate) fn asks(&self) -> bool {
        self.usage == UsageReport::Ask
    }

    /// The charge for a failed request.
    pub(crate) fn on(&self, failure: Failure) -> FailureCharge {
        failure.charge(&self.on_failure, self.abandoned)
    }
}

fn scales(
    config: &FilterConfig,
) -> impl Iterator<Item = ((String, String), headgate_contract::Scale)> {
    config.namespaces.iter().flat_map(|(name, namespace)| {
        namespace.models.iter().filter_map(move |(id, plan)| {
            let key = (name.clone(), id.as_str().to_owned());
            plan.scale.map(|scale| (key, scale))
        })
    })
}

/// Adds the names that servers want for a model, where no other model has them: a client may write these, too.
fn add_served_names<'p>(
    index: &mut Vec<(String, usize)>,
    plans: impl Iterator<Item = &'p ModelPlan>,
) {
    let mut served: Vec<(&str, usize)> = Vec::new();
    for (i, plan) in plans.enumerate() {
        served.extend(plan.served_names.values().map(|name| (name.as_str(), i)));
    }
    served.sort_unstable();
    served.dedup();
    for (at, (name, model)) in served.iter().enumerate() {
        let other = |neighbour: Option<&(&str, usize)>| neighbour.is_some_and(|(n, _)| n == name);
        let shared =
            other(served.get(at + 1)) || other(at.checked_sub(1).and_then(|at| served.get(at)));
        if let (false, Err(place)) = (
            shared,
            index.binary_search_by(|(n, _)| n.as_str().cmp(name)),
        ) {
            index.insert(place, ((*name).to_owned(), *model));
        }
    }
}

fn limit(config: &BucketRule, open: &OpenBucket, model: &str, number: usize) -> Limit {
    let bucket = &config.bucket;
    Limit {
        number,
        rule: open.rule.clone(),
        overrides: open.overrides.clone(),
        bucket: bucket.name.as_str().to_owned(),
        versions: config.versions.clone(),
        key: bucket.key.clone(),
        shadow: bucket.mode == Mode::Shadow,
        pricing: Pricing::new(&bucket.profile, model),
        bytes_per_token: bucket.bytes_per_token.millionths(),
        settle_on: bucket.settle_on,
        unreadable: bucket.unreadable,
        usage: bucket.usage,
        on_failure: bucket.on_failure,
        abandoned: bucket.abandoned.into(),
        max_client_wait: bucket.max_client_wait.millis().saturating_mul(1_000_000),
    }
}
