//! Reasons why a pod is not ready, in the words of Kubernetes.
//!
//! Invariant: a reason contains no pod name and no time, so pods with the same cause share one message.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::declared::{list, text};

/// Longest trouble, in characters.
const LONGEST: usize = 200;
/// Troubles of a carrier.
pub(super) const MOST: usize = 3;

/// Reasons why a pod is not ready.
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
        unready_reasons.insert(said(reason, text(condition, "/message")));
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
            // Every container starts so.
            "ContainerCreating" | "PodInitializing" => None,
            // Its message counts down, and names the pod.
            "CrashLoopBackOff" => Some(match ended(status, "/lastState/terminated") {
                Some(ended) => format!("CrashLoopBackOff: {ended}"),
                None => reason.to_owned(),
            }),
            _ => Some(said(reason, text(status, "/state/waiting/message"))),
        };
    }
    let ended = ended(status, "/state/terminated")?;
    Some(format!("Terminated: {ended}"))
}

/// How a container ended, where it did not end well.
fn ended(status: &Value, pointer: &str) -> Option<String> {
    let ended = status.pointer(pointer)?;
    let reason = text(ended, "/reason").unwrap_or("Error");
    let code = ended.get("exitCode").and_then(Value::as_i64)?;
    (code != 0).then(|| format!("{reason}, exit code {code}"))
}

fn said(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// The text with `POD` for a name, where it stands as a word.
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

/// On one line, and cut.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    let cut: String = line.chars().take(LONGEST - 1).collect();
    format!("{}…", cut.trim_end())
}
