//! The configuration while the control plane is away.

use super::*;

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
        world.settle().len(),
        2,
        "one for sidecars, one for gateways"
    );
    rename(&mut world, "b");
    assert_eq!(world.settle(), Vec::<String>::new());
    let next = world.decide().next.unwrap();
    world.now = next;
    assert_eq!(world.settle().len(), 2);
}

#[test]
fn the_first_version_of_a_model_is_in_the_default_configuration_at_once() {
    // Without a pod there is no version.
    let mut starting = deployment("v1", "v1", &["llama"]);
    starting.pods.clear();
    let mut world = World::with([starting]);
    world.settle();
    let insertions = |world: &World| -> String {
        let filters = world.stored.of(IstioKind::EnvoyFilter);
        let named = filters.filter(|(key, _)| !key.name.contains("routes"));
        named.map(|(_, filter)| filter.spec.to_string()).collect()
    };
    let version = r#"\"version\":\"v1\""#;
    assert!(!insertions(&world).contains(version));
    world.declare([deployment("v1", "v1", &["llama"])]);
    world.settle();
    assert!(insertions(&world).contains(version));
}

#[test]
fn the_first_route_of_a_model_is_in_the_default_configuration_at_once() {
    let mut world = two_versions();
    let unrouted = |world: &World| {
        let filters = world.stored.of(IstioKind::EnvoyFilter);
        let mut specs = filters.map(|(_, filter)| filter.spec.to_string());
        specs.any(|spec| spec.contains("unrouted"))
    };
    world.settle();
    assert!(unrouted(&world));
    world.route_all();
    assert!(world.now < DEFAULT_CONFIG_INTERVAL);
    assert!(!unrouted(&world));
}

#[test]
fn the_default_configuration_has_the_base_alone() {
    let world = two_versions();
    let desired = world.desired();
    let config = &desired.insertions.values().next().unwrap().default_config;
    let model: Value = serde_json::to_value(&config.namespaces["models"].models["llama"]).unwrap();
    assert_eq!(
        model["base"][0]["versions"],
        json!([{ "version": "v1", "endpoints": 1 }])
    );
    assert!(model.get("canaries").is_none() && model.get("dark").is_none());
}
