//! The stored status of a policy.

use headgate_contract::Condition;
use k8s_openapi::jiff::Timestamp;

/// The part of a policy's stored status that one installation writes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredStatus {
    /// `metadata.uid`: a recreated object with the same name has another one.
    pub uid: String,
    /// `metadata.resourceVersion` that was seen: a write is refused if the object has changed since.
    pub version: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// Time of the installation's last write of the conditions.
    pub written: Option<Timestamp>,
}
