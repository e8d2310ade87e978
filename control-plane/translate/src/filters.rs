//! The filters' live configuration, as ECDS resources: the fused filter, and each stage alone.

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
use headgate_contract::{ConfigError, FilterConfig, ModelPlan, NamespaceConfig, names};
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::scope::{Code, Options, ScopeSpec};
use crate::view::Accepted;

/// One shipped module: the name it is known by over ECDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterModule {
    /// Tags and limits in one context.
    Fused,
    /// Tags alone.
    TrafficTag,
    /// Limits alone.
    TokenBucket,
}

impl FilterModule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fused, Self::TrafficTag, Self::TokenBucket];

    /// Its ECDS name, also its root id and the filter's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused => names::ECDS_FUSED,
            Self::TrafficTag => names::ECDS_TRAFFIC_TAG,
            Self::TokenBucket => names::ECDS_TOKEN_BUCKET,
        }
    }

    fn code(self, options: &Options) -> &Code {
        match self {
            Self::Fused => &options.modules.fused,
            Self::TrafficTag => &options.modules.traffic_tag,
            Self::TokenBucket => &options.modules.token_bucket,
        }
    }
}

/// The ECDS resources of a scope. The configuration has passed the filters' own parser.
pub(crate) fn all(
    accepted: &Accepted<'_>,
    scope: &ScopeSpec,
    options: &Options,
) -> Result<Vec<Resource>, ConfigError> {
    let config = Arc::new(config(accepted, scope, options));
    let json = config.emit()?;
    FilterConfig::parse(without_plans(&config).emit()?.as_bytes())?;
    FilterModule::ALL
        .into_iter()
        .map(|module| resource(module, &config, &json, options))
        .collect()
}

/// What the models have to do with each other and with the rules. Each plan passed the parser alone, so that this is
/// what is left to ask it, and a weight edit among thousands of models does not parse all of them.
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
            buckets: view.buckets.clone(),
            tagging: view.tagging.clone(),
        };
        (name.clone(), config)
    });
    FilterConfig {
        namespaces: namespaces.collect(),
        ..*config
    }
}

fn config(accepted: &Accepted<'_>, scope: &ScopeSpec, options: &Options) -> FilterConfig {
    let namespaces = accepted
        .iter()
        .map(|(name, view)| {
            let config = NamespaceConfig {
                models: view
                    .models
                    .iter()
                    .map(|(id, planned)| ((*id).clone(), planned.plan.clone()))
                    .collect::<BTreeMap<_, _>>(),
                buckets: view.buckets.iter().copied().cloned().collect(),
                tagging: view.tagging.iter().copied().cloned().collect(),
            };
            ((*name).to_owned(), config)
        })
        .collect();
    FilterConfig {
        role: scope.role(),
        retry: 0,
        max_body_bytes: options.max_body_bytes,
        namespaces,
    }
}

fn resource(
    module: FilterModule,
    config: &Arc<FilterConfig>,
    json: &str,
    options: &Options,
) -> Result<Resource, ConfigError> {
    let code = module.code(options).clone();
    let body = extension(module, &code, json.to_owned());
    let again = config.clone();
    Ok(
        Resource::new(Kind::Extension, module.name(), body.clone()).with_retry_body(move |n| {
            let mut again = FilterConfig::clone(&again);
            again.retry = n;
            // The type always has a JSON form; should it not, the refused bytes stay refused.
            again
                .emit()
                .map_or_else(|_| body.clone(), |json| extension(module, &code, json))
        }),
    )
}

fn extension(module: FilterModule, code: &Code, json: String) -> Bytes {
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
            name: module.name().to_owned(),
            root_id: module.name().to_owned(),
            configuration: Some(pack_any(StringValue { value: json })),
            failure_policy: FailurePolicy::FailReload as i32,
            allow_on_headers_stop_iteration: Some(BoolValue { value: true }),
            vm: Some(Vm::VmConfig(vm)),
            ..PluginConfig::default()
        }),
    };
    TypedExtensionConfig {
        name: module.name().to_owned(),
        typed_config: Some(pack_any(wasm)),
    }
    .encode_to_vec()
    .into()
}
