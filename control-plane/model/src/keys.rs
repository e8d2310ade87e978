//! Identities of objects: carriers, models and policies, and the keys of their labels.

use std::fmt;

use headgate_contract::{ModelId, PolicyKind, names};

/// Identity of a carrier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CarrierKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Kind in lower case: `deployment`, `service`, `pod` …
    pub kind: String,
    /// The object's name.
    pub name: String,
}

impl CarrierKey {
    /// `kind/name`: the carrier's identity in the filters' rendezvous hashing. Edits of the object do not change it.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The `kubectl` command that sets one of its labels.
    #[must_use]
    pub fn label_command(&self, label: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl label {identity} -n {namespace} {label}={value} --overwrite")
    }

    /// The `kubectl` command that sets one of its annotations. `value` must be one word of a POSIX shell: see [`quote`].
    #[must_use]
    pub fn annotate_command(&self, annotation: &str, value: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl annotate {identity} -n {namespace} {annotation}={value} --overwrite")
    }

    /// The `kubectl` command that removes one of its annotations.
    #[must_use]
    pub fn remove_annotation_command(&self, annotation: &str) -> String {
        let (identity, namespace) = (self.identity(), &self.namespace);
        format!("kubectl annotate {identity} -n {namespace} {annotation}-")
    }
}

/// A text in single quotes, as one word of a POSIX shell.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `deployment default/llama-v2`.
impl fmt::Display for CarrierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Namespace and id of a model.
pub type ModelKey = (String, ModelId);

/// Identity of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its kind.
    pub kind: PolicyKind,
    /// Kubernetes namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl PolicyId {
    /// The policy as the rules of the filters name it: `namespace/name`. All rules of one list come from one kind of policy.
    ///
    /// The filters include it in the identity of a bucket, so two policies never share a bucket.
    #[must_use]
    pub fn in_rules(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// `TokenBucketPolicy default/tenants`.
impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Keys of the three labels of a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelKeys {
    /// Names the model. Default `model-name`.
    pub model: String,
    /// Names the version. Default `model-version`.
    pub version: String,
    /// Holds the weight. Default `canary-weight`.
    pub weight: String,
}

impl Default for LabelKeys {
    fn default() -> Self {
        Self {
            model: names::LABEL_MODEL.into(),
            version: names::LABEL_VERSION.into(),
            weight: names::LABEL_WEIGHT.into(),
        }
    }
}
