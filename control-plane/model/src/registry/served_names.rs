//! The annotation `headgate.dev/served-name` → the name that the servers of a version want for the model.
//!
//! Invariant: a value that cannot be used has no effect, so requests keep the name that clients write.

use std::collections::BTreeMap;

use headgate_contract::Version;
use headgate_contract::names::{ANNOTATION_SERVED_NAME, HOST_BYTES};

use super::draft::Draft;
use crate::{Finding, Severity, reason};

/// The names by version. Of carriers of one version, the oldest with a name counts. `drafts` come oldest first.
pub(super) fn of_model(
    drafts: &[Draft<'_>],
    findings: &mut Vec<Finding>,
) -> BTreeMap<Version, String> {
    let mut names = BTreeMap::new();
    for draft in drafts {
        let Some(text) = draft.carrier.annotations.get(ANNOTATION_SERVED_NAME) else {
            continue;
        };
        let name = text.trim();
        if name.is_empty() || name.len() > HOST_BYTES || name.chars().any(char::is_control) {
            findings.push(invalid(draft));
            continue;
        }
        for version in draft.versions.keys() {
            names
                .entry(version.clone())
                .or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn invalid(draft: &Draft<'_>) -> Finding {
    let carrier = draft.carrier;
    let command = carrier
        .key
        .annotate_command(ANNOTATION_SERVED_NAME, "meta-llama/Llama-3.1-70B");
    let message = format!(
        "annotation `{ANNOTATION_SERVED_NAME}` is ignored: write 1 to {HOST_BYTES} characters, such as: {command}"
    );
    carrier.finding(Severity::Warning, reason::INVALID_SERVED_NAME, message)
}
