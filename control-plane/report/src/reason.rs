//! Reasons of problems that no object causes: constant words for `status`, scripts and metrics. A problem of an object has the
//! reason of its [finding](headgate_model::reason).

/// A file cannot be read as written, or a part of it has no effect.
pub const FILE: &str = "File";
/// A wasm module cannot be read; the last good one is served.
pub const MODULE: &str = "Module";
/// The Kubernetes API does not answer; the last known objects stay in effect.
pub const KUBERNETES_API: &str = "KubernetesApi";
/// A kind of the Kubernetes API cannot be read, while other kinds can.
pub const KIND_UNREAD: &str = "KindUnread";
/// An object cannot be written to the Kubernetes API.
pub const KUBERNETES_WRITE: &str = "KubernetesWrite";
/// The directory of `--state` cannot be written.
pub const STATE_WRITE: &str = "StateWrite";
/// Certificate, key or bundles of the xDS port cannot be used; the last good ones stay in effect.
pub const XDS_CERTIFICATE: &str = "XdsCertificate";
/// Certificate, key or bundles of the admin port cannot be used; the last good ones stay in effect.
pub const ADMIN_CERTIFICATE: &str = "AdminCertificate";
/// Certificate, key or bundles of the listener of proxies cannot be used; the last good ones stay in effect.
pub const LISTENER_CERTIFICATE: &str = "ListenerCertificate";
/// The file of scope rules cannot be used; the last good rules stay in effect.
pub const SCOPE_FILE: &str = "ScopeFile";
/// The ServiceAccount lacks a permission that the control plane uses.
pub const MISSING_PERMISSION: &str = "MissingPermission";
/// The Kubernetes API does not have a kind that it should have, or no longer has it.
pub const NO_DEFINITION: &str = "NoDefinition";
/// The plan cannot be translated for a scope; the last good snapshot is served.
pub const NOT_TRANSLATED: &str = "NotTranslated";
/// A model or bucket is excluded because proxies would reject it.
pub const LEFT_OUT: &str = "LeftOut";
/// A namespace with models has no domain, so no proxy serves it.
pub const NO_DOMAIN: &str = "NoDomain";
/// Two replicas plan different weights for a model.
pub const REPLICAS_DIFFER: &str = "ReplicasDiffer";

/// Reasons that concern every model: files, modules, the source and its permissions, a failed translation,
/// the xDS port.
pub(super) const CONCERNING_ALL: [&str; 13] = [
    FILE,
    MODULE,
    KUBERNETES_API,
    KIND_UNREAD,
    KUBERNETES_WRITE,
    STATE_WRITE,
    XDS_CERTIFICATE,
    LISTENER_CERTIFICATE,
    SCOPE_FILE,
    MISSING_PERMISSION,
    NO_DEFINITION,
    NOT_TRANSLATED,
    LEFT_OUT,
];
