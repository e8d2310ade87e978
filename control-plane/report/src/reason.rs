//! Reasons of problems: the constant words that `status`, scripts and metrics know them by. What is found of an object has the
//! reason of its [finding](headgate_model::reason).

/// A file that is not served as written, or in which something has no effect.
pub const FILE: &str = "File";
/// A wasm module that cannot be offered; the last good one is.
pub const MODULE: &str = "Module";
/// The Kubernetes API does not answer: what is shown may be older than it looks.
pub const KUBERNETES_API: &str = "KubernetesApi";
/// A kind of the Kubernetes API that cannot be read, while others can.
pub const KIND_UNREAD: &str = "KindUnread";
/// Something cannot be written to the Kubernetes API.
pub const KUBERNETES_WRITE: &str = "KubernetesWrite";
/// The directory of --state cannot be written.
pub const STATE_WRITE: &str = "StateWrite";
/// A right that is used and was not given.
pub const MISSING_RIGHT: &str = "MissingRight";
/// A kind that the Kubernetes API should have, or had, and has not.
pub const NO_DEFINITION: &str = "NoDefinition";
/// A plan that could not be translated for a scope: its last good snapshot is served.
pub const NOT_TRANSLATED: &str = "NotTranslated";
/// A model or bucket that was left out of what is served, as proxies would refuse it.
pub const LEFT_OUT: &str = "LeftOut";
/// A namespace with models that is served to nobody.
pub const NO_DOMAIN: &str = "NoDomain";

/// Those that are about everything, and so about each model that is asked for: files, modules, the source and its rights, a
/// translation that failed.
pub(super) const OF_ALL: [&str; 10] = [
    FILE,
    MODULE,
    KUBERNETES_API,
    KIND_UNREAD,
    KUBERNETES_WRITE,
    STATE_WRITE,
    MISSING_RIGHT,
    NO_DEFINITION,
    NOT_TRANSLATED,
    LEFT_OUT,
];
