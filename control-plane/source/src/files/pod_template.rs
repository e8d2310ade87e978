//! The place of the pod template in a workload.

use serde_json::Value;

/// The place in most kinds.
const DEFAULT_PLACE: &str = "/spec/template";

/// Kinds with other places: JSON pointers; the first that exists counts.
const EXCEPTIONS: [(&str, &[&str]); 1] = [(
    "LeaderWorkerSet",
    // Leaders serve, and are created from the workers' template if they have none.
    &[
        "/spec/leaderWorkerTemplate/leaderTemplate",
        "/spec/leaderWorkerTemplate/workerTemplate",
    ],
)];

/// JSON pointers of the pod templates of an object; the first is that of the pods that serve.
pub(super) fn pod_templates(object: &Value) -> impl Iterator<Item = &'static str> {
    let kind = object.get("kind").and_then(Value::as_str);
    let exceptions = EXCEPTIONS.iter().filter(move |(of, _)| kind == Some(of));
    let all = exceptions.flat_map(|(_, pointers)| *pointers).copied();
    let all = all.chain([DEFAULT_PLACE]);
    all.filter(|pointer| object.pointer(pointer).is_some_and(Value::is_object))
}

/// JSON pointer of the template of the pods that serve; `/spec/template` if the object has none.
pub(super) fn pod_template(object: &Value) -> &'static str {
    pod_templates(object).next().unwrap_or(DEFAULT_PLACE)
}

/// A JSON pointer in messages: `spec.template`.
pub(super) fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}
