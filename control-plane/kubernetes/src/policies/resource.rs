//! The CustomResourceDefinition of a kind of policies, made from its row in the contract's table of kinds.
//!
//! Invariant: people write `spec`, the control plane writes `status`.

use headgate_contract::PolicyDefinition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation, JSONSchemaProps,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::schema::{OptionalEnum, OptionalIntOrString, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::json;

use crate::access;

/// The definition of this kind.
///
/// # Errors
/// A schema that Kubernetes does not support, which would be a bug.
pub(super) fn crd(
    definition: &PolicyDefinition,
) -> Result<CustomResourceDefinition, serde_json::Error> {
    let watchable = access::policy(definition);
    let resource = watchable.resource();
    let text = str::to_owned;
    let version = CustomResourceDefinitionVersion {
        name: resource.version.clone(),
        served: true,
        storage: true,
        additional_printer_columns: Some(columns()),
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(schema(definition)?),
        }),
        subresources: Some(CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus(json!({}))),
            scale: None,
        }),
        ..CustomResourceDefinitionVersion::default()
    };
    Ok(CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(watchable.name(None)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: resource.group.clone(),
            names: CustomResourceDefinitionNames {
                kind: resource.kind.clone(),
                plural: resource.plural.clone(),
                singular: Some(resource.kind.to_ascii_lowercase()),
                short_names: Some(vec![text(definition.short_name)]),
                categories: Some(vec![text("headgate")]),
                ..CustomResourceDefinitionNames::default()
            },
            scope: text("Namespaced"),
            versions: vec![version],
            ..CustomResourceDefinitionSpec::default()
        },
        ..CustomResourceDefinition::default()
    })
}

/// The schema of an object, without references. The settings are those of kube's derive macro, which makes the schema of `ServedModel`.
fn schema(definition: &PolicyDefinition) -> Result<JSONSchemaProps, serde_json::Error> {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut generator = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(OptionalIntOrString)
        .into_generator();
    let mut spec = definition.spec_schema(&mut generator);
    spec.insert("description".into(), definition.spec_description.into());
    let mut schema = schemars::json_schema!({
        "title": definition.kind,
        "description": definition.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": spec,
            "status": definition.status_schema(&mut generator),
        },
    });
    for transform in generator.transforms_mut() {
        transform.transform(&mut schema);
    }
    serde_json::from_value(schema.to_value())
}

/// The columns of `kubectl get`.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    let column = |name: &str, type_: &str, path: &str| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: path.to_owned(),
        ..CustomResourceColumnDefinition::default()
    };
    let condition = |name, kind, field| {
        let path = format!(r#".status.conditions[?(@.type=="{kind}")].{field}"#);
        column(name, "string", &path)
    };
    vec![
        condition("Accepted", "Accepted", "status"),
        condition("Programmed", "Programmed", "status"),
        CustomResourceColumnDefinition {
            // Only `-o wide` shows it.
            priority: Some(1),
            ..condition("Message", "Programmed", "message")
        },
        column("Age", "date", ".metadata.creationTimestamp"),
    ]
}
