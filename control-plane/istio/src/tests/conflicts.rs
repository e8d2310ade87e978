//! `DestinationRule`s of other people.

use headgate_model::reason;

use super::*;
use crate::foreign_findings::conflict;
use crate::gateway_hosts::GatewayRoutes;
use crate::host_rule::HostRule;

const HOST: &str = "llama.models.svc.cluster.local";

/// A rule of another person.
fn rule(world: &mut World, namespace: &str, name: &str, spec: &Value, created: &str) {
    let key = ObjectKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let object = json!({ "metadata": { "creationTimestamp": created }, "spec": spec });
    let kind = IstioKind::DestinationRule;
    world.stored.foreign.insert((kind, key.clone()));
    let rule = HostRule::read(&object);
    world.stored.foreign_rules.insert(key, rule);
}

const OLD: &str = "2020-01-01T00:00:00Z";
const NEW: &str = "2030-01-01T00:00:00Z";

/// The reasons and messages of the conflicts.
fn findings(world: &mut World) -> Vec<(&'static str, String)> {
    let steps = world.decide();
    let findings = steps.conflicts.iter().map(conflict);
    findings
        .map(|finding| (finding.reason, finding.message))
        .collect()
}

fn policy(host: &str) -> Value {
    json!({ "host": host, "trafficPolicy": { "outlierDetection": {} } })
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

#[test]
fn a_rule_for_the_same_host_keeps_its_policy_and_the_versions_their_subsets() {
    for (spec, exported) in [
        (policy(HOST), None),
        (policy("llama"), None),
        (
            with(policy(HOST), "exportTo", json!(["*"])),
            Some(json!(["*"])),
        ),
        (
            with(
                policy(HOST),
                "exportTo",
                json!(["istio-system", "apps", "*"]),
            ),
            Some(json!(["*", "apps", "istio-system"])),
        ),
    ] {
        for created in [OLD, NEW] {
            let mut world = two_versions();
            rule(&mut world, "models", "theirs", &spec, created);
            world.route_all();
            assert_eq!(findings(&mut world), [], "{spec}");
            assert_eq!(world.routed(), ["v1", "v2.0"], "{spec}");
            let rules = world.stored.of(IstioKind::DestinationRule);
            let own: Vec<_> = rules.map(|(_, rule)| rule.spec.get("exportTo")).collect();
            assert_eq!(own, [exported.as_ref()], "{spec}");
        }
    }
}

#[test]
fn a_rule_that_takes_the_subsets_from_clients_takes_the_versions_out_of_the_plan() {
    let subset = |labels: Value| {
        let subsets = json!([{ "name": "v1", "labels": labels }]);
        with(policy(HOST), "subsets", subsets)
    };
    for (namespace, spec, part, routed) in [
        (
            "apps",
            policy(HOST),
            "for proxies of namespace apps",
            &[][..],
        ),
        (
            "apps",
            policy("*.local"),
            "Move it to namespace models",
            &[],
        ),
        (
            "apps",
            with(
                policy("*.models.svc.cluster.local"),
                "exportTo",
                json!(["."]),
            ),
            "for proxies of namespace apps",
            &[],
        ),
        (
            "apps",
            with(
                policy(HOST),
                "workloadSelector",
                json!({ "matchLabels": { "app": "x" } }),
            ),
            "for proxies of namespace apps",
            &[],
        ),
        (
            "models",
            with(
                policy(HOST),
                "workloadSelector",
                json!({ "matchLabels": { "app": "x" } }),
            ),
            "does not merge it",
            &[],
        ),
        (
            "istio-system",
            with(policy("*.local"), "exportTo", json!(["."])),
            "for proxies of namespace istio-system",
            &[],
        ),
        (
            "models",
            with(policy(HOST), "exportTo", json!(["."])),
            "an exportTo that leaves out namespace",
            &[],
        ),
        (
            "models",
            subset(json!({ "app": "other" })),
            "has a subset v1 with other labels",
            &["v2.0"],
        ),
    ] {
        let mut world = two_versions();
        world.route_all();
        assert_eq!(world.routed(), ["v1", "v2.0"]);
        rule(&mut world, namespace, "theirs", &spec, OLD);
        world.settle();
        let found = findings(&mut world);
        assert!(
            found
                .iter()
                .any(|(of, message)| *of == reason::SUBSETS_HIDDEN && message.contains(part)),
            "{spec}: {found:?}"
        );
        assert_eq!(world.routed(), routed, "{spec}");
        let key = ObjectKey {
            namespace: namespace.to_owned(),
            name: "theirs".to_owned(),
        };
        world.stored.foreign_rules.remove(&key);
        world.settle();
        world.pass(SETTLE);
        assert_eq!(world.routed(), ["v1", "v2.0"], "{spec}: it is gone");
    }
}

#[test]
fn a_subset_with_our_name_and_our_labels_is_the_same_subset() {
    let mut world = two_versions();
    let subsets =
        json!([{ "name": "v1", "labels": { "app": "v1" } }, { "name": "blue", "labels": {} }]);
    let spec = with(policy(HOST), "subsets", subsets);
    rule(&mut world, "models", "theirs", &spec, OLD);
    world.route_all();
    assert_eq!(findings(&mut world), []);
    assert_eq!(world.routed(), ["v1", "v2.0"]);
}

#[test]
fn rules_of_the_same_host_with_different_export_to_are_reported_if_proxies_lack_the_subsets() {
    let mut world = two_versions();
    let to = |to: &str| with(policy(HOST), "exportTo", json!([to]));
    rule(&mut world, "models", "for-apps", &to("apps"), OLD);
    rule(&mut world, "models", "for-jobs", &to("jobs"), NEW);
    world.route_all();
    let found = findings(&mut world);
    assert!(!found.is_empty());
    assert!(
        found.iter().all(|(of, _)| *of == reason::SUBSETS_HIDDEN),
        "{found:?}"
    );
    assert_eq!(world.routed(), Vec::<String>::new());
}

#[test]
fn only_rules_that_proxies_with_the_filter_see_matter() {
    let options = Options {
        clients: [("apps".to_owned(), vec!["*".to_owned()])].into(),
        gateways: BTreeMap::new(),
        client_labels: [("app".to_owned(), "caller".to_owned())].into(),
        ..options()
    };
    let world = two_versions();
    let desired = desired(
        &world.plan(),
        &world.objects,
        &GatewayRoutes::default(),
        &options,
    );
    let missing = |namespace: &str, spec: &Value| {
        let mut world = two_versions();
        rule(&mut world, namespace, "theirs", spec, OLD);
        let conflicts = crate::conflicts::conflicts(&desired, &world.stored, &options);
        !conflicts.missing.is_empty()
    };
    let selecting = |app: &str| {
        let selector = json!({ "matchLabels": { "app": app } });
        with(policy(HOST), "workloadSelector", selector)
    };
    assert!(missing("apps", &policy(HOST)));
    assert!(!missing("other", &policy(HOST)), "no client is there");
    assert!(missing("apps", &selecting("caller")));
    let apps = with(policy(HOST), "exportTo", json!(["apps"]));
    assert!(!missing("models", &apps), "it is for the only clients");
}

#[test]
fn a_policy_that_our_rule_displaces_is_reported_and_a_rule_for_the_host_with_it_ends_that() {
    for (namespace, host) in [
        ("models", "*.models.svc.cluster.local"),
        ("istio-system", "*.local"),
        ("istio-system", HOST),
    ] {
        let mut world = two_versions();
        rule(&mut world, namespace, "theirs", &policy(host), OLD);
        world.route_all();
        let found = findings(&mut world);
        assert!(
            matches!(&found[..], [(reason::POLICY_DISPLACED, message)]
                if message.contains(&format!("Add a DestinationRule for {HOST}"))),
            "{host}: {found:?}"
        );
        assert_eq!(world.routed(), ["v1", "v2.0"], "it is no reason to stop");
        rule(&mut world, "models", "exact", &policy(HOST), NEW);
        assert_eq!(findings(&mut world), [], "{host}");
    }
}

#[test]
fn versions_with_services_of_their_own_need_no_subsets() {
    let mut carrier = deployment("predictor", "v1", &["predictor"]);
    carrier.key.kind = "service".to_owned();
    let mut world = World::with([carrier]);
    rule(&mut world, "apps", "theirs", &policy("*.local"), OLD);
    world.route_all();
    assert_eq!(findings(&mut world), []);
    assert_eq!(world.routed(), ["v1"]);
}

/// The reasons of what `translate` prints.
fn printed(world: &World) -> BTreeSet<&'static str> {
    let findings = crate::findings(&world.desired(), &world.stored, &options());
    findings.iter().map(|finding| finding.reason).collect()
}

#[test]
fn a_user_of_the_printed_objects_has_the_findings_of_the_writer() {
    let mut world = two_versions();
    assert_eq!(printed(&world), [].into());
    rule(&mut world, "apps", "theirs", &policy(HOST), OLD);
    rule(&mut world, "istio-system", "all", &policy("*.local"), OLD);
    rule(&mut world, "models", "headgate-llama", &policy(HOST), OLD);
    let split = json!({ "spec": { "hosts": ["llama"], "http": [{
        "timeout": "5s",
        "route": [{ "destination": { "host": "a" } }, { "destination": { "host": "b" } }],
    }] } });
    let key = ObjectKey {
        namespace: "models".to_owned(),
        name: "split".to_owned(),
    };
    let service = crate::virtual_service::VirtualService::read(&split).unwrap();
    world.stored.services.insert(key, service);
    let others = [
        reason::MESH_NAME_TAKEN,
        reason::VIRTUAL_SERVICE_SPLITS,
        reason::ROUTE_SETTINGS_BYPASSED,
    ];
    assert_eq!(printed(&world), others.into());
    // Without the rule that has its name, Headgate has one.
    let name = ObjectKey {
        namespace: "models".to_owned(),
        name: "headgate-llama".to_owned(),
    };
    let kind = IstioKind::DestinationRule;
    world.stored.foreign.remove(&(kind, name.clone()));
    world.stored.foreign_rules.remove(&name);
    let both = [reason::SUBSETS_HIDDEN, reason::POLICY_DISPLACED];
    assert_eq!(
        printed(&world),
        others[1..].iter().copied().chain(both).collect()
    );
}

#[test]
fn printed_rules_have_the_export_to_of_a_rule_for_the_host_and_then_hide_nothing() {
    let mut world = two_versions();
    world.route_all();
    // What is stored has no `exportTo`, and is replaced by what is printed.
    let exported = with(policy(HOST), "exportTo", json!(["*"]));
    rule(&mut world, "models", "theirs", &exported, OLD);
    assert_eq!(printed(&world), [].into());
    let manifests = world.desired().manifests(&world.stored, &options());
    let rules = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == "DestinationRule");
    let exports: Vec<_> = rules.map(|rule| &rule["spec"]["exportTo"]).collect();
    assert_eq!(exports, [&json!(["*"])]);
}
