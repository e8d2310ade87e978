//! The status of a policy as it is stored.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

/// The stored status of a policy, restricted to what one installation writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredStatus {
    /// `metadata.uid`: a recreated object with the same name has another one.
    pub uid: String,
    /// `metadata.resourceVersion` that was seen: a write is refused if the object has changed since.
    pub version: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// When a control plane wrote them last.
    pub written: Option<Timestamp>,
}
