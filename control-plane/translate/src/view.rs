//! The accepted part of a plan.

use std::collections::BTreeMap;

use headgate_contract::{BucketRule, ModelId, TagRule};
use headgate_model::{Authentication, PlannedModel};

/// The accepted part of one namespace.
pub(crate) struct View<'a> {
    pub(crate) hosts: Vec<&'a String>,
    pub(crate) models: BTreeMap<&'a ModelId, &'a PlannedModel>,
    pub(crate) buckets: Vec<&'a BucketRule>,
    pub(crate) tagging: Vec<&'a TagRule>,
    /// `None`: anybody may send requests.
    pub(crate) authentication: Option<&'a Authentication>,
}

/// The accepted part of each namespace of a scope, by namespace.
pub(crate) type Accepted<'a> = BTreeMap<&'a str, View<'a>>;
