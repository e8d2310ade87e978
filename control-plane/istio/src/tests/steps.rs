//! The order of writes in time, and when a version is routed.

use std::time::Duration;

use headgate_contract::Version;

use super::fixtures::{LINGER, World, deployment, two_versions, weighted};
use crate::manifest::IstioKind;
use crate::steps::{DEFAULT_CONFIG_INTERVAL, PROPAGATION};

#[test]
fn subsets_come_before_routes_and_a_version_is_routed_once_its_route_has_propagated() {
    let mut world = two_versions();
    let first = world.write_all();
    assert!(
        first
            .iter()
            .any(|write| write.starts_with("apply DestinationRule models/headgate-llama")),
        "{first:?}"
    );
    assert!(
        world.routes().is_empty(),
        "a route before its subset has propagated"
    );
    world.pass(PROPAGATION - Duration::from_millis(1));
    assert_eq!(world.write_all(), Vec::<String>::new());
    world.pass(Duration::from_millis(1));
    let second = world.write_all();
    assert!(
        second.iter().all(|write| write.contains("EnvoyFilter")),
        "{second:?}"
    );
    assert!(
        world.routed().is_empty(),
        "a version is routed before its route has propagated"
    );
    world.pass(PROPAGATION);
    assert_eq!(world.routed(), ["v1", "v2.0"]);
    assert!(
        world.plan().namespaces["models"].models["llama"]
            .in_mesh
            .is_none()
    );
}

#[test]
fn the_plan_of_the_mesh_has_a_version_only_once_it_is_routed() {
    let mut world = World::with([deployment("v1", "v1", &["llama"])]);
    world.route_all();
    assert_eq!(world.routed(), ["v1"]);
    world.declare([
        deployment("v1", "v1", &["llama"]),
        weighted(deployment("v2-x", "v2.0", &["llama"]), "20"),
    ]);
    let plan = world.plan();
    let model = &plan.namespaces["models"].models["llama"];
    assert_eq!(model.plan_for(true).canaries.len(), 0);
    assert_eq!(model.plan_for(false).canaries.len(), 1);
    let waiting: Vec<_> = model
        .waiting_for_routes()
        .unwrap()
        .iter()
        .map(Version::to_string)
        .collect();
    assert_eq!(waiting, ["v2.0"]);
    world.route_all();
    assert_eq!(
        world.plan().namespaces["models"].models["llama"]
            .plan_for(true)
            .canaries
            .len(),
        1
    );
}

#[test]
fn a_removed_version_keeps_its_route_for_the_linger_time_and_its_subset_for_longer() {
    let mut world = two_versions();
    world.route_all();
    world.declare([deployment("v1", "v1", &["llama"])]);
    let removed_at = world.now;
    world.write_all();
    assert_eq!(world.routed(), ["v1"], "it leaves the list at once");
    let (both, old) = (world.routes(), world.subsets());
    assert_eq!((both.len(), old.len()), (2, 2));
    world.now = removed_at + LINGER - Duration::from_millis(1);
    world.write_all();
    assert_eq!(world.routes(), both);
    world.now = removed_at + LINGER;
    world.write_all();
    assert_eq!(world.routes().len(), 1);
    assert_eq!(
        world.subsets(),
        old,
        "a proxy may not have the new routes yet"
    );
    world.pass(PROPAGATION);
    world.write_all();
    assert_eq!(world.subsets().len(), 1);
}

#[test]
fn a_removed_service_leaves_no_object_behind() {
    let mut world = two_versions();
    world.route_all();
    world.declare([]);
    for _ in 0..4 {
        world.write_all();
        world.pass(LINGER);
    }
    world.write_all();
    assert!(
        world.stored.objects.is_empty(),
        "{:?}",
        world.stored.objects.keys()
    );
}

#[test]
fn a_new_service_in_front_of_a_routed_version_does_not_take_its_sessions_away() {
    let mut world = two_versions();
    world.route_all();
    world.declare([
        deployment("v1", "v1", &["llama", "other"]),
        weighted(deployment("v2-x", "v2.0", &["llama", "other"]), "20"),
    ]);
    for _ in 0..6 {
        assert_eq!(world.routed(), ["v1", "v2.0"]);
        world.write_all();
        world.pass(PROPAGATION / 2);
    }
    assert_eq!(world.subsets().len(), 2);
    let hosts = world
        .routes()
        .iter()
        .filter(|route| route.contains("other.models"))
        .count();
    assert_eq!(hosts, 2, "{:?}", world.routes());
}

#[test]
fn a_default_configuration_changes_at_most_once_in_five_minutes() {
    let mut world = two_versions();
    world.route_all();
    world.pass(DEFAULT_CONFIG_INTERVAL);
    let rename = |world: &mut World, names: &str| {
        let mut base = deployment("v1", "v1", &["llama"]);
        base.annotations
            .insert("headgate.dev/model-names".to_owned(), names.to_owned());
        world.declare([base, weighted(deployment("v2-x", "v2.0", &["llama"]), "20")]);
    };
    rename(&mut world, "a");
    assert_eq!(
        world.write_all().len(),
        2,
        "one for sidecars, one for gateways"
    );
    rename(&mut world, "b");
    assert_eq!(world.write_all(), Vec::<String>::new());
    let next = world.decide().next.unwrap();
    world.now = next;
    assert_eq!(world.write_all().len(), 2);
}

#[test]
fn the_first_version_of_a_model_is_in_the_default_configuration_at_once() {
    // Without a pod there is no version.
    let mut starting = deployment("v1", "v1", &["llama"]);
    starting.pods.clear();
    let mut world = World::with([starting]);
    world.write_all();
    let insertions = |world: &World| -> String {
        let filters = world.stored.of(IstioKind::EnvoyFilter);
        let named = filters.filter(|(key, _)| !key.name.contains("routes"));
        named.map(|(_, filter)| filter.spec.to_string()).collect()
    };
    let version = r#"\"version\":\"v1\""#;
    assert!(!insertions(&world).contains(version));
    world.declare([deployment("v1", "v1", &["llama"])]);
    world.write_all();
    assert!(insertions(&world).contains(version));
}
