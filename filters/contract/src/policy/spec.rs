//! The interface of a kind of policies.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{PolicyKind, Target};

/// The `spec` of a kind of policies.
///
/// A new kind implements this trait and gets a row in [`POLICY_DEFINITIONS`](crate::POLICY_DEFINITIONS).
pub trait PolicySpec:
    Serialize + DeserializeOwned + HasSchema + Debug + Clone + Eq + Send + Sync + 'static
{
    /// The kind as objects spell it.
    const KIND: PolicyKind;
    /// The plural in paths of the API server, in lower case.
    const PLURAL: &'static str;
    /// The short name for `kubectl get`.
    const SHORT_NAME: &'static str;
    /// The description in the CustomResourceDefinition.
    const DESCRIPTION: &'static str;
    /// The description of `spec` there, in one sentence.
    const SPEC_DESCRIPTION: &'static str;

    /// Its `status`.
    type Status: Serialize
        + DeserializeOwned
        + HasSchema
        + Debug
        + Clone
        + PartialEq
        + Default
        + Send
        + Sync
        + 'static;

    /// The models to which the policy applies.
    fn target(&self) -> &Target;

    /// Whether it has `override`. In the root namespace it then takes precedence over the policies of other namespaces.
    fn overrides(&self) -> bool;

    /// The spec that is in effect while the spec of an object is invalid and no valid one of it is known. `None` if the object then has no
    /// effect.
    #[must_use]
    fn if_invalid() -> Option<Self> {
        None
    }
}

/// A type with a JSON schema, if the feature `schema` is enabled. Without the feature: any type.
#[cfg(feature = "schema")]
pub trait HasSchema: schemars::JsonSchema {}
#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> HasSchema for T {}

/// A type with a JSON schema, if the feature `schema` is enabled. Without the feature: any type.
#[cfg(not(feature = "schema"))]
pub trait HasSchema {}
#[cfg(not(feature = "schema"))]
impl<T> HasSchema for T {}
