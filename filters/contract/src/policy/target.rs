//! Targets of policies: the models to which a policy applies.
//!
//! Invariant: a [`Target`] is one of the three fields in which a policy can name its models, or none of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ModelId, ObjectName, Version};

/// Most objects in `targetRefs`.
pub(super) const MAX_REFS: usize = 64;
/// Most ids in `models`.
pub(super) const MAX_MODELS: usize = 256;
/// Most labels in a selector.
const MAX_LABELS: usize = 32;

/// The models to which a policy applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// Every model of the namespace; in the root namespace, of every namespace.
    #[default]
    All,
    /// These model ids.
    Models(Vec<ModelId>),
    /// Models one of whose carriers has all these labels.
    Selector(Selector),
    /// The models that these objects of the policy's namespace carry.
    Refs(Vec<TargetRef>),
}

/// Labels a carrier must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// All of them, with exactly these values. 1–32.
    #[cfg_attr(
        feature = "schema",
        schemars(extend("minProperties" = 1, "maxProperties" = MAX_LABELS))
    )]
    pub match_labels: BTreeMap<String, String>,
}

/// An object that carries a model, or selects the pods of carriers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "raw::TargetRef", into = "raw::TargetRef")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "raw::TargetRef"))]
pub struct TargetRef {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name, in the policy's namespace.
    pub name: ObjectName,
    /// Only this version of its models.
    pub version: Option<Version>,
}

/// The kinds of objects that a policy can target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TargetKind {
    /// A Service, of the core group.
    Service,
    /// A Deployment of `apps`.
    Deployment,
    /// An InferencePool of `inference.networking.k8s.io`.
    InferencePool,
}

impl TargetKind {
    /// The kind as objects spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::InferencePool => "InferencePool",
        }
    }

    /// Its API group; the core group is empty.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Service => "",
            Self::Deployment => "apps",
            Self::InferencePool => "inference.networking.k8s.io",
        }
    }
}

/// `Deployment llama-v2`, and ` version v2` where it has one.
impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)?;
        match &self.version {
            Some(version) => write!(f, " version {version}"),
            None => Ok(()),
        }
    }
}

/// The three fields. A policy has at most one of them.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) refs: Option<Vec<TargetRef>>,
    pub(super) models: Option<Vec<ModelId>>,
    pub(super) selector: Option<Selector>,
}

impl TryFrom<Fields> for Target {
    type Error = String;
    fn try_from(fields: Fields) -> Result<Self, String> {
        match (fields.refs, fields.models, fields.selector) {
            (None, None, None) => Ok(Self::All),
            (Some(refs), None, None) => {
                counted("targetRefs", refs.len(), MAX_REFS)?;
                Ok(Self::Refs(refs))
            }
            (None, Some(models), None) => {
                counted("models", models.len(), MAX_MODELS)?;
                Ok(Self::Models(models))
            }
            (None, None, Some(selector)) => {
                counted("selector.matchLabels", selector.match_labels.len(), MAX_LABELS)?;
                Ok(Self::Selector(selector))
            }
            _ => Err("`targetRefs`, `models` and `selector` exclude each other: keep one of them, or none for all models".into()),
        }
    }
}

impl From<Target> for Fields {
    fn from(target: Target) -> Self {
        let mut fields = Self::default();
        match target {
            Target::All => {}
            Target::Models(models) => fields.models = Some(models),
            Target::Selector(selector) => fields.selector = Some(selector),
            Target::Refs(refs) => fields.refs = Some(refs),
        }
        fields
    }
}

fn counted(field: &str, len: usize, most: usize) -> Result<(), String> {
    match len {
        0 => Err(format!(
            "`{field}` is empty, so the policy would match nothing: give at least one, or remove it for all models"
        )),
        n if n > most => Err(format!("`{field}` has {n} entries: give at most {most}")),
        _ => Ok(()),
    }
}

mod raw {
    use serde::{Deserialize, Serialize};

    use super::TargetKind;
    use crate::{ObjectName, Version};

    /// An object of the policy's namespace that carries a model, or selects the pods of carriers.
    #[derive(Serialize, Deserialize)]
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    #[cfg_attr(feature = "schema", schemars(rename = "TargetRef"))]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = crate::rules::of(&[(
        "!has(self.group) || self.group == {'Service': '', 'Deployment': 'apps', 'InferencePool': 'inference.networking.k8s.io'}[self.kind]",
        "the group of a Service is \"\", of a Deployment \"apps\", of an InferencePool \"inference.networking.k8s.io\": remove `group`, or write that",
    )]))))]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(super) struct TargetRef {
        /// The API group of `kind`: the default, and the only valid value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(length(max = 253)))]
        group: Option<String>,
        /// Its kind.
        kind: TargetKind,
        /// Its name.
        name: ObjectName,
        /// A version. The policy applies to this version of the object's models only. Default: all versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section_name: Option<Version>,
    }

    impl TryFrom<TargetRef> for super::TargetRef {
        type Error = String;
        fn try_from(raw: TargetRef) -> Result<Self, String> {
            match raw.group {
                Some(group) if group != raw.kind.group() => Err(format!(
                    "`group` of a {} is {:?}: remove it, or write that",
                    raw.kind.as_str(),
                    raw.kind.group()
                )),
                _ => Ok(Self {
                    kind: raw.kind,
                    name: raw.name,
                    version: raw.section_name,
                }),
            }
        }
    }

    impl From<super::TargetRef> for TargetRef {
        fn from(target: super::TargetRef) -> Self {
            Self {
                group: Some(target.kind.group().to_owned()),
                kind: target.kind,
                name: target.name,
                section_name: target.version,
            }
        }
    }
}
