//! What is declared twice, or cannot be read, beside the numbered rules.

use headgate_model::reason;

use crate::world::{Build, carrier, llama, objects, percents, planned, reasons, version};

#[test]
fn one_version_in_two_carriers_merges_endpoints_and_the_oldest_weight_counts() {
    let plan = planned(&objects([
        carrier("old", "v2").created(1).weight("10").ready(2),
        carrier("new", "v2").created(2).weight("80").ready(3),
        carrier("base", "v1").created(0),
    ]));
    let model = llama(&plan);
    assert_eq!(
        percents(model),
        [("v1".to_owned(), 90.0), ("v2".to_owned(), 10.0)].into()
    );
    let merged = &model.variants[&version("v2")];
    assert_eq!((merged.endpoints.len(), merged.total_endpoints), (5, 5));
    let brought: Vec<&str> = merged.carriers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(brought, ["old", "new"]);
    assert_eq!(reasons(&plan), [reason::VERSION_MERGED]);
    assert_eq!(
        plan.findings[0].object.to_string(),
        "deployment default/new"
    );
}

#[test]
fn merged_carriers_are_ready_together_and_the_replicas_of_both_count() {
    let plan = planned(&objects([
        carrier("old", "v1").created(1).unready(1).desired(2),
        carrier("new", "v1").created(2).ready(3).desired(4),
        carrier("peer", "v2").created(3).joins().desired(2),
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 75.0), ("v2".to_owned(), 25.0)].into()
    );
}

#[test]
fn a_client_name_claimed_twice_goes_to_the_oldest() {
    let plan = planned(&objects([
        carrier("a", "v1")
            .created(2)
            .names("meta-llama/Llama-3.1, big,, big"),
        carrier("b", "v1")
            .model("phi")
            .created(1)
            .names("big, Big, llama"),
    ]));
    let models = &plan.namespaces["default"].config.models;
    assert_eq!(
        models["phi"].names,
        ["Big", "big"],
        "case-sensitive, sorted"
    );
    assert_eq!(models["llama"].names, ["meta-llama/Llama-3.1"]);
    assert_eq!(reasons(&plan), [reason::NAME_CLAIMED, reason::NAME_CLAIMED]);
    let messages: Vec<_> = plan.findings.iter().map(|f| &f.message).collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains("is the id of model llama")),
        "{messages:?}"
    );
}

#[test]
fn namespaces_are_apart() {
    let plan = planned(&objects([
        carrier("a", "v1").created(1),
        carrier("b", "v2").created(2).namespace("other"),
    ]));
    assert_eq!(percents(llama(&plan)), [("v1".to_owned(), 100.0)].into());
    let other = &plan.namespaces["other"].models["llama"];
    assert_eq!(percents(other), [("v2".to_owned(), 100.0)].into());
    assert!(plan.findings.is_empty());
}

#[test]
fn a_version_that_no_pod_of_a_template_may_have_is_said_once_and_the_carriers_counts() {
    let plan = planned(&objects([carrier("a", "v1").ready(1).rolling("-v3", 40)]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 100.0)].into(),
        "what is served is served on"
    );
    let [finding] = plan.findings.as_slice() else {
        panic!("{:?}", plan.findings)
    };
    assert_eq!(finding.reason, reason::INVALID_VERSION);
    for part in [
        "of its pods",
        "template",
        "kubectl edit deployment/a -n default",
    ] {
        assert!(finding.message.contains(part), "{}", finding.message);
    }
}

#[test]
fn a_label_that_is_no_name_is_reported_and_takes_nothing_else_with_it() {
    let mut service = carrier("s", "v9").label("model-name", "llama");
    service.key.kind = "service".into();
    service.labels.remove("model-version");
    let plan = planned(&objects([
        carrier("a", "v1"),
        carrier("b", "v2").model("no spaces"),
        carrier("c", "-v3").rolling("v4", 1).weight("10"),
        service,
    ]));
    assert_eq!(
        percents(llama(&plan)),
        [("v1".to_owned(), 90.0), ("v4".to_owned(), 10.0)].into()
    );
    assert_eq!(
        reasons(&plan),
        [reason::INVALID_MODEL, reason::INVALID_VERSION]
    );
}
