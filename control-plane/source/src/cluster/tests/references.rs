//! References to the objects of findings.

use headgate_model::{Subject, reason};
use serde_json::{Value, json};

use super::fixtures::*;
use crate::cluster::store::Store;

fn uid(store: &Store, identity: &str) -> Option<String> {
    let references = store.references();
    let found = references.get(&Subject::from(key(identity)))?;
    Some(format!("{} {}", found.kind, found.uid))
}

#[test]
fn the_object_of_a_finding_has_a_reference_although_it_is_not_a_carrier() {
    // A chart with labels on everything: the Service carries, and the weight on the Deployment is not effective.
    let mut all = deployment("a", 1, &[1]);
    all[0] = labelled(model(all[0].clone(), "v1"), &json!({"canary-weight": "30"}));
    all.push(model(service("front", json!({"app": "a"})), "v1"));
    let mut state = fresh(&all, &watches());
    assert_eq!(reasons(&state.findings()), [reason::LABEL_IGNORED]);
    let of_owner = Some("Deployment Deployment-a".to_owned());
    assert_eq!(uid(&state, "deployment/a"), of_owner);
    assert!(uid(&state, "service/front").is_some());
    // A new object with the same name is another object.
    let mut later = all[0].clone();
    later["metadata"]["uid"] = "another".into();
    later["spec"]["template"]["metadata"]["labels"] = json!({"app": "a"});
    apply(&mut state, &later);
    state.reconcile();
    let has_findings = !state.findings().is_empty();
    assert_eq!(uid(&state, "deployment/a").is_some(), has_findings);
    apply(&mut state, &all[0]);
    state.reconcile();
    assert_eq!(uid(&state, "deployment/a"), of_owner);
    // An object without a finding has no reference.
    apply(
        &mut state,
        &labelled(all[0].clone(), &json!({"canary-weight": null})),
    );
    state.reconcile();
    assert_eq!(
        (state.findings(), uid(&state, "deployment/a")),
        (vec![], None)
    );
    apply(&mut state, &all[0]);
    state.reconcile();
    delete(&mut state, &all[0]);
    state.reconcile();
    assert_eq!(uid(&state, "deployment/a"), None);
}

#[test]
fn an_object_with_a_finding_of_its_own_has_a_reference() {
    let weighed = |object: Value| {
        labelled(
            object,
            &json!({"model-version": "v1", "canary-weight": "5"}),
        )
    };
    let slips = |object: Value| annotated(object, "headgate.dev/poort", "8000");
    let rows = [
        (
            "deployment/a",
            weighed(object("Deployment", "a", 1, None)),
            "Deployment",
        ),
        (
            "service/a",
            slips(service("a", json!({"app": "x"}))),
            "Service",
        ),
        ("pod/a", slips(pod("a", 1, None)), "Pod"),
        (
            "inferencepool/a",
            slips(pool("a", json!({"app": "x"}))),
            "InferencePool",
        ),
    ];
    for (identity, object, kind) in rows {
        let mut state = fresh([&object], &watches());
        assert!(!state.findings().is_empty(), "{identity}");
        assert_eq!(uid(&state, identity), Some(format!("{kind} {kind}-a")));
        delete(&mut state, &object);
        state.reconcile();
        assert_eq!((state.findings(), uid(&state, identity)), (vec![], None));
    }
}
