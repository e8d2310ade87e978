//! The Service and the subset of each version.

use headgate_model::{Finding, Severity, reason};

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

/// The pods of a carrier have these labels.
fn with_pods(mut carrier: Carrier, labels: &[(&str, &str)]) -> Carrier {
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let labels: BTreeMap<String, String> = labels.collect();
    let version = labels.get("model-version").cloned();
    carrier
        .pods
        .iter_mut()
        .for_each(|pod| pod.version.clone_from(&version));
    carrier.mesh.labels_model = labels.contains_key("model-name");
    carrier.mesh.pods = [labels].into();
    carrier
}

fn selecting(mut carrier: Carrier, labels: &[(&str, &str)]) -> Carrier {
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    carrier.mesh.selector = labels.collect();
    carrier
}

fn of_model(mut carrier: Carrier, model: &str) -> Carrier {
    let label = carrier.labels.get_mut("model-name").unwrap();
    model.clone_into(label);
    carrier
}

/// The labels of each subset, sorted by its labels, and the versions without a route.
fn subsets_of(carriers: [Carrier; 2]) -> (Vec<String>, Vec<String>) {
    let desired = World::with(carriers).desired();
    let rules = desired
        .rules
        .values()
        .flat_map(|rule| rule.subsets.values());
    let text = |labels: &BTreeMap<String, String>| {
        let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    };
    let subsets: BTreeSet<String> = rules.map(text).collect();
    let findings = desired.findings.into_iter().map(|finding| finding.message);
    (subsets.into_iter().collect(), findings.collect())
}

#[test]
fn a_subset_selects_no_pod_of_another_version() {
    let base = || deployment("v1", "v1", &["llama"]);
    let canary = || weighted(deployment("v2-x", "v2", &["llama"]), "20");
    // The selector of the base also selects the pods of the canary.
    let wide = [("app", "llama")];
    let narrow = [("app", "llama"), ("track", "canary")];
    let (v1, v2) = (("model-version", "v1"), ("model-version", "v2"));
    for (base, canary, expected) in [
        (
            with_pods(selecting(base(), &wide), &[wide[0], v1]),
            with_pods(selecting(canary(), &narrow), &narrow),
            &["app=llama,track=canary", "model-version=v1"][..],
        ),
        // The base has no label of its own: pods that exist, and pods to come.
        (
            with_pods(selecting(base(), &wide), &wide),
            with_pods(selecting(canary(), &narrow), &[narrow[0], narrow[1], v2]),
            &["model-version=v2"],
        ),
        (
            selecting(base(), &wide),
            selecting(canary(), &narrow),
            &["app=llama,track=canary"],
        ),
        // The version label is on pods of both.
        (
            with_pods(selecting(base(), &[("app", "a")]), &[("app", "a"), v1]),
            with_pods(selecting(canary(), &[("app", "b")]), &[("app", "b"), v2]),
            &["model-version=v1", "model-version=v2"],
        ),
    ] {
        let (subsets, findings) = subsets_of([base, canary]);
        assert_eq!(subsets, expected);
        assert_eq!(findings.len(), 2 - expected.len(), "{findings:?}");
        let all = findings.iter();
        assert!(
            all.clone()
                .all(|one| one.contains("no label distinguishes"))
        );
    }
}

#[test]
fn a_subset_selects_no_pod_of_another_model_behind_the_service() {
    let pods = |name: &str, model: &str, labels: &[(&str, &str)]| {
        let carrier = of_model(deployment(name, "v1", &["shared"]), model);
        with_pods(carrier, labels)
    };
    let v1 = ("model-version", "v1");
    for (llama, phi, expected) in [
        // The version label alone is on the pods of both.
        (
            pods("llama", "llama", &[("app", "llama"), v1]),
            pods("phi-1", "phi", &[("app", "phi-1"), v1]),
            &["app=llama", "app=phi-1"][..],
        ),
        (
            pods(
                "llama",
                "llama",
                &[("app", "llama"), v1, ("model-name", "llama")],
            ),
            pods("phi-1", "phi", &[("app", "phi-1"), v1]),
            &["app=phi-1", "model-name=llama,model-version=v1"],
        ),
        // Neither does a selector tell them apart.
        (
            selecting(pods("llama", "llama", &[("app", "x"), v1]), &[("app", "x")]),
            selecting(pods("phi-1", "phi", &[("app", "x"), v1]), &[("app", "x")]),
            &[],
        ),
        // The selector and the version label together do.
        (
            selecting(pods("llama", "llama", &[("app", "x"), v1]), &[("app", "x")]),
            of_model(
                with_pods(
                    selecting(
                        deployment("phi-1", "v2", &["shared"]),
                        &[("app", "x"), ("b", "c")],
                    ),
                    &[("app", "x"), ("b", "c"), ("model-version", "v2")],
                ),
                "phi",
            ),
            &["model-version=v1", "model-version=v2"],
        ),
    ] {
        let (subsets, findings) = subsets_of([llama, phi]);
        assert_eq!(subsets, expected, "{findings:?}");
        assert_eq!(findings.len(), 2 - expected.len(), "{findings:?}");
    }
}

/// The annotation has no effect on a workload of a cluster, which has a finding of its own.
#[test]
fn a_workload_with_listed_endpoints_and_no_service_needs_a_service() {
    let mut carrier = deployment("v1", "v1", &[]);
    let annotation = headgate_contract::names::ANNOTATION_ENDPOINTS;
    carrier
        .annotations
        .insert(annotation.to_owned(), "192.0.2.1:8000".to_owned());
    let findings = World::with([carrier]).desired().findings;
    let message = &findings.first().unwrap().message;
    assert!(
        message.contains("no Service selects its pods") && message.contains("create a Service"),
        "{message}"
    );
    assert!(!message.contains(annotation), "{message}");
}

/// The findings on ways past the filter.
fn bypasses(services: &[&str], change: impl Fn(&mut Vec<MeshService>)) -> Vec<Finding> {
    let mut carriers = [
        deployment("v1", "v1", services),
        deployment("v2-x", "v2", services),
    ];
    for carrier in &mut carriers {
        change(&mut carrier.mesh.services);
    }
    let mut findings = World::with(carriers).desired().findings;
    findings.retain(|finding| finding.reason == reason::SERVICE_BYPASSES_FILTER);
    findings
}

#[test]
fn a_service_past_the_filter_beside_one_with_it_is_named_once() {
    assert_eq!(bypasses(&["llama", "pods"], |_| {}), []);
    let headless = |services: &mut Vec<MeshService>| services[1].headless = true;
    // As a LeaderWorkerSet creates it.
    let without_ports = |services: &mut Vec<MeshService>| {
        services[1].headless = true;
        services[1].ports.clear();
    };
    let tcp = |services: &mut Vec<MeshService>| services[1].ports[0].http = false;
    let second_port = |services: &mut Vec<MeshService>| {
        let raw = MeshPort {
            number: 9000,
            target: 8000,
            http: false,
        };
        services[1].ports.push(raw);
    };
    for (found, part) in [
        (
            bypasses(&["llama", "pods"], headless),
            "requests to pods.models ",
        ),
        (
            bypasses(&["llama", "pods"], without_ports),
            "requests to pods.models ",
        ),
        (
            bypasses(&["llama", "pods"], tcp),
            "requests to pods.models:80 ",
        ),
        (
            bypasses(&["llama", "pods"], second_port),
            "requests to pods.models:9000 ",
        ),
    ] {
        let [finding] = &found[..] else {
            panic!("{part}: {found:?}");
        };
        // It is usual for a StatefulSet.
        assert_eq!(finding.severity, Severity::Info);
        let message = &finding.message;
        assert!(
            message.contains(part)
                && message.contains("no tag")
                && message.contains("no budget")
                && message.contains("must use Service "),
            "{message}"
        );
    }
    assert!(
        bypasses(&["llama", "pods"], headless)[0]
            .message
            .ends_with("must use Service llama")
    );
}

#[test]
fn a_headless_service_alone_is_a_version_without_a_route_and_nothing_else() {
    let headless = |services: &mut Vec<MeshService>| services[0].headless = true;
    assert_eq!(bypasses(&["pods"], headless), []);
    let mut carrier = deployment("v1", "v1", &["pods"]);
    headless(&mut carrier.mesh.services);
    let findings = World::with([carrier]).desired().findings;
    let [finding] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(finding.reason, reason::NO_MESH_ROUTE);
    assert!(
        finding.message.contains("let clients use that one"),
        "{finding:?}"
    );
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
