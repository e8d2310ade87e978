//! Names of resources as `kubectl auth can-i` takes them.

/// `deployments.apps`, `tokenbucketpolicies.headgate.dev/status`.
pub(super) fn qualified(group: &str, resource: &str) -> String {
    let (plural, part) = match resource.split_once('/') {
        Some((plural, part)) => (plural, format!("/{part}")),
        None => (resource, String::new()),
    };
    match group {
        "" => format!("{plural}{part}"),
        group => format!("{plural}.{group}{part}"),
    }
}
