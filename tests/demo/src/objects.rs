//! What an operator reads and writes with `kubectl`: refusals where they are typed, Events, the status of policies.
//!
//! These claims need a stage on a Kubernetes API.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{KubeError, Typed};
use headgate_testkit::stage::{Cluster, Stage, StageError};
use serde_json::Value;

use crate::canary::{CANARY, WORKLOAD};
use crate::claim::{Claim, Claimed};
use crate::traffic::MODEL;
use crate::versions::NEW;

/// What [`bad_weight_is_refused`] claims.
pub const REFUSED: Claim =
    Claim("a weight that nobody could follow is refused where it is typed, and moves nothing");
/// What [`held_version_has_its_event`] claims.
pub const EVENT: Claim =
    Claim("a version that is held says so on its own object, with the command that changes it");
/// What [`policies_are_programmed`] claims.
pub const PROGRAMMED: Claim =
    Claim("a policy's status tells that every proxy runs it, so `kubectl wait` can be used");
/// What [`policy_that_matches_nothing_says_so`] claims.
pub const UNMATCHED: Claim = Claim("a policy that matches no model says so in its status");

/// Longer than an API server takes to hear of a policy of its own, and than status may be held back.
const TOLD: Duration = Duration::from_secs(60);
/// What the admission policy answers.
const FIX: &str = "write a whole number from 0 to 100";

/// The API of a stage that must have one.
pub(crate) fn cluster(claim: Claim, stage: &Stage) -> Claimed<&Cluster> {
    claim.found("a Kubernetes API", stage.cluster())
}

/// A label that the API server did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLabel {
    /// What was typed.
    pub line: String,
    /// What was answered.
    pub said: String,
}

/// Types `canary-weight=150`.
///
/// # Errors
/// The claim does not hold.
pub async fn bad_weight_is_refused(stage: &Stage) -> Claimed<RefusedLabel> {
    let cluster = cluster(REFUSED, stage)?;
    let line = format!("kubectl label deploy/{WORKLOAD} canary-weight=150 --overwrite");
    // An API server takes a moment to hear of a new admission policy: until then nothing may be typed for good.
    let dry = format!("{line} --dry-run=server");
    let in_force = eventually(
        TOLD,
        "the admission policy to be in force",
        async || match cluster.kubectl(&dry).await {
            Ok(typed) => Err(typed.output),
            Err(_) => Ok(()),
        },
    );
    REFUSED.seen("the admission policy", in_force.await)?;

    let before = weight(stage).await?;
    let said = match cluster.kubectl(&line).await {
        Ok(typed) => Err(REFUSED.broken(typed.output)),
        Err(StageError::Kube(KubeError::Refused { stderr, .. })) => Ok(stderr.trim().to_owned()),
        Err(other) => Err(REFUSED.broken(other)),
    }?;
    REFUSED.ensure(said.contains(FIX), || said.clone())?;
    let after = weight(stage).await?;
    REFUSED.ensure((before - after).abs() < 1e-9, || {
        format!("the weight was {before} % and is {after} %")
    })?;
    Ok(RefusedLabel { line, said })
}

async fn weight(stage: &Stage) -> Claimed<f64> {
    let status = REFUSED.seen("status", stage.status().await)?;
    let version = status.version(MODEL, CANARY);
    Ok(REFUSED
        .found("the canary in status", version)?
        .weight_wanted)
}

/// Reads the Event of the version that is held ([`crate::versions::new_version_is_held`] applied it): the lines of
/// `kubectl describe` that show it.
///
/// # Errors
/// The claim does not hold.
pub async fn held_version_has_its_event(stage: &Stage) -> Claimed<Typed> {
    let cluster = cluster(EVENT, stage)?;
    let workload = format!("{MODEL}-{NEW}");
    let line = format!("kubectl describe deploy/{workload}");
    let advice = format!("kubectl label deployment/{workload}");
    let shown = eventually(TOLD, "the Event", async || {
        let mut typed = cluster.kubectl(&line).await.map_err(|e| e.to_string())?;
        typed.output = section(&typed.output, "Events:");
        if typed.output.contains("VersionHeld") && typed.output.contains(&advice) {
            return Ok(typed);
        }
        Err(typed.output)
    });
    EVENT.seen("kubectl describe", shown.await)
}

/// What `kubectl` shows of policies that every proxy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programmed {
    /// What was waited for.
    pub waited: Typed,
    /// The table of policies.
    pub table: Typed,
    /// One of them, described: its status.
    pub described: Typed,
}

/// Waits with `kubectl wait` until every policy is programmed, and reads one.
///
/// # Errors
/// The claim does not hold, also when a condition is about an older generation than the object is.
pub async fn policies_are_programmed(stage: &Stage) -> Claimed<Programmed> {
    let cluster = cluster(PROGRAMMED, stage)?;
    let kubectl = async |line: &str| PROGRAMMED.seen(line, cluster.kubectl(line).await);
    let waited = kubectl("kubectl wait --for=condition=Programmed tokenbucketpolicies,traffictagpolicies --all --timeout=60s").await?;
    let table = kubectl("kubectl get tokenbucketpolicies").await?;
    let mut described = kubectl("kubectl describe tokenbucketpolicy/free-tier").await?;
    described.output = section(&described.output, "Status:");
    let json = kubectl("kubectl get tokenbucketpolicies,traffictagpolicies -o json").await?;
    let list: Value = PROGRAMMED.seen("the list", serde_json::from_str(&json.output))?;
    let policies = PROGRAMMED.found("policies", list["items"].as_array())?;
    PROGRAMMED.ensure(policies.len() == 4, || {
        format!("{} policies", policies.len())
    })?;
    for policy in policies {
        for kind in ["Accepted", "ResolvedRefs", "Programmed"] {
            let condition = condition(policy, kind);
            let current = condition["observedGeneration"] == policy["metadata"]["generation"];
            PROGRAMMED.ensure(condition["status"] == "True" && current, || {
                format!("{}: {kind} is {condition}", policy["metadata"]["name"])
            })?;
        }
    }
    Ok(Programmed {
        waited,
        table,
        described,
    })
}

const TYPO: &str = "apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata: { name: typo }
spec:
  models: [lama3-70b]
  buckets: [{ name: per-tenant, key: [tenant], profile: semantic }]
";

/// Applies a policy whose model is misspelt; returns what its status says. The policy is gone afterwards.
///
/// # Errors
/// The claim does not hold.
pub async fn policy_that_matches_nothing_says_so(stage: &Stage) -> Claimed<String> {
    let cluster = cluster(UNMATCHED, stage)?;
    UNMATCHED.seen("the policy", cluster.apply(TYPO).await)?;
    let line = "kubectl get tokenbucketpolicy/typo -o json";
    let said = eventually(TOLD, "ResolvedRefs to be False", async || {
        let typed = cluster.kubectl(line).await.map_err(|e| e.to_string())?;
        let policy: Value = serde_json::from_str(&typed.output).map_err(|e| e.to_string())?;
        let resolved = condition(&policy, "ResolvedRefs");
        let message = resolved["message"].as_str().unwrap_or_default();
        if resolved["status"] == "False" && message.contains("lama3-70b") {
            return Ok(format!("{}: {message}", text(&resolved["reason"])));
        }
        Err(policy["status"].to_string())
    });
    let said = UNMATCHED.seen("its status", said.await)?;
    let gone = cluster
        .kubectl("kubectl delete tokenbucketpolicy/typo")
        .await;
    UNMATCHED.seen("kubectl delete", gone)?;
    Ok(said)
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .cloned()
        .unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// From a line that begins so on.
fn section(described: &str, begins: &str) -> String {
    let lines = described.lines();
    let from = lines.skip_while(|line| !line.starts_with(begins));
    from.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_shown_from_its_heading_on() {
        let text = "Name: a\nStatus:\n  x: 1\nEvents: <none>\n";
        assert_eq!(section(text, "Status:"), "Status:\n  x: 1\nEvents: <none>");
        assert_eq!(section(text, "Spec:"), "");
    }
}
