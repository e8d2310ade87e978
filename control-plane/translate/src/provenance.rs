//! Provenance: the objects that each resource is made from, and the version of each cluster.
//!
//! | resource | objects |
//! |---|---|
//! | cluster, endpoints | the carrier that owns the version; of a model's own cluster the oldest carrier |
//! | routes | per version the carrier that owns it, per model a `model` with its versions |
//! | filter configuration | the policies, per model its oldest carrier, and a `model` with its weights |
//! | configuration of `jwt_authn`, clusters of its keys | the policies of authentication |
//!
//! Invariant: equal revisions of an object mean that the resource takes the same from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_contract::{ModelId, ModelPlan, PolicyDefinition, Version, names};
use headgate_model::{
    CarrierKey, Plan, PlannedModel, PolicyId, PolicyRevision, VariantKey, weights_revision,
};
use headgate_xds::{Origin, OriginObject, content_hash};

/// Kind of the objects that stand for a model as a whole.
pub const MODEL: &str = "model";

/// The objects of one model, by the resources that are made from them.
#[derive(Debug, Default)]
pub(crate) struct ModelOrigins {
    /// By the name of the cluster, which is the name of its endpoints too.
    pub(crate) clusters: BTreeMap<String, Origin>,
    pub(crate) routes: Vec<Arc<OriginObject>>,
    pub(crate) filters: Vec<Arc<OriginObject>>,
}

impl ModelOrigins {
    pub(crate) fn of(namespace: &str, id: &ModelId, model: &PlannedModel) -> Self {
        let plan = plan_revision(&model.plan);
        let owners = model.variants.iter();
        let owners = owners.filter_map(|(version, v)| Some((version, v.carriers.first()?)));
        let mut clusters: BTreeMap<String, Origin> = owners
            .clone()
            .map(|(version, key)| {
                let name = names::variant_cluster(namespace, id.as_str(), version.as_str());
                (name, Origin::new([carrier(key, String::new())]))
            })
            .collect();
        let oldest = model.oldest_carrier();
        clusters.extend(oldest.map(|key| {
            let name = names::model_cluster(namespace, id.as_str());
            (name, Origin::new([carrier(key, String::new())]))
        }));
        let versions: Vec<&str> = model.variants.keys().map(Version::as_str).collect();
        let routes = owners.map(|(version, key)| Arc::new(carrier(key, version.to_string())));
        let whole = model_object(namespace, id, versions.join(","));
        let filters = oldest.map(|key| carrier(key, plan)).into_iter();
        let filters = filters.chain([model_object(namespace, id, model_revision(model))]);
        Self {
            clusters,
            routes: routes.chain([Arc::new(whole)]).collect(),
            filters: filters.map(Arc::new).collect(),
        }
    }
}

fn carrier(key: &CarrierKey, revision: String) -> OriginObject {
    OriginObject {
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        revision,
    }
}

fn model_object(namespace: &str, id: &ModelId, revision: String) -> OriginObject {
    OriginObject {
        kind: MODEL.to_owned(),
        namespace: namespace.to_owned(),
        name: id.to_string(),
        revision,
    }
}

/// A policy as an object of a filter configuration.
pub(crate) fn policy(id: &PolicyId, revision: &PolicyRevision) -> OriginObject {
    OriginObject {
        kind: id.kind.as_str().to_owned(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        revision: format!("{}/{}", revision.uid, revision.generation),
    }
}

/// The carrier that an object stands for. Only for objects that are neither a policy nor a [`MODEL`].
#[must_use]
pub fn carrier_key(object: &OriginObject) -> CarrierKey {
    CarrierKey {
        namespace: object.namespace.clone(),
        kind: object.kind.clone(),
        name: object.name.clone(),
    }
}

/// The policy that an object stands for; `None` if it stands for something else.
#[must_use]
pub fn policy_id(object: &OriginObject) -> Option<PolicyId> {
    Some(PolicyId {
        kind: PolicyDefinition::find(&object.kind)?.kind.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    })
}

/// The policies of a filter configuration, with their revisions.
#[must_use]
pub fn policies(origin: &Origin) -> BTreeMap<PolicyId, PolicyRevision> {
    let policies = origin.objects().iter().filter_map(|object| {
        let (uid, generation) = object.revision.rsplit_once('/')?;
        let revision = PolicyRevision {
            uid: uid.to_owned(),
            generation: generation.parse().ok()?,
        };
        Some((policy_id(object)?, revision))
    });
    policies.collect()
}

/// A model in a filter configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfiguredModel<'a>(&'a str);

impl<'a> ConfiguredModel<'a> {
    /// A model of the filter configuration with this origin; `None` if the configuration does not have it.
    #[must_use]
    pub fn find(origin: &'a Origin, namespace: &str, id: &ModelId) -> Option<Self> {
        let wanted = (MODEL, namespace, id.as_str());
        let place = |object: &Arc<OriginObject>| {
            let key = (&*object.kind, &*object.namespace, &*object.name);
            key.cmp(&wanted)
        };
        let objects = origin.objects();
        let at = objects.binary_search_by(place).ok()?;
        objects.get(at).map(|object| Self(&object.revision))
    }

    /// The [revision](plan_revision) of its plan.
    #[must_use]
    pub fn plan_revision(self) -> &'a str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    /// The [revision](weights_revision) of its weights.
    #[must_use]
    pub fn weights_revision(self) -> &'a str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The share of new sessions of each version, in parts of 1 000 000.
    pub fn weights(self) -> impl Iterator<Item = (&'a str, u32)> {
        let weights = self.0.split(' ').skip(2);
        weights.filter_map(|weight| {
            let (version, share) = weight.split_once('=')?;
            Some((version, share.parse().ok()?))
        })
    }
}

/// The weights' revision, the plan's, and then `version=share` for each version, with spaces between them.
fn model_revision(model: &PlannedModel) -> String {
    let mut text = format!("{} {}", weights_revision(model), plan_revision(&model.plan));
    for (version, variant) in &model.variants {
        text.push_str(&format!(" {version}={}", variant.share));
    }
    text
}

/// The revision of a model's plan: a hash of its JSON. Equal plans have equal revisions.
#[must_use]
pub fn plan_revision(plan: &ModelPlan) -> String {
    // The type always has a JSON form.
    content_hash([serde_json::to_vec(plan).unwrap_or_default().as_slice()])
}

/// The origin of these objects, in the order in which [`ConfiguredModel::find`] looks them up.
pub(crate) fn sorted(objects: impl IntoIterator<Item = Arc<OriginObject>>) -> Origin {
    let mut objects: Vec<Arc<OriginObject>> = objects.into_iter().collect();
    objects.sort();
    objects.dedup();
    Origin::new(objects)
}

/// The version of every cluster that belongs to one version, by the name of the cluster.
#[must_use]
pub fn variants(plan: &Plan) -> BTreeMap<String, VariantKey> {
    let mut variants = BTreeMap::new();
    for (namespace, view) in &plan.namespaces {
        for (id, model) in &view.models {
            variants.extend(model.variants.keys().map(|version| {
                let name = names::variant_cluster(namespace, id.as_str(), version.as_str());
                (name, (namespace.clone(), id.clone(), version.clone()))
            }));
        }
    }
    variants
}
