//! The Service and the subset of each version.

use super::*;

#[test]
fn pods_with_the_version_label_are_selected_by_it_and_others_by_the_selector_of_their_workload() {
    let world = World::with([
        labelled(deployment("v1", "v1", &["llama"])),
        deployment("v2-x", "v2.0", &["llama"]),
    ]);
    let desired = world.desired();
    let rule = desired.rules.values().next().unwrap();
    let labels: Vec<(&str, String)> = rule
        .subsets
        .iter()
        .map(|(name, labels)| (name.as_str(), format!("{labels:?}")))
        .collect();
    let v2 = headgate_contract::names::subset("v2.0");
    assert_eq!(
        labels,
        [
            ("v1", r#"{"model-version": "v1"}"#.to_owned()),
            (v2.as_str(), r#"{"app": "v2-x"}"#.to_owned()),
        ]
    );
}

#[test]
fn versions_behind_services_of_their_own_are_routed_to_those() {
    let mut carrier = deployment("predictor", "v1", &["predictor"]);
    carrier.key.kind = "service".to_owned();
    let mut canary = deployment("predictor-v2", "v2", &["predictor-v2"]);
    canary.key.kind = "service".to_owned();
    let mut world = World::with([carrier, weighted(canary, "10")]);
    world.route_all();
    let routes = world.routes();
    assert!(world.subsets().is_empty());
    assert_eq!(
        routes.into_iter().collect::<Vec<_>>(),
        [
            "headgate/llama/v1 outbound|80||predictor.models.svc.cluster.local",
            "headgate/llama/v2 outbound|80||predictor-v2.models.svc.cluster.local",
        ]
    );
    assert_eq!(world.routed(), ["v1", "v2"]);
}

#[test]
fn a_version_that_no_service_can_reach_is_a_finding_and_is_never_routed() {
    let alone = deployment("v2-x", "v2.0", &[]);
    let mut missed = deployment("v2-x", "v2.0", &["llama"]);
    missed.mesh.services[0].selects_all = false;
    let mut headless = deployment("v2-x", "v2.0", &["llama"]);
    headless.mesh.services[0].headless = true;
    let mut tcp = deployment("v2-x", "v2.0", &["llama"]);
    tcp.mesh.services[0].ports[0].http = false;
    let mut unlabelled = deployment("v2-x", "v2.0", &["llama"]);
    unlabelled.mesh.selector.clear();
    for (canary, why) in [
        (alone, "no Service selects its pods"),
        (missed, "selects only a part"),
        (headless, "headless"),
        (tcp, "port 80"),
        (unlabelled, "no label distinguishes"),
    ] {
        let mut world = World::with([deployment("v1", "v1", &["llama"]), weighted(canary, "20")]);
        let findings = world.desired().findings;
        let messages: Vec<&str> = findings.iter().map(|f| f.message.as_str()).collect();
        assert!(
            matches!(messages[..], [one] if one.contains(why)),
            "{why}: {messages:?}"
        );
        world.route_all();
        assert_eq!(world.routed(), ["v1"], "{why}");
    }
}

#[test]
fn models_behind_one_service_have_subsets_that_tell_them_apart() {
    let mut phi = labelled(deployment("phi-1", "v1", &["shared"]));
    phi.labels.insert("model-name".to_owned(), "phi".to_owned());
    let mut llama = labelled(deployment("llama", "v1", &["shared"]));
    (phi.mesh.labels_model, llama.mesh.labels_model) = (true, true);
    let world = World::with([phi, llama]);
    let desired = world.desired();
    let subsets = &desired.rules.values().next().unwrap().subsets;
    let models: Vec<_> = subsets
        .values()
        .map(|labels| labels["model-name"].clone())
        .collect();
    assert_eq!(subsets.len(), 2);
    assert_eq!(
        models.into_iter().collect::<BTreeSet<_>>(),
        ["llama".to_owned(), "phi".to_owned()].into()
    );
}
