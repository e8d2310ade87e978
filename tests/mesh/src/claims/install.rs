//! The findings of `istioctl analyze` about the installation.

use headgate_demo::{Claim, ClaimResult};

use crate::testbed::MeshTestbed;

/// The claim of [`analysis`].
pub const CLAIM: Claim =
    Claim::new("istioctl analyze warns of nothing but what it warns of at every EnvoyFilter");
/// An EnvoyFilter depends on Istio's implementation.
const INTERNAL: &str = "IST0133";

/// Runs `istioctl analyze` on all namespaces. Information is no warning: a namespace is not labelled for injection where pods have the
/// label themselves (IST0102). Returns the number of warnings of EnvoyFilters.
///
/// # Errors
/// Another finding.
pub async fn analysis(testbed: &MeshTestbed) -> ClaimResult<usize> {
    let findings = testbed.mesh.analyze(&["-A"]).await;
    let findings = CLAIM.require_ok("istioctl analyze", findings)?;
    let is_warning = |line: &&str| line.contains("[IST") && !line.starts_with("Info");
    let codes: Vec<&str> = findings.lines().filter(is_warning).collect();
    let others: Vec<&&str> = codes
        .iter()
        .filter(|line| !line.contains(INTERNAL))
        .collect();
    CLAIM.ensure(others.is_empty(), || format!("{others:#?}"))?;
    CLAIM.ensure(!codes.is_empty(), || {
        format!("no warning at all, so nothing was analyzed: {findings}")
    })?;
    Ok(codes.len())
}
