//! The configuration of the filter while the control plane cannot be reached: names, policies and the base of each model.
//!
//! Invariant: it depends on no weight, no endpoint and no canary, so that it rarely changes, and a proxy that starts without the control
//! plane never sends a session to a canary that was rolled back long ago.

use std::collections::{BTreeMap, BTreeSet};

use headgate_contract::{
    CarrierShare, Decimal, FilterConfig, ModelId, ModelPlan, NamespaceConfig, Role, VersionShare,
};
use headgate_model::{Plan, PlannedModel};
use serde_json::Value;

use crate::fields::list;
use crate::object::Context;
use crate::options::Options;

/// The configuration for these namespaces.
pub(crate) fn default_config<'n>(
    plan: &Plan,
    namespaces: impl IntoIterator<Item = &'n str>,
    context: Context,
    options: &Options,
) -> FilterConfig {
    let namespaces = namespaces.into_iter().filter_map(|name| {
        let planned = plan.namespaces.get(name)?;
        let models = planned.models.iter();
        let config = NamespaceConfig {
            models: models
                .map(|(id, model)| (id.clone(), base_alone(model)))
                .collect(),
            ..planned.config.clone()
        };
        Some((name.to_owned(), config))
    });
    FilterConfig {
        role: match context {
            Context::SidecarInbound => Role::Follow,
            Context::SidecarOutbound | Context::Gateway => Role::Decide,
        },
        max_body_bytes: options.max_body_bytes,
        version_label: options.keys.version.clone(),
        namespaces: namespaces.collect::<BTreeMap<_, _>>(),
        ..FilterConfig::default()
    }
}

/// The base of a model, each version with one endpoint. A model without a base has its canaries instead, else its dark carriers.
fn base_alone(model: &PlannedModel) -> ModelPlan {
    let plan = model.plan_for(true);
    let shares = |carriers: &[CarrierShare]| -> Vec<CarrierShare> {
        let carriers = carriers.iter();
        carriers
            .map(|carrier| alone(&carrier.carrier, &carrier.versions))
            .collect()
    };
    let mut base = shares(&plan.base);
    if base.is_empty() {
        base = shares(&plan.canaries);
    }
    if base.is_empty() {
        let dark = plan.dark.iter();
        base = dark
            .map(|carrier| alone(&carrier.carrier, &carrier.versions))
            .collect();
    }
    ModelPlan {
        names: plan.names.clone(),
        default_max_tokens: plan.default_max_tokens,
        served_names: plan.served_names.clone(),
        unrouted: plan.unrouted.clone(),
        base,
        ..ModelPlan::default()
    }
}

fn alone(carrier: &str, versions: &[VersionShare]) -> CarrierShare {
    let versions = versions.iter().map(|share| VersionShare {
        version: share.version.clone(),
        endpoints: 1,
    });
    CarrierShare {
        carrier: carrier.to_owned(),
        weight: Decimal::whole(1),
        versions: versions.collect(),
    }
}

/// The models to which the default configuration of an insertion can send requests, and whether by their version. A proxy that starts
/// without the control plane refuses the requests of others, so a model that gets its first version, or the first one with a route, does
/// not wait.
pub(crate) fn served_models(spec: &Value) -> BTreeSet<(String, ModelId, bool)> {
    let patches = list(spec, "configPatches");
    let mut defaults = patches.filter_map(|patch| patch.pointer(DEFAULT_CONFIG));
    let text =
        defaults.find_map(|default| default.pointer("/config/configuration/value")?.as_str());
    let config = text.and_then(|text| FilterConfig::parse(text.as_bytes()).ok());
    let namespaces = config.into_iter().flat_map(|config| config.namespaces);
    let models = namespaces.flat_map(|(namespace, config)| {
        let models = config.models.into_iter();
        models.flat_map(move |(id, model)| {
            let versions = model.versions();
            let routed = versions.map(|share| !model.unrouted.contains(&share.version));
            let routed: BTreeSet<bool> = routed.collect();
            let of = |routed| (namespace.clone(), id.clone(), routed);
            routed.into_iter().map(of).collect::<Vec<_>>()
        })
    });
    models.collect()
}

/// The default configuration in the patch that inserts the filter.
const DEFAULT_CONFIG: &str = "/patch/value/config_discovery/default_config";

/// Whether two insertions differ in the default configuration alone.
pub(crate) fn same_but_default_config(one: &Value, other: &Value) -> bool {
    let without = |spec: &Value| {
        let mut spec = spec.clone();
        let patches = spec.get_mut("configPatches").and_then(Value::as_array_mut);
        for patch in patches.into_iter().flatten() {
            if let Some(default) = patch.pointer_mut(DEFAULT_CONFIG) {
                *default = Value::Null;
            }
        }
        spec
    };
    without(one) == without(other)
}
