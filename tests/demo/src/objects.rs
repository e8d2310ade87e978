//! Operations with `kubectl`: refused labels, Events, the status of policies.
//!
//! These claims need a testbed on a Kubernetes API.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{CommandOutput, KubeError};
use headgate_testkit::testbed::{Cluster, Testbed, TestbedError};
use serde_json::Value;

use crate::canary::{CANARY, WORKLOAD};
use crate::claim::{Claim, ClaimResult};
use crate::sessions::MODEL;
use crate::versions::NEW;

/// The claim of [`bad_weight_is_refused`].
pub const REFUSED: Claim = Claim("an invalid weight is refused by kubectl and moves no session");
/// The claim of [`held_version_has_its_event`].
pub const EVENT: Claim = Claim(
    "a held version has an Event on its Deployment, with the command that changes the weight",
);
/// The claim of [`policies_are_programmed`].
pub const PROGRAMMED: Claim =
    Claim("the status of a policy shows that every proxy runs it, so `kubectl wait` works");
/// The claim of [`policy_that_matches_nothing_says_so`].
pub const UNMATCHED: Claim =
    Claim("the status of a policy without a matching model names the problem");

/// Longer than an API server needs to load its own admission policy, and than a status update may be delayed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Part of the admission policy's message.
const FIX: &str = "write a whole number from 0 to 100";

/// The API of a testbed, which must have one.
pub(crate) fn cluster(claim: Claim, testbed: &Testbed) -> ClaimResult<&Cluster> {
    claim.require_some("a Kubernetes API", testbed.cluster())
}

/// A label that the API server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLabel {
    /// The command.
    pub line: String,
    /// Its output.
    pub output: String,
}

/// Runs `kubectl label … canary-weight=150`.
///
/// # Errors
/// The claim does not hold.
pub async fn bad_weight_is_refused(testbed: &Testbed) -> ClaimResult<RefusedLabel> {
    let cluster = cluster(REFUSED, testbed)?;
    let line = format!("kubectl label deploy/{WORKLOAD} canary-weight=150 --overwrite");
    // An API server needs a moment to load a new admission policy, so the first tries are dry runs.
    let dry = format!("{line} --dry-run=server");
    let in_force = eventually(
        TIMEOUT,
        "the admission policy to be in force",
        async || match cluster.kubectl(&dry).await {
            Ok(typed) => Err(typed.output),
            Err(_) => Ok(()),
        },
    );
    REFUSED.require_ok("the admission policy", in_force.await)?;

    let before = weight(testbed).await?;
    let output = match cluster.kubectl(&line).await {
        Ok(typed) => Err(REFUSED.broken(typed.output)),
        Err(TestbedError::Kube(KubeError::Refused { stderr, .. })) => Ok(stderr.trim().to_owned()),
        Err(other) => Err(REFUSED.broken(other)),
    }?;
    REFUSED.ensure(output.contains(FIX), || output.clone())?;
    let after = weight(testbed).await?;
    REFUSED.ensure((before - after).abs() < 1e-9, || {
        format!("the weight was {before} % and is {after} %")
    })?;
    Ok(RefusedLabel { line, output })
}

async fn weight(testbed: &Testbed) -> ClaimResult<f64> {
    let status = REFUSED.require_ok("status", testbed.status().await)?;
    let version = status.version(MODEL, CANARY);
    Ok(REFUSED
        .require_some("the canary in status", version)?
        .weight_wanted)
}

/// Reads the Event of the held version ([`crate::versions::new_version_is_held`] applied it). Returns the relevant lines of
/// `kubectl describe`.
///
/// # Errors
/// The claim does not hold.
pub async fn held_version_has_its_event(testbed: &Testbed) -> ClaimResult<CommandOutput> {
    let cluster = cluster(EVENT, testbed)?;
    let workload = format!("{MODEL}-{NEW}");
    let line = format!("kubectl describe deploy/{workload}");
    let advice = format!("kubectl label deployment/{workload}");
    let shown = eventually(TIMEOUT, "the Event", async || {
        let mut typed = cluster.kubectl(&line).await.map_err(|e| e.to_string())?;
        typed.output = section(&typed.output, "Events:");
        if typed.output.contains("VersionHeld") && typed.output.contains(&advice) {
            return Ok(typed);
        }
        Err(typed.output)
    });
    EVENT.require_ok("kubectl describe", shown.await)
}

/// The output of `kubectl` for policies that every proxy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programmed {
    /// The `kubectl wait` command.
    pub waited: CommandOutput,
    /// The table of policies.
    pub table: CommandOutput,
    /// The described status of one of them.
    pub described: CommandOutput,
}

/// Waits with `kubectl wait` until every policy is programmed, and describes one.
///
/// # Errors
/// The claim does not hold, also when a condition refers to an older generation of the object.
pub async fn policies_are_programmed(testbed: &Testbed) -> ClaimResult<Programmed> {
    let cluster = cluster(PROGRAMMED, testbed)?;
    let kubectl = async |line: &str| PROGRAMMED.require_ok(line, cluster.kubectl(line).await);
    let waited = kubectl("kubectl wait --for=condition=Programmed tokenbucketpolicies,traffictagpolicies --all --timeout=60s").await?;
    let table = kubectl("kubectl get tokenbucketpolicies").await?;
    let mut described = kubectl("kubectl describe tokenbucketpolicy/free-tier").await?;
    described.output = section(&described.output, "Status:");
    let json = kubectl("kubectl get tokenbucketpolicies,traffictagpolicies -o json").await?;
    let list: Value = PROGRAMMED.require_ok("the list", serde_json::from_str(&json.output))?;
    let policies = PROGRAMMED.require_some("policies", list["items"].as_array())?;
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

/// Applies a policy with a misspelt model and returns its status. The policy is deleted afterwards.
///
/// # Errors
/// The claim does not hold.
pub async fn policy_that_matches_nothing_says_so(testbed: &Testbed) -> ClaimResult<String> {
    let cluster = cluster(UNMATCHED, testbed)?;
    UNMATCHED.require_ok("the policy", cluster.apply(TYPO).await)?;
    let line = "kubectl get tokenbucketpolicy/typo -o json";
    let status = eventually(TIMEOUT, "ResolvedRefs to be False", async || {
        let typed = cluster.kubectl(line).await.map_err(|e| e.to_string())?;
        let policy: Value = serde_json::from_str(&typed.output).map_err(|e| e.to_string())?;
        let resolved = condition(&policy, "ResolvedRefs");
        let message = resolved["message"].as_str().unwrap_or_default();
        if resolved["status"] == "False" && message.contains("lama3-70b") {
            return Ok(format!("{}: {message}", text(&resolved["reason"])));
        }
        Err(policy["status"].to_string())
    });
    let status = UNMATCHED.require_ok("its status", status.await)?;
    let gone = cluster
        .kubectl("kubectl delete tokenbucketpolicy/typo")
        .await;
    UNMATCHED.require_ok("kubectl delete", gone)?;
    Ok(status)
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

/// The text from the line with this prefix on.
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
