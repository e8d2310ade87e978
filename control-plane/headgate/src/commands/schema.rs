//! `headgate schema`: JSON schemas, references, CustomResourceDefinitions and RBAC manifests.

use headgate_contract::{
    AuthenticationPolicySpec, FilterConfig, ServedModelSpec, TokenBucketPolicySpec,
    TrafficTagPolicySpec,
};
use headgate_core::metrics::{FAMILIES, MetricKind};
use headgate_dialect::{Access, Api, Price};
use headgate_kubernetes::access::{self, Account, MeshAccess, Needs};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::policies;
use headgate_publisher::scope_file_schema;
use headgate_report::output::print;
use headgate_report::reference::{self, ApiOperation, FilterStatistic};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::config::{Failure, RbacConfig, SchemaOf};

/// Prints a document.
///
/// # Errors
/// The document cannot be serialized, or standard output cannot be written.
pub(crate) fn run(document: &SchemaOf) -> Result<(), Failure> {
    let schema = match document {
        SchemaOf::FilterConfig => of::<FilterConfig>(),
        SchemaOf::AuthenticationPolicy => of::<AuthenticationPolicySpec>(),
        SchemaOf::TokenBucketPolicy => of::<TokenBucketPolicySpec>(),
        SchemaOf::TrafficTagPolicy => of::<TrafficTagPolicySpec>(),
        SchemaOf::ServedModel => of::<ServedModelSpec>(),
        SchemaOf::Scopes => scope_file_schema(),
        SchemaOf::Reference => {
            let roots = [
                ("TokenBucketPolicy `spec`", of::<TokenBucketPolicySpec>()),
                ("TrafficTagPolicy `spec`", of::<TrafficTagPolicySpec>()),
                (
                    "AuthenticationPolicy `spec`",
                    of::<AuthenticationPolicySpec>(),
                ),
                ("ServedModel `spec`", of::<ServedModelSpec>()),
                ("Filter configuration", of::<FilterConfig>()),
                ("Scope rules (`serve --scopes`)", scope_file_schema()),
            ];
            let roots: Vec<_> = roots
                .iter()
                .map(|(title, schema)| (*title, schema.as_value()))
                .collect();
            return Ok(print(&reference::schemas(&roots))?);
        }
        SchemaOf::Metrics => return Ok(print(&reference::metrics(&filter_statistics()))?),
        SchemaOf::Findings => return Ok(print(&reference::findings())?),
        SchemaOf::Endpoints => return Ok(print(&reference::endpoints(&api_operations()))?),
        SchemaOf::Crds => return Ok(print(&policies::yaml(&policies::crds()?)?)?),
        SchemaOf::Rbac(config) => return Ok(print(&rbac(config)?)?),
    };
    let json = serde_json::to_string_pretty(&schema)?;
    Ok(print(&format!("{json}\n"))?)
}

fn rbac(config: &RbacConfig) -> Result<String, Failure> {
    let needs = Needs {
        kinds: config.kinds.clone(),
        policies: true,
        namespaces: config.namespaces.clone(),
        root_namespace: config.root_namespace.clone(),
        own_namespace: config.install_namespace.clone(),
        mesh: config.mesh.clone(),
        reviews_tokens: config.admin_tokens,
    };
    Kind::distinct(&needs.kinds)?;
    let account = Account {
        namespace: config.install_namespace.clone(),
        name: config.service_account.clone(),
    };
    Ok(match needs.mesh {
        MeshAccess::None => access::rbac(&needs, &account),
        MeshAccess::Read | MeshAccess::Write(_) => access::mesh_rbac(&needs, &account),
    })
}

/// The statistics of the filters, with the names that Prometheus gets.
fn filter_statistics() -> Vec<FilterStatistic> {
    let statistics = FAMILIES.iter().map(|family| FilterStatistic {
        kind: match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
        },
        name: family.name,
        labels: family.labels,
        help: family.help,
    });
    statistics.collect()
}

/// The operations of all APIs.
fn api_operations() -> Vec<ApiOperation> {
    let rows = headgate_dialect::operations().map(|operation| ApiOperation {
        api: api_name(operation.api),
        enabled_by: enabled_by(operation.api),
        name: operation.name,
        method: operation.method,
        path: operation.pattern,
        reads_body: operation.endpoint.reads_body(),
        generates: operation.endpoint.generates(),
        access: match operation.access {
            Access::Charged => match operation.endpoint.price() {
                Price::Facts => "charged",
                Price::Bytes => "charged by its bytes as they pass",
                Price::Batch => "charged `batchTokens`",
                Price::Session => "charged by minutes and bytes",
            },
            Access::Free => "free",
            Access::Management => "refused unless `allow` names it; then free",
            Access::Models => "answered by the filter",
        },
    });
    rows.collect()
}

fn api_name(api: Api) -> &'static str {
    match api {
        Api::OpenAi => "OpenAI and Azure",
        Api::Anthropic => "Anthropic",
        Api::Gemini => "Gemini",
        Api::Cohere => "Cohere",
        Api::OpenInference => "Open Inference Protocol and Triton",
        Api::KServe => "KServe v1",
        Api::Infer => "Headgate",
        Api::Ollama => "Ollama",
        Api::Tgi => "Text Generation Inference",
        Api::LlamaCpp => "llama.cpp",
        Api::SgLang => "SGLang",
        Api::Vllm => "vLLM",
    }
}

/// The entry of `apis.dialects` that enables an API.
fn enabled_by(api: Api) -> Option<&'static str> {
    Some(match api {
        Api::Ollama => "ollama",
        Api::Tgi => "tgi",
        Api::LlamaCpp => "llamacpp",
        Api::SgLang => "sglang",
        Api::Vllm => "vllm",
        _ => return None,
    })
}

fn of<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}
