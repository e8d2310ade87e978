//! References to the objects of findings.

use headgate_model::{Subject, reason};
use serde_json::{Value, json};

use super::world::*;
use crate::cluster::store::Store;

fn uid(store: &Store, identity: &str) -> Option<String> {
    let references = store.references();
    let found = references.get(&Subject::from(key(identity)))?;
    Some(format!("{} {}", found.kind, found.uid))
}

#[test]
fn an_object_that_a_finding_is_about_has_a_reference_though_it_carries_nothing() {
    // A chart with labels on everything: the Service carries, and the weight on the Deployment is not effective.
    let mut all = deployment("a", 1, &[1]);
    all[0] = labelled(model(all[0].clone(), "v1"), &json!({"canary-weight": "30"}));
    all.push(model(service("front", json!({"app": "a"})), "v1"));
    let mut seen = fresh(&all, &watches());
    assert_eq!(reasons(&seen.findings()), [reason::LABEL_IGNORED]);
    let of_owner = Some("Deployment Deployment-a".to_owned());
    assert_eq!(uid(&seen, "deployment/a"), of_owner);
    assert!(uid(&seen, "service/front").is_some());
    // One of the same name is another object.
    let mut later = all[0].clone();
    later["metadata"]["uid"] = "another".into();
    later["spec"]["template"]["metadata"]["labels"] = json!({"app": "a"});
    apply(&mut seen, &later);
    seen.reconcile();
    let said = !seen.findings().is_empty();
    assert_eq!(uid(&seen, "deployment/a").is_some(), said);
    apply(&mut seen, &all[0]);
    seen.reconcile();
    assert_eq!(uid(&seen, "deployment/a"), of_owner);
    // What is said no more needs none.
    apply(
        &mut seen,
        &labelled(all[0].clone(), &json!({"canary-weight": null})),
    );
    seen.reconcile();
    assert_eq!(
        (seen.findings(), uid(&seen, "deployment/a")),
        (vec![], None)
    );
    apply(&mut seen, &all[0]);
    seen.reconcile();
    delete(&mut seen, &all[0]);
    seen.reconcile();
    assert_eq!(uid(&seen, "deployment/a"), None);
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
        let mut seen = fresh([&object], &watches());
        assert!(!seen.findings().is_empty(), "{identity}");
        assert_eq!(uid(&seen, identity), Some(format!("{kind} {kind}-a")));
        delete(&mut seen, &object);
        seen.reconcile();
        assert_eq!((seen.findings(), uid(&seen, identity)), (vec![], None));
    }
}
