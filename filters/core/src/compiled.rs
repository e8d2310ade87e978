//! A parsed configuration → what a request looks things up in. Built once per configuration.
//!
//! Names lead to models in one step; each model holds the tagging and the buckets that apply to it, priced for
//! it. Streams keep none of this but the [`Limit`]s they have to settle, so old configurations are freed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use headgate_contract::{
    BucketRule, ConfigError, Decimal, DefaultMaxTokens, FailureCharge, FilterConfig, KeyPart,
    ModelId, ModelPlan, NamespaceConfig, OnContention, OnFailure, Role, SettleOn, TagRule, Tagging,
    Unreadable, UsageReport, Version, names,
};

use crate::cost::{self, Pricing};
use crate::host::Host;
use crate::ledger::{self, Ledger, Rule, RuleSpec, WindowError};
use crate::metrics::{self, Metric, Series};
use crate::outages::Target;
use crate::outcome::Labels;
use crate::pick::{self, Picker};
use crate::scale::{Live, Receptions};
use crate::settle::{Failure, charge_of};
use crate::skew::Heaviest;
use crate::vm::Stages;

/// A configuration in force.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) role: Role,
    pub(crate) max_body_bytes: u32,
    /// Whether there is a bucket at all.
    pub(crate) limits: bool,
    /// Sorted by name.
    namespaces: Vec<Namespace>,
}

/// What one namespace serves.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Rc<str>,
    models: Vec<Model>,
    /// Ids and client names, sorted.
    index: Vec<(String, usize)>,
    /// What applies to every model, and so to one that is not in the plan.
    pub(crate) rest: Rules,
}

/// One model of the plan.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) id: Rc<str>,
    pub(crate) names: Vec<String>,
    pub(crate) picker: Picker,
    /// A scale other than 100 %.
    pub(crate) scale: Option<Live>,
    pub(crate) rules: Rules,
    /// The `max_tokens` of a request that names none.
    pub(crate) default_max_tokens: DefaultMaxTokens,
    heaviest: RefCell<Heaviest>,
    series: Series,
}

/// The tagging and the buckets of a model.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) tagging: Rc<Tagging>,
    pub(crate) limits: Vec<Rc<Limit>>,
}

/// A bucket, priced for one model.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) rule: Rule,
    pub(crate) bucket: String,
    /// The versions that spend it; none given, all.
    versions: Option<Vec<Version>>,
    pub(crate) key: Vec<KeyPart>,
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
    /// By version; of a request whose version is not known, by the empty name.
    series: RefCell<Vec<(Rc<str>, Rc<Series>)>>,
}

impl Compiled {
    /// Prepares a configuration that arrived now.
    ///
    /// # Errors
    /// A bucket whose table cannot be made.
    pub(crate) fn new(
        config: FilterConfig,
        stages: Stages,
        receptions: &mut Receptions,
        host: &dyn Host,
    ) -> Result<Self, ConfigError> {
        let received = receptions.after(scales(&config), host.now());
        let mut namespaces = Vec::with_capacity(config.namespaces.len());
        for (name, namespace) in config.namespaces {
            let rules = if stages.limit {
                open_rules(&name, &namespace.buckets, host)?
            } else {
                Vec::new()
            };
            namespaces.push(Namespace::new(name, namespace, &rules, &received));
        }
        *receptions = received;
        Ok(Self {
            role: config.role,
            max_body_bytes: config.max_body_bytes,
            limits: namespaces.iter().any(Namespace::limits),
            namespaces,
        })
    }

    /// The namespace of a request: the only one, else the one whose virtual host was selected.
    pub(crate) fn namespace(&self, host: &dyn Host) -> Option<&Namespace> {
        match &self.namespaces[..] {
            [only] => Some(only),
            _ => self.of_virtual_host(host),
        }
    }

    /// Ready endpoints of a version; none of one that is not in the plan.
    #[cold]
    pub(crate) fn endpoints(&self, target: Target<'_>) -> u32 {
        let mut namespaces = self.namespaces.iter();
        let namespace = namespaces.find(|n| *n.name == *target.namespace);
        let model = namespace.and_then(|n| n.models.iter().find(|m| *m.id == *target.model));
        let version = model.and_then(|m| m.picker.known(target.version));
        version.map_or(0, |version| version.endpoints)
    }

    #[inline(never)]
    fn of_virtual_host(&self, host: &dyn Host) -> Option<&Namespace> {
        let virtual_host = host.virtual_host()?;
        let name = virtual_host.strip_prefix(names::VIRTUAL_HOST_PREFIX)?;
        let found = self.namespaces.binary_search_by(|n| (*n.name).cmp(name));
        self.namespaces.get(found.ok()?)
    }
}

impl Namespace {
    fn new(name: String, config: NamespaceConfig, rules: &[Rule], received: &Receptions) -> Self {
        let taggings: Vec<_> = config
            .tagging
            .iter()
            .map(|t| Rc::new(t.tagging.clone()))
            .collect();
        let default = Rc::new(Tagging::default());
        let rules_of = |model: &str, tags: &[usize], buckets: &[usize]| Rules {
            tagging: tags
                .first()
                .and_then(|i| taggings.get(*i))
                .unwrap_or(&default)
                .clone(),
            limits: buckets
                .iter()
                .filter_map(|i| {
                    Some(Rc::new(limit(
                        config.buckets.get(*i)?,
                        rules.get(*i)?,
                        model,
                    )))
                })
                .collect(),
        };
        let tags = Assigned::new(config.tagging.iter().map(|t: &TagRule| t.models.as_deref()));
        let buckets = Assigned::new(
            config
                .buckets
                .iter()
                .map(|b: &BucketRule| b.models.as_deref()),
        );
        let models: Vec<_> = config
            .models
            .iter()
            .map(|(id, plan)| Model {
                rules: rules_of(id.as_str(), &tags.of(id.as_str()), &buckets.of(id.as_str())),
                ..Model::new(&name, id, plan, &default, received)
            })
            .collect();
        let mut index = Vec::new();
        for (i, model) in models.iter().enumerate() {
            index.push((model.id.to_string(), i));
            index.extend(model.names.iter().map(|name| (name.clone(), i)));
        }
        index.sort_unstable();
        let rest = rules_of("", &tags.all, &buckets.all);
        Self {
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
        tagging: &Rc<Tagging>,
        received: &Receptions,
    ) -> Self {
        let scale = plan.scale.filter(|s| s.percent != 100).and_then(|s| {
            Some(Live {
                percent: s.percent,
                received: received.received(namespace, id.as_str())?,
            })
        });
        Self {
            id: id.as_str().into(),
            names: plan.names.clone(),
            picker: Picker::new(plan),
            scale,
            default_max_tokens: plan.default_max_tokens,
            heaviest: RefCell::default(),
            series: Series::default(),
            rules: Rules {
                tagging: tagging.clone(),
                limits: Vec::new(),
            },
        }
    }
}

impl Model {
    /// The counter of a request that is picked for by the fingerprint of its conversation.
    #[inline(never)]
    pub(crate) fn fingerprinted(&self, labels: &Labels<'_>, key: u64) -> Metric {
        let outcome = match self.heaviest.borrow_mut().count(key) {
            true => "shared",
            false => "own",
        };
        self.series.get("fingerprints", outcome, || {
            metrics::fingerprints(labels.namespace, &self.id, outcome)
        })
    }
}

impl Limit {
    /// Whether a request for this version spends it. One whose version is not known spends what is for all.
    pub(crate) fn is_for(&self, version: Option<&str>) -> bool {
        let Some(versions) = &self.versions else {
            return true;
        };
        version.is_some_and(|version| versions.iter().any(|v| v.as_str() == version))
    }

    /// The stats of what a version's requests spend of it.
    pub(crate) fn series(&self, version: Option<&Rc<pick::Version>>) -> Rc<Series> {
        let name = pick::label(version);
        let known = self.series.borrow();
        if let Some((_, series)) = known.iter().find(|(n, _)| **n == *name) {
            return Rc::clone(series);
        }
        drop(known);
        self.new_series(name)
    }

    #[cold]
    fn new_series(&self, name: &str) -> Rc<Series> {
        let series = Rc::<Series>::default();
        let known = (name.into(), Rc::clone(&series));
        self.series.borrow_mut().push(known);
        series
    }

    /// Whether the answer has to be read to settle it.
    pub(crate) fn meters(&self) -> bool {
        self.settle_on == SettleOn::Usage
    }

    /// Whether the upstream may be asked to report the usage of a stream.
    pub(crate) fn asks(&self) -> bool {
        self.usage == UsageReport::Ask
    }

    /// What a failed request is charged.
    pub(crate) fn on(&self, failure: Failure) -> FailureCharge {
        charge_of(failure, &self.on_failure, self.abandoned)
    }
}

/// Which entries of a list apply to which model, in the list's order.
struct Assigned<'a> {
    /// Entries for every model.
    all: Vec<usize>,
    by_model: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Assigned<'a> {
    fn new(lists: impl Iterator<Item = Option<&'a [ModelId]>>) -> Self {
        let mut assigned = Self {
            all: Vec::new(),
            by_model: BTreeMap::new(),
        };
        for (i, list) in lists.enumerate() {
            match list {
                None => assigned.all.push(i),
                Some(models) => {
                    for model in models {
                        assigned.by_model.entry(model.as_str()).or_default().push(i);
                    }
                }
            }
        }
        assigned
    }

    /// Merged: both lists ascend, and one that names a model twice has it twice.
    fn of(&self, model: &str) -> Vec<usize> {
        let own = self.by_model.get(model).map_or(&[][..], Vec::as_slice);
        let (mut all, mut own) = (self.all.iter().peekable(), own.iter().peekable());
        let mut both = Vec::new();
        loop {
            let all_first = match (all.peek(), own.peek()) {
                (Some(a), Some(o)) => a <= o,
                (a, _) => a.is_some(),
            };
            let Some(next) = (if all_first { all.next() } else { own.next() }) else {
                return both;
            };
            if both.last() != Some(next) {
                both.push(*next);
            }
        }
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

/// The ledger's rules of a namespace, in the order of its buckets.
fn open_rules(
    namespace: &str,
    buckets: &[BucketRule],
    host: &dyn Host,
) -> Result<Vec<Rule>, ConfigError> {
    let mut rules = Vec::with_capacity(buckets.len());
    for (i, rule) in buckets.iter().enumerate() {
        let path = || format!("namespaces.{namespace}.buckets[{i}].bucket");
        let spec = spec(namespace, rule).map_err(|e| ConfigError::new(path(), e.to_string()))?;
        let opened = Ledger::configure(vec![spec], host, host)
            .map_err(|e| ConfigError::new(path(), e.to_string()))?;
        rules.extend(opened);
    }
    Ok(rules)
}

fn spec(namespace: &str, rule: &BucketRule) -> Result<RuleSpec, WindowError> {
    let bucket = &rule.bucket;
    let window = cost::window(&bucket.profile)?;
    let parts = bucket.key.iter().cloned().map(String::from);
    Ok(RuleSpec {
        id: format!("{namespace}/{}/{}", rule.policy, bucket.name),
        key: parts.collect::<Vec<_>>().join(","),
        window,
        max_debt: window.debt(bucket.max_debt.map(Decimal::millionths)),
        max_keys: bucket.max_keys,
        on_contention: match bucket.on_contention {
            OnContention::Refuse => ledger::OnContention::Refuse,
            OnContention::Admit => ledger::OnContention::Admit,
        },
    })
}

fn limit(config: &BucketRule, rule: &Rule, model: &str) -> Limit {
    let bucket = &config.bucket;
    Limit {
        rule: rule.clone(),
        bucket: bucket.name.as_str().to_owned(),
        versions: config.versions.clone(),
        key: bucket.key.clone(),
        pricing: Pricing::new(&bucket.profile, model),
        bytes_per_token: bucket.bytes_per_token.millionths(),
        settle_on: bucket.settle_on,
        unreadable: bucket.unreadable,
        usage: bucket.usage,
        on_failure: bucket.on_failure,
        abandoned: bucket.abandoned.into(),
        max_client_wait: bucket.max_client_wait.millis().saturating_mul(1_000_000),
        series: RefCell::default(),
    }
}
