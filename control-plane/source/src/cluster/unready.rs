//! Reasons why a pod is not ready, in the terms of Kubernetes.
//!
//! Invariant: a reason contains no pod name and no time, so pods with the same cause share one message.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::declared::{list, text};

/// Longest reason, in characters.
const LONGEST: usize = 200;
/// Most reasons of a carrier.
pub(super) const MAX_REASONS: usize = 3;

/// The reasons of a pod that is not ready.
pub(super) fn of_pod(value: &Value) -> Vec<String> {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = statuses.iter().flat_map(|pointer| list(value, pointer));
    let mut unready_reasons: BTreeSet<String> = statuses.filter_map(of_container).collect();
    let condition = |kind: &str| {
        let conditions = list(value, "/status/conditions").iter();
        let mut of_kind = conditions.filter(|c| text(c, "/type") == Some(kind));
        of_kind.find(|c| text(c, "/status") == Some("False"))
    };
    let scheduled = condition("PodScheduled");
    if let Some(condition) =
        scheduled.or_else(|| condition("Ready").filter(|_| unready_reasons.is_empty()))
    {
        let reason = text(condition, "/reason").unwrap_or("NotReady");
        unready_reasons.insert(reason_with_message(reason, text(condition, "/message")));
    }
    let name = text(value, "/metadata/name").unwrap_or_default();
    let uid = text(value, "/metadata/uid").unwrap_or_default();
    unready_reasons
        .into_iter()
        .map(|trouble| short(&without(&without(&trouble, name), uid)))
        .collect()
}

fn of_container(status: &Value) -> Option<String> {
    if let Some(reason) = text(status, "/state/waiting/reason") {
        return match reason {
            // The normal start of a container.
            "ContainerCreating" | "PodInitializing" => None,
            // Its message counts down, and names the pod.
            "CrashLoopBackOff" => Some(match ended(status, "/lastState/terminated") {
                Some(ended) => format!("CrashLoopBackOff: {ended}"),
                None => reason.to_owned(),
            }),
            _ => Some(reason_with_message(
                reason,
                text(status, "/state/waiting/message"),
            )),
        };
    }
    let ended = ended(status, "/state/terminated")?;
    Some(format!("Terminated: {ended}"))
}

/// Reason and exit code of a container that failed.
fn ended(status: &Value, pointer: &str) -> Option<String> {
    let ended = status.pointer(pointer)?;
    let reason = text(ended, "/reason").unwrap_or("Error");
    let code = ended.get("exitCode").and_then(Value::as_i64)?;
    (code != 0).then(|| format!("{reason}, exit code {code}"))
}

fn reason_with_message(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// Replaces a name by `POD` where it is a whole word.
fn without(text: &str, name: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, from) = rest.split_at(at);
        let after = from.get(name.len()..).unwrap_or_default();
        let apart = !before.ends_with(inner) && !after.starts_with(inner);
        all.push_str(before);
        all.push_str(if apart { "POD" } else { name });
        rest = after;
    }
    all.push_str(rest);
    all
}

/// Joins lines and truncates.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    let cut: String = line.chars().take(LONGEST - 1).collect();
    format!("{}…", cut.trim_end())
}
