//! `headgate schema`: JSON schemas, references, CustomResourceDefinitions and RBAC manifests.

use headgate_contract::{
    AuthenticationPolicySpec, FilterConfig, ServedModelSpec, TokenBucketPolicySpec,
    TrafficTagPolicySpec,
};
use headgate_core::metrics::{FAMILIES, MetricKind};
use headgate_kubernetes::access::{self, Account, MeshAccess, Needs};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::policies;
use headgate_publisher::scope_file_schema;
use headgate_report::output::print;
use headgate_report::reference::{self, FilterStatistic};
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

fn of<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}
