//! The table of the kinds of policies.

#[cfg(feature = "schema")]
use schemars::{Schema, SchemaGenerator};

use super::{
    AnyPolicySpec, AuthenticationPolicySpec, PolicyKind, PolicySpec, TokenBucketPolicySpec,
    TrafficTagPolicySpec,
};
use crate::{ConfigError, parse_json};

/// Every kind of policies, in the order of their names.
pub static POLICY_DEFINITIONS: [PolicyDefinition; 3] = [
    PolicyDefinition::of::<AuthenticationPolicySpec>(),
    PolicyDefinition::of::<TokenBucketPolicySpec>(),
    PolicyDefinition::of::<TrafficTagPolicySpec>(),
];

/// A kind of policies, as a value.
#[derive(Debug)]
pub struct PolicyDefinition {
    /// See [`PolicySpec::KIND`].
    pub kind: PolicyKind,
    /// See [`PolicySpec::PLURAL`].
    pub plural: &'static str,
    /// See [`PolicySpec::SHORT_NAME`].
    pub short_name: &'static str,
    /// See [`PolicySpec::DESCRIPTION`].
    pub description: &'static str,
    /// See [`PolicySpec::SPEC_DESCRIPTION`].
    pub spec_description: &'static str,
    parse: fn(&[u8]) -> Result<AnyPolicySpec, ConfigError>,
    if_invalid: fn() -> Option<AnyPolicySpec>,
    #[cfg(feature = "schema")]
    spec_schema: fn(&mut SchemaGenerator) -> Schema,
    #[cfg(feature = "schema")]
    status_schema: fn(&mut SchemaGenerator) -> Schema,
}

impl PolicyDefinition {
    const fn of<S: PolicySpec>() -> Self {
        Self {
            kind: S::KIND,
            plural: S::PLURAL,
            short_name: S::SHORT_NAME,
            description: S::DESCRIPTION,
            spec_description: S::SPEC_DESCRIPTION,
            parse: |json| parse_json::<S>(json).map(AnyPolicySpec::new),
            if_invalid: || S::if_invalid().map(AnyPolicySpec::new),
            #[cfg(feature = "schema")]
            spec_schema: |generator| generator.subschema_for::<S>(),
            #[cfg(feature = "schema")]
            status_schema: |generator| generator.subschema_for::<S::Status>(),
        }
    }

    /// The kind with this name; `None` if this release has no such kind.
    #[must_use]
    pub fn find(kind: &str) -> Option<&'static Self> {
        POLICY_DEFINITIONS
            .iter()
            .find(|definition| definition.kind.as_str() == kind)
    }

    /// Parses the JSON of a `spec`.
    ///
    /// # Errors
    /// [`ConfigError`] with the JSON path within the `spec` and the fix.
    pub fn parse(&self, json: &[u8]) -> Result<AnyPolicySpec, ConfigError> {
        (self.parse)(json)
    }

    /// See [`PolicySpec::if_invalid`].
    #[must_use]
    pub fn if_invalid(&self) -> Option<AnyPolicySpec> {
        (self.if_invalid)()
    }

    /// The schema of `spec`. `generator` decides whether it is inlined or a reference.
    #[cfg(feature = "schema")]
    pub fn spec_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.spec_schema)(generator)
    }

    /// The schema of `status`, likewise.
    #[cfg(feature = "schema")]
    pub fn status_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.status_schema)(generator)
    }
}
