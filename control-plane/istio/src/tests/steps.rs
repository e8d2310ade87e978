//! Phases of writes, and the versions that are routed.

use super::*;

#[test]
fn subsets_come_before_routes_and_a_version_is_routed_once_its_route_has_settled() {
    let mut world = two_versions();
    let first = world.settle();
    assert!(
        first
            .iter()
            .any(|write| write.starts_with("apply DestinationRule models/headgate-llama")),
        "{first:?}"
    );
    assert!(
        world.routes().is_empty(),
        "a route before its subset has settled"
    );
    world.pass(SETTLE - Duration::from_millis(1));
    assert_eq!(world.settle(), Vec::<String>::new());
    world.pass(Duration::from_millis(1));
    let second = world.settle();
    assert!(
        second.iter().all(|write| write.contains("EnvoyFilter")),
        "{second:?}"
    );
    assert!(
        world.routed().is_empty(),
        "a version is routed before its route has settled"
    );
    world.pass(SETTLE);
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
    world.settle();
    assert_eq!(world.routed(), ["v1"], "it leaves the list at once");
    let (both, old) = (world.routes(), world.subsets());
    assert_eq!((both.len(), old.len()), (2, 2));
    world.now = removed_at + LINGER - Duration::from_millis(1);
    world.settle();
    assert_eq!(world.routes(), both);
    world.now = removed_at + LINGER;
    world.settle();
    assert_eq!(world.routes().len(), 1);
    assert_eq!(
        world.subsets(),
        old,
        "a proxy may not have the new routes yet"
    );
    world.pass(SETTLE);
    world.settle();
    assert_eq!(world.subsets().len(), 1);
}

#[test]
fn a_route_stays_until_all_proxies_have_acknowledged_that_its_version_left_the_plan() {
    let model = (
        "models".to_owned(),
        ModelId::try_from("llama".to_owned()).unwrap(),
    );
    for acknowledged in [true, false] {
        let mut world = two_versions();
        world.route_all();
        world.unacknowledged.insert(model.clone());
        world.unacknowledged.insert((
            "other".to_owned(),
            ModelId::try_from("llama".to_owned()).unwrap(),
        ));
        world.declare([deployment("v1", "v1", &["llama"])]);
        let removed_at = world.now;
        world.settle();
        world.now = removed_at + LINGER * LONGEST_LINGER - Duration::from_millis(1);
        world.settle();
        assert_eq!(world.routes().len(), 2);
        assert_eq!(world.decide().overdue, BTreeSet::new());
        let bound = removed_at + LINGER * LONGEST_LINGER;
        if acknowledged {
            world.unacknowledged.remove(&model);
        } else {
            assert_eq!(world.decide().next, Some(bound));
            world.now = bound;
            assert_eq!(world.decide().overdue, [model.clone()].into());
        }
        world.settle();
        assert_eq!(world.routes().len(), 1);
    }
}

#[test]
fn a_removed_service_leaves_no_object_behind() {
    let mut world = two_versions();
    world.route_all();
    world.declare([]);
    for _ in 0..4 {
        world.settle();
        world.pass(LINGER);
    }
    world.settle();
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
        world.settle();
        world.pass(SETTLE / 2);
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
fn an_object_of_another_person_is_never_written() {
    let mut world = two_versions();
    let key = ObjectKey {
        namespace: "models".to_owned(),
        name: "headgate-llama".to_owned(),
    };
    world
        .stored
        .foreign
        .insert((IstioKind::DestinationRule, key.clone()));
    let steps = world.decide();
    assert!(
        steps
            .taken
            .contains(&(IstioKind::DestinationRule, key.clone()))
    );
    let touches = |write: &Write| matches!(write, Write::Apply(_, of, _) | Write::Delete(_, of, _) if *of == key);
    assert!(!steps.writes.iter().any(touches));
}

#[test]
fn a_version_whose_rule_somebody_deleted_leaves_the_plan_though_its_routes_exist() {
    let mut world = two_versions();
    world.route_all();
    let rule = ObjectKey {
        namespace: "models".to_owned(),
        name: "headgate-llama".to_owned(),
    };
    let place = (IstioKind::DestinationRule, rule);
    let deleted = world.stored.objects.remove(&place).unwrap();
    assert_eq!(world.routed(), Vec::<String>::new());
    assert_eq!(world.routes().len(), 2, "the routes are still there");
    world.stored.objects.insert(place, deleted);
    assert_eq!(
        world.routed(),
        Vec::<String>::new(),
        "proxies may not have the subsets yet"
    );
    world.pass(SETTLE);
    assert_eq!(world.routed(), ["v1", "v2.0"]);
}
