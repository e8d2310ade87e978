//! ECDS resources with the filters' live configuration: one filter for both stages, and one for each stage alone; each of them for
//! a hop that decides, and for one that follows. A proxy may run both: a sidecar decides for what its application sends, and follows
//! for what it receives.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::async_data_source;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{AsyncDataSource, DataSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::extensions::wasm::v3::{FailurePolicy, PluginConfig, VmConfig};
use envoy_types::pb::google::protobuf::{BoolValue, StringValue};
use envoy_types::util::pack_any;
use headgate_contract::{
    ConfigError, FilterConfig, ModelPlan, NamespaceConfig, Role, Stages, names,
};
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::scope::{Code, Options, ScopeSpec};
use crate::view::Accepted;

/// A filter that a proxy can request over ECDS: `headgate.wasm` with these stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Its ECDS name, also its root id and the filter's name.
    pub name: &'static str,
    /// The stages that it runs.
    pub stages: Stages,
    /// The role of its hop.
    pub role: Role,
}

/// The filters.
pub const FILTERS: [Filter; 6] = [
    Filter::new(names::ECDS_FUSED, Stages::ALL, Role::Decide),
    Filter::new(names::ECDS_TRAFFIC_TAG, Stages::TAG, Role::Decide),
    Filter::new(names::ECDS_TOKEN_BUCKET, Stages::LIMIT, Role::Decide),
    Filter::new(names::ECDS_FUSED_FOLLOW, Stages::ALL, Role::Follow),
    Filter::new(names::ECDS_TRAFFIC_TAG_FOLLOW, Stages::TAG, Role::Follow),
    Filter::new(names::ECDS_TOKEN_BUCKET_FOLLOW, Stages::LIMIT, Role::Follow),
];

impl Filter {
    const fn new(name: &'static str, stages: Stages, role: Role) -> Self {
        Self { name, stages, role }
    }
}

/// The ECDS resources of a scope. The configuration has passed the filters' own parser.
pub(crate) fn all(
    accepted: &Accepted<'_>,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Vec<Resource>, ConfigError> {
    let config = Arc::new(config(accepted, scope, options));
    FilterConfig::parse(without_plans(&config).emit()?.as_bytes())?;
    let emitted = config.emit_with(FILTERS.map(|filter| (Some(filter.stages), filter.role)))?;
    let filters = FILTERS.into_iter().zip(emitted);
    Ok(filters
        .map(|(filter, json)| resource(filter, &config, json, &options.module))
        .collect())
}

/// The configuration without plans: what relates the models to each other and to the rules. Each plan passed the parser alone,
/// so only this is left to check, and a weight edit among thousands of models does not parse all of them.
fn without_plans(config: &FilterConfig) -> FilterConfig {
    let only_names = |plan: &ModelPlan| ModelPlan {
        names: plan.names.clone(),
        ..ModelPlan::default()
    };
    let namespaces = config.namespaces.iter().map(|(name, view)| {
        let models = view.models.iter();
        let config = NamespaceConfig {
            models: models
                .map(|(id, plan)| (id.clone(), only_names(plan)))
                .collect(),
            hosts: view.hosts.clone(),
            buckets: view.buckets.clone(),
            tagging: view.tagging.clone(),
        };
        (name.clone(), config)
    });
    FilterConfig {
        version_label: config.version_label.clone(),
        namespaces: namespaces.collect(),
        ..*config
    }
}

fn config(accepted: &Accepted<'_>, scope: &ScopeSpec, options: &Options) -> FilterConfig {
    let namespaces = accepted
        .iter()
        .map(|(name, view)| {
            let config = NamespaceConfig {
                hosts: view.hosts.iter().copied().cloned().collect(),
                models: view
                    .models
                    .iter()
                    .map(|(id, planned)| {
                        (
                            (*id).clone(),
                            planned.plan_for(scope.mesh.is_some()).clone(),
                        )
                    })
                    .collect::<BTreeMap<_, _>>(),
                buckets: view.buckets.iter().copied().cloned().collect(),
                tagging: view.tagging.iter().copied().cloned().collect(),
            };
            ((*name).to_owned(), config)
        })
        .collect();
    FilterConfig {
        max_body_bytes: options.max_body_bytes,
        version_label: options.version_label.clone(),
        namespaces,
        ..FilterConfig::default()
    }
}

fn resource(filter: Filter, config: &Arc<FilterConfig>, json: String, code: &Code) -> Resource {
    let body = extension(filter, code, json);
    let (again, code) = (config.clone(), code.clone());
    Resource::new(Kind::Extension, filter.name, body.clone()).with_retry_body(move |n| {
        let again = FilterConfig {
            stages: Some(filter.stages),
            role: filter.role,
            retry: n,
            ..FilterConfig::clone(&again)
        };
        // The type always has a JSON form; should it not, the refused bytes stay refused.
        again
            .emit()
            .map_or_else(|_| body.clone(), |json| extension(filter, &code, json))
    })
}

fn extension(filter: Filter, code: &Code, json: String) -> Bytes {
    let specifier = match code {
        Code::File(path) => Specifier::Filename(path.clone()),
        Code::Inline(bytes) => Specifier::InlineBytes(bytes.to_vec()),
    };
    let vm = VmConfig {
        vm_id: names::VM_ID.to_owned(),
        runtime: "envoy.wasm.runtime.v8".to_owned(),
        code: Some(AsyncDataSource {
            specifier: Some(async_data_source::Specifier::Local(DataSource {
                specifier: Some(specifier),
                ..DataSource::default()
            })),
        }),
        ..VmConfig::default()
    };
    let wasm = Wasm {
        config: Some(PluginConfig {
            name: filter.name.to_owned(),
            root_id: filter.name.to_owned(),
            configuration: Some(pack_any(StringValue { value: json })),
            failure_policy: FailurePolicy::FailReload as i32,
            allow_on_headers_stop_iteration: Some(BoolValue { value: true }),
            vm: Some(Vm::VmConfig(vm)),
            ..PluginConfig::default()
        }),
    };
    TypedExtensionConfig {
        name: filter.name.to_owned(),
        typed_config: Some(pack_any(wasm)),
    }
    .encode_to_vec()
    .into()
}
