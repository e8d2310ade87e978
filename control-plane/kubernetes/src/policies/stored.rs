//! The parser of stored policies: JSON of the API server → a policy, or the error of its spec.
//!
//! Invariant: only an object without a name or a namespace is refused. An object whose spec cannot be read (it was stored under an earlier
//! definition) is kept, so that its status can report the error.

use headgate_contract::{AnyPolicySpec, Condition, ConfigError, PolicyDefinition};
use headgate_model::{Policy, PolicyId};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::Controller;
use crate::object::{IDENTITY, Metadata, managers};
use crate::pruning::{Keep, Shape};

/// Field managers and the times of their last writes.
const MANAGERS: Keep = Keep::Fields(&[("manager", Keep::Scalar), ("time", Keep::Scalar)]);

/// The fields of a policy's JSON that the watch keeps. The depth of the spec exceeds that of any valid policy.
#[derive(Debug, Clone)]
pub struct PolicyShape;
impl Shape for PolicyShape {
    const KEEP: Keep = Keep::Fields(&[
        (
            "metadata",
            Keep::Joined(
                IDENTITY,
                &[("generation", Keep::Scalar), ("managedFields", MANAGERS)],
            ),
        ),
        ("spec", Keep::All(16)),
        (
            "status",
            Keep::Fields(&[("conditions", Keep::All(3)), ("controllers", Keep::All(5))]),
        ),
    ]);
}

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPolicy {
    /// Kind, namespace and name.
    pub id: PolicyId,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The policy, or the error of its spec.
    pub policy: Result<Policy, ConfigError>,
    /// The policy that is in effect if `policy` is an error and no valid one is known; see [`PolicyDefinition::if_invalid`].
    pub if_invalid: Option<Policy>,
    /// The conditions that the installation wrote. Conditions that cannot be read are left out, and so are written again.
    pub conditions: Vec<Condition>,
    /// Time of the installation's last write of the conditions.
    pub written: Option<Timestamp>,
}

impl StoredPolicy {
    /// Parses an object, and the part of its status that `controller` writes; `None` without a name or a namespace.
    #[must_use]
    pub fn read(
        definition: &PolicyDefinition,
        controller: &Controller,
        object: &Value,
    ) -> Option<Self> {
        let metadata = Metadata::read(object)?;
        let id = PolicyId {
            kind: definition.kind.clone(),
            namespace: metadata.namespace.to_owned(),
            name: metadata.name.to_owned(),
        };
        let manager = controller.manager();
        let ours = |m: &&Value| m.get("manager").and_then(Value::as_str) == Some(&manager);
        let time = |m: &Value| m.get("time")?.as_str()?.parse::<Timestamp>().ok();
        let with = |spec| Policy {
            origin: id.to_string(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: metadata.uid.to_owned(),
            created: metadata.created,
            generation: metadata.generation,
            spec,
        };
        Some(Self {
            policy: spec(definition, object).map(with),
            if_invalid: definition.if_invalid().map(with),
            id,
            uid: metadata.uid.to_owned(),
            version: metadata.resource_version.to_owned(),
            generation: metadata.generation,
            conditions: controller.conditions(object),
            written: managers(object).filter(ours).filter_map(time).max(),
        })
    }
}

fn spec(definition: &PolicyDefinition, object: &Value) -> Result<AnyPolicySpec, ConfigError> {
    let spec = object.get("spec").filter(|spec| !spec.is_null());
    let spec = spec.ok_or_else(|| ConfigError::new("spec", "is missing: a policy needs a spec"))?;
    let spec = definition.parse(spec.to_string().as_bytes());
    spec.map_err(|error| error.under("spec"))
}
