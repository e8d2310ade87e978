//! The finding on a version that two carriers declare, with the command that resolves it.

use headgate_contract::{ModelId, Version};

use crate::registry::draft::Draft;
use crate::registry::{Member, Weight};
use crate::{Finding, LabelKeys, Severity, reason};

/// A version that a carrier declares and another one owns.
pub(super) struct Merged<'a> {
    pub(super) version: &'a Version,
    pub(super) draft: &'a Draft<'a>,
    pub(super) owner: &'a Member,
    /// The stored base determines the owner, not the age.
    pub(super) by_base: bool,
    /// The two have no pod in common.
    pub(super) disjoint: bool,
    /// The two have the same endpoints.
    pub(super) same_pods: bool,
}

impl Merged<'_> {
    pub(super) fn finding(&self, model: &ModelId, keys: &LabelKeys) -> Finding {
        let (version, owner) = (self.version, self.owner);
        let reason = match self.by_base {
            true => "which belongs to the stored base or to the one before it",
            false => "which is older",
        };
        let message = format!(
            "{} ({}), {reason}, also declares version {version} of model {model}: the endpoints are merged, and its weight takes \
             effect. {}",
            owner.key,
            owner.origin,
            self.remedy(keys)
        );
        let carrier = self.draft.carrier;
        carrier.finding(Severity::Warning, reason::VERSION_MERGED, message)
    }

    /// The commands that end the conflict. Another version would not separate pods that both carriers have.
    fn remedy(&self, keys: &LabelKeys) -> String {
        let (key, label) = (&self.draft.carrier.key, &keys.weight);
        let (identity, namespace) = (key.identity(), &key.namespace);
        if self.same_pods && !self.draft.carrier.pods.is_empty() {
            let remove = format!("kubectl label {identity} -n {namespace} {label}-");
            return match self.draft.weight {
                Weight::Percent(percent) => {
                    let set = self.owner.key.label_command(label, &percent.to_string());
                    format!(
                        "Both have the same pods, so the label `{label}` of {identity} has no effect. Write the weight on the other: \
                         {set}, or remove it here: {remove}"
                    )
                }
                _ => format!(
                    "Both have the same pods, so the label `{label}` of {identity} has no effect: {remove}"
                ),
            };
        }
        let separate_pods = match self.disjoint {
            true => "",
            false => "let each pod belong to one of the two only, and ",
        };
        let pods = self.draft.carrier.pods.iter();
        let mut labels = pods.filter_map(|pod| pod.version.as_deref());
        let label = &keys.version;
        let change = if labels.all(|version| version != self.version.as_str()) {
            key.label_command(label, "VERSION")
        } else if key.kind == "service" {
            format!(
                "change the label `{label}` in the pod template of the workload behind {identity}, and on {identity}: {}",
                key.label_command(label, "VERSION")
            )
        } else {
            format!(
                "change the label `{label}` of its pod template: kubectl edit {identity} -n {namespace}"
            )
        };
        format!(
            "To give them different weights, {separate_pods}give one of the two another version: {change}"
        )
    }
}
