//! Invariants of snapshots: equal plans give equal bytes, all names exist, and only an invalid model is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, on_match};
use headgate_contract::{FilterConfig, Role, Stages, names};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Plan, Pod, Registry, Scales, plan,
};
use headgate_translate::{Cache, Code, LeftOut, Options, ScopeSpec, snapshot, snapshot_with};
use headgate_xds::{Kind, Snapshot};
use proptest::prelude::*;
use prost::Message;

fn options() -> Options {
    let module = Code::File("/modules/headgate-0123.wasm".to_owned());
    let domains = [
        ("default".to_owned(), vec!["*".to_owned()]),
        ("team".to_owned(), vec!["team.example".to_owned()]),
    ];
    Options {
        access_log: Some("/dev/stdout".to_owned()),
        ..Options::new(module, domains)
    }
}

fn scope() -> ScopeSpec {
    ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned(), "team".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    }
}

/// A carrier: namespace, model, version, weight label, and the ports of its pods (0 is invalid).
#[derive(Debug, Clone)]
struct Spec(&'static str, String, String, Option<u8>, Vec<u16>);

fn objects(specs: &[Spec]) -> Objects {
    let mut objects = Objects::default();
    for Spec(namespace, model, version, weight, ports) in specs {
        let mut labels = BTreeMap::from([
            (names::LABEL_MODEL.to_owned(), model.clone()),
            (names::LABEL_VERSION.to_owned(), version.clone()),
        ]);
        if let Some(weight) = weight {
            labels.insert(names::LABEL_WEIGHT.to_owned(), weight.to_string());
        }
        let key = CarrierKey {
            namespace: (*namespace).to_owned(),
            kind: "deployment".to_owned(),
            name: format!("{model}-{version}").to_lowercase(),
        };
        let pods = ports
            .iter()
            .map(|port| {
                Pod::at(
                    format!("p{port}"),
                    SocketAddr::from(([127, 0, 0, 1], *port)),
                )
            })
            .collect();
        objects.carriers.insert(
            key.clone(),
            Carrier {
                key,
                created: None,
                labels,
                annotations: BTreeMap::new(),
                desired: 1,
                owner_replicas: BTreeMap::new(),
                min_ready_seconds: 0,
                unready_reasons: Vec::new(),
                mesh: CarrierMesh::default(),
                pods,
                origin: "test.yaml".to_owned(),
            },
        );
    }
    objects
}

fn planned(specs: &[Spec]) -> Plan {
    let objects = objects(specs);
    plan(
        &Registry::build(&objects, &LabelKeys::default()),
        &objects,
        &Scales::default(),
    )
}

fn two_versions(weight: u8) -> Vec<Spec> {
    vec![
        Spec("default", "llama".into(), "v1".into(), None, vec![8101]),
        Spec(
            "default",
            "llama".into(),
            "v2.0".into(),
            Some(weight),
            vec![8102],
        ),
    ]
}

fn translated(specs: &[Spec]) -> Snapshot {
    snapshot(&planned(specs), &scope(), &options())
        .unwrap()
        .snapshot
}

/// Every cluster that the route table names, by virtual host, model and version.
fn routed(table: &RouteConfiguration) -> BTreeMap<(String, String, String), String> {
    let mut found = BTreeMap::new();
    for host in &table.virtual_hosts {
        let matcher = host.matcher.as_ref().unwrap();
        walk(matcher, &mut vec![host.name.clone()], &mut found);
    }
    found
}

fn walk(
    m: &Matcher,
    path: &mut Vec<String>,
    found: &mut BTreeMap<(String, String, String), String>,
) {
    match &m.matcher_type {
        Some(MatcherType::MatcherList(list)) => {
            for field in &list.matchers {
                step(field.on_match.as_ref().unwrap(), path, found);
            }
        }
        Some(MatcherType::MatcherTree(tree)) => {
            let Some(TreeType::ExactMatchMap(map)) = &tree.tree_type else {
                panic!("exact matches only")
            };
            for (key, next) in &map.map {
                path.push(key.clone());
                step(next, path, found);
                path.pop();
            }
        }
        None => {}
    }
    if let Some(otherwise) = &m.on_no_match {
        path.push("*".to_owned());
        step(otherwise, path, found);
        path.pop();
    }
}

fn step(
    next: &OnMatch,
    path: &mut Vec<String>,
    found: &mut BTreeMap<(String, String, String), String>,
) {
    match next.on_match.as_ref().unwrap() {
        on_match::OnMatch::Matcher(m) => walk(m, path, found),
        on_match::OnMatch::Action(action) => {
            let any = action.typed_config.as_ref().unwrap();
            let route = Route::decode(any.value.as_slice()).unwrap();
            if let Some(Action::Route(to)) = route.action {
                let Some(ClusterSpecifier::Cluster(cluster)) = to.cluster_specifier else {
                    panic!("a cluster by name")
                };
                assert_eq!(path.len(), 3, "{path:?}");
                found.insert((path[0].clone(), path[1].clone(), path[2].clone()), cluster);
            }
        }
    }
}

fn decode<M: Message + Default>(snapshot: &Snapshot, kind: Kind, name: &str) -> M {
    M::decode(snapshot.get(kind, name).expect(name).body().clone()).unwrap()
}

fn filter_config(snapshot: &Snapshot, name: &str) -> FilterConfig {
    let extension: TypedExtensionConfig = decode(snapshot, Kind::Extension, name);
    let wasm = Wasm::decode(extension.typed_config.unwrap().value.as_slice()).unwrap();
    let any = wasm.config.unwrap().configuration.unwrap();
    let json = StringValue::decode(any.value.as_slice()).unwrap().value;
    FilterConfig::parse(json.as_bytes()).unwrap()
}

#[test]
fn each_filter_has_its_stages_and_role_and_the_same_configuration_otherwise() {
    let snapshot = translated(&two_versions(10));
    let config = |name| filter_config(&snapshot, name);
    let fused = config("headgate");
    assert_eq!(fused.stages, Some(Stages::ALL));
    assert_eq!(fused.role, Role::Decide);
    for (name, stages, role) in [
        ("headgate.traffic-tag", Stages::TAG, Role::Decide),
        ("headgate.token-bucket", Stages::LIMIT, Role::Decide),
        ("headgate.follow", Stages::ALL, Role::Follow),
        ("headgate.traffic-tag.follow", Stages::TAG, Role::Follow),
        ("headgate.token-bucket.follow", Stages::LIMIT, Role::Follow),
    ] {
        let expected = FilterConfig {
            stages: Some(stages),
            role,
            ..fused.clone()
        };
        assert_eq!(config(name), expected, "{name}");
    }
}

#[test]
fn a_weight_edit_sends_one_endpoint_resource_and_the_filters_and_no_routes() {
    let (before, after) = (translated(&two_versions(10)), translated(&two_versions(30)));
    let changed = |kind: Kind| -> Vec<String> {
        after
            .of(kind)
            .filter(|r| before.get(kind, r.name()).unwrap().version() != r.version())
            .map(|r| r.name().to_owned())
            .collect()
    };
    assert_eq!(changed(Kind::Endpoints), ["model/default/llama"]);
    assert_eq!(
        changed(Kind::Extension),
        [
            "headgate",
            "headgate.follow",
            "headgate.token-bucket",
            "headgate.token-bucket.follow",
            "headgate.traffic-tag",
            "headgate.traffic-tag.follow"
        ]
    );
    for quiet in [Kind::Cluster, Kind::Listener, Kind::Route] {
        assert_eq!(changed(quiet), Vec::<String>::new(), "{quiet}");
    }
}

#[test]
fn the_role_of_a_scope_chooses_only_the_filter_of_its_listener() {
    let plan = planned(&two_versions(10));
    let roles = [false, true].map(|follow| ScopeSpec { follow, ..scope() });
    let [decides, follows] =
        roles.map(|scope| snapshot(&plan, &scope, &options()).unwrap().snapshot);
    let filter = |snapshot: &Snapshot| {
        let listener: Listener = decode(snapshot, Kind::Listener, names::LISTENER);
        let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type
        else {
            panic!("a typed filter")
        };
        let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
        manager.http_filters[2].name.clone()
    };
    assert_eq!(filter(&decides), "headgate");
    assert_eq!(filter(&follows), "headgate.follow");
    for kind in [Kind::Cluster, Kind::Endpoints, Kind::Route, Kind::Extension] {
        let versions = |snapshot: &Snapshot| {
            let resources = snapshot.of(kind);
            let versions = resources.map(|r| (r.name().to_owned(), r.version().to_owned()));
            versions.collect::<Vec<_>>()
        };
        assert!(!versions(&decides).is_empty());
        assert_eq!(versions(&decides), versions(&follows), "{kind}");
    }
}

#[test]
fn the_models_cluster_has_one_weighted_locality_per_version_and_endpoints_with_its_name() {
    let snapshot = translated(&two_versions(10));
    let load: ClusterLoadAssignment = decode(&snapshot, Kind::Endpoints, "model/default/llama");
    let weights: BTreeMap<String, u32> = load
        .endpoints
        .iter()
        .map(|l| {
            (
                l.locality.as_ref().unwrap().sub_zone.clone(),
                l.load_balancing_weight.unwrap().value,
            )
        })
        .collect();
    assert_eq!(
        weights,
        BTreeMap::from([("v1".to_owned(), 900_000), ("v2.0".to_owned(), 100_000)])
    );
    for locality in &load.endpoints {
        let version = &locality.locality.as_ref().unwrap().sub_zone;
        for endpoint in &locality.lb_endpoints {
            let metadata = &endpoint.metadata.as_ref().unwrap().filter_metadata["headgate"];
            assert!(format!("{:?}", metadata.fields["version"]).contains(version));
        }
    }
}

#[test]
fn a_dark_version_has_a_cluster_and_a_route_and_no_locality() {
    let snapshot = translated(&two_versions(0));
    let load: ClusterLoadAssignment = decode(&snapshot, Kind::Endpoints, "model/default/llama");
    assert_eq!(load.endpoints.len(), 1);
    let table: RouteConfiguration = decode(&snapshot, Kind::Route, names::ROUTE_CONFIG);
    let host = names::virtual_host("default");
    assert_eq!(
        routed(&table)[&(host, "llama".to_owned(), "v2.0".to_owned())],
        "model/default/llama/v2.0"
    );
}

#[test]
fn clusters_carry_their_identity_and_a_stat_name_that_ends_in_a_slash() {
    let snapshot = translated(&two_versions(10));
    let cluster: Cluster = decode(&snapshot, Kind::Cluster, "model/default/llama/v2.0");
    assert_eq!(cluster.alt_stat_name, "model/default/llama/v2.0/");
    let fields = &cluster.metadata.unwrap().filter_metadata["headgate"].fields;
    assert_eq!(fields.len(), 3);
}

#[test]
fn a_bad_model_is_left_out_alone_and_reported() {
    let mut specs = two_versions(10);
    specs.push(Spec("default", "broken".into(), "v1".into(), None, vec![0]));
    let translated = snapshot(&planned(&specs), &scope(), &options()).unwrap();
    assert_eq!(translated.rejected.len(), 1);
    assert_eq!(
        translated.rejected[0].what,
        LeftOut::Model("broken".try_into().unwrap())
    );
    assert!(translated.rejected[0].reason.contains("give it a port"));
    assert!(
        translated
            .snapshot
            .get(Kind::Cluster, "model/default/llama")
            .is_some()
    );
    assert!(
        translated
            .snapshot
            .get(Kind::Cluster, "model/default/broken")
            .is_none()
    );
}

#[test]
fn an_invalid_or_foreign_host_is_left_out_and_reported() {
    let mut specs = two_versions(10);
    let other = Spec("team", "m".into(), "v1".into(), None, vec![8103]);
    specs.push(other);
    let mut plan = planned(&specs);
    for (namespace, hosts) in [
        ("default", ["m.default.svc", "Upper.example"]),
        ("team", ["m.default.svc", "m.team.svc"]),
    ] {
        plan.namespaces.get_mut(namespace).unwrap().config.hosts = hosts.map(Into::into).to_vec();
    }
    let translated = snapshot(&plan, &scope(), &options()).unwrap();
    let config = filter_config(&translated.snapshot, "headgate");
    assert_eq!(config.namespaces["default"].hosts, ["m.default.svc"]);
    assert_eq!(config.namespaces["team"].hosts, ["m.team.svc"]);
    let rejected: Vec<String> = translated
        .rejected
        .iter()
        .map(|r| format!("{} {}: {}", r.namespace, r.what, r.reason))
        .collect();
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(
        rejected[0].starts_with("default host Upper.example: "),
        "{rejected:?}"
    );
    let expected =
        "team host m.default.svc: it is also a host of namespace default: remove it from one";
    assert_eq!(rejected[1], expected);
}

#[test]
fn an_empty_plan_still_has_a_listener_routes_and_filters() {
    let snapshot = translated(&[]);
    assert_eq!(snapshot.count(Kind::Listener), 1);
    assert_eq!(snapshot.count(Kind::Extension), 7);
    let table: RouteConfiguration = decode(&snapshot, Kind::Route, names::ROUTE_CONFIG);
    assert_eq!(table.virtual_hosts.len(), 2);
}

#[test]
fn a_retried_filter_configuration_differs_only_by_the_retry_counter() {
    let snapshot = translated(&two_versions(10));
    let filter = snapshot.get(Kind::Extension, names::ECDS_FUSED).unwrap();
    let retry_body = filter.retry_body().unwrap();
    assert_ne!(retry_body(1), *filter.body());
    assert_ne!(retry_body(1), retry_body(2));
    assert_eq!(retry_body(2), retry_body(2));
    let mut config = filter_config(&snapshot, names::ECDS_FUSED);
    assert_eq!(config.retry, 0);
    config.retry = 2;
    let json = config.emit().unwrap();
    let bytes = retry_body(2);
    assert!(bytes.windows(json.len()).any(|w| w == json.as_bytes()));
}

/// Unchanged resources share their memory with the last snapshot.
#[test]
fn a_weight_edit_encodes_one_endpoint_resource_again() {
    let mut cache = Cache::default();
    let mut translated = |specs: &[Spec]| {
        let translated = snapshot_with(&mut cache, &planned(specs), &scope(), &options());
        translated.unwrap().snapshot
    };
    let mut specs = two_versions(10);
    specs.push(Spec(
        "default",
        "other".into(),
        "v1".into(),
        None,
        vec![8103],
    ));
    let before = translated(&specs);
    specs[1].3 = Some(30);
    let after = translated(&specs);
    let encoded = |kind: Kind| -> Vec<String> {
        let same = |r: &&std::sync::Arc<headgate_xds::Resource>| {
            std::ptr::eq(
                r.body().as_ptr(),
                before.get(kind, r.name()).unwrap().body().as_ptr(),
            )
        };
        let encoded = after.of(kind).filter(|r| !same(r));
        encoded.map(|r| r.name().to_owned()).collect()
    };
    assert_eq!(encoded(Kind::Cluster), Vec::<String>::new());
    assert_eq!(encoded(Kind::Endpoints), ["model/default/llama"]);
    assert_eq!(encoded(Kind::Route), Vec::<String>::new());
}

fn plans_of_carriers() -> impl Strategy<Value = Vec<Spec>> {
    let one = (
        prop::sample::select(vec!["default", "team", "elsewhere"]),
        "[ab]",
        "v[1-4]",
        prop::option::of(0u8..=100),
        prop::collection::vec(1u16..9, 0..3),
    )
        .prop_map(|(ns, m, v, w, ports)| Spec(ns, m, v, w, ports));
    prop::collection::vec(one, 0..12)
}

proptest! {
    /// Routes follow the filter: every model and version of the filter's configuration leads to its cluster, and every other version of
    /// the model to the model's cluster.
    #[test]
    fn filter_and_route_agree(specs in plans_of_carriers()) {
        let snapshot = translated(&specs);
        let table: RouteConfiguration = decode(&snapshot, Kind::Route, names::ROUTE_CONFIG);
        let routes = routed(&table);
        let mut expected = BTreeMap::new();
        for (namespace, config) in &filter_config(&snapshot, names::ECDS_FUSED).namespaces {
            let host = names::virtual_host(namespace);
            for (id, plan) in &config.models {
                let own = names::model_cluster(namespace, id.as_str());
                expected.insert((host.clone(), id.to_string(), "*".to_owned()), own);
                for v in plan.versions() {
                    let cluster = names::variant_cluster(namespace, id.as_str(), v.version.as_str());
                    expected.insert((host.clone(), id.to_string(), v.version.to_string()), cluster);
                }
            }
        }
        prop_assert_eq!(routes, expected);
    }

    /// Every cluster that a route names is in the snapshot with its endpoints, and the route table requires it.
    #[test]
    fn no_route_without_cluster(specs in plans_of_carriers()) {
        let snapshot = translated(&specs);
        let table: RouteConfiguration = decode(&snapshot, Kind::Route, names::ROUTE_CONFIG);
        let requires: BTreeSet<String> = snapshot
            .get(Kind::Route, names::ROUTE_CONFIG)
            .unwrap()
            .requires()
            .iter()
            .map(|k| k.name.to_string())
            .collect();
        for cluster in routed(&table).into_values() {
            prop_assert!(snapshot.get(Kind::Cluster, &cluster).is_some());
            prop_assert!(snapshot.get(Kind::Endpoints, &cluster).is_some());
            prop_assert!(requires.contains(&cluster));
        }
    }

    /// Equal plans give equal bytes. Hash maps differ in order within one process, so two translations would show a difference.
    #[test]
    fn equal_plans_give_equal_bytes(specs in plans_of_carriers()) {
        let (once, again) = (translated(&specs), translated(&specs));
        for kind in Kind::PUSH_ORDER {
            let bytes = |s: &Snapshot| s.of(kind).map(|r| (r.name().to_owned(), r.body().clone())).collect::<Vec<_>>();
            prop_assert_eq!(bytes(&once), bytes(&again));
        }
    }

    /// With any history, the cache gives the same result as a new translation: bytes, requirements and rejections.
    #[test]
    fn the_cache_does_not_change_the_result(history in prop::collection::vec(plans_of_carriers(), 1..6)) {
        let mut cache = Cache::default();
        for specs in history {
            let plan = planned(&specs);
            let cached = snapshot_with(&mut cache, &plan, &scope(), &options()).unwrap();
            let uncached = snapshot(&plan, &scope(), &options()).unwrap();
            prop_assert_eq!(&cached.rejected, &uncached.rejected);
            for kind in Kind::PUSH_ORDER {
                let all = |s: &Snapshot| s.of(kind).map(|r| (r.key().clone(), r.body().clone(), r.requires().to_vec())).collect::<Vec<_>>();
                prop_assert_eq!(all(&cached.snapshot), all(&uncached.snapshot));
            }
        }
    }

    /// The weights of the localities of a model's cluster sum to a million, and none is zero.
    #[test]
    fn weights_sum_to_100(specs in plans_of_carriers()) {
        let plan = planned(&specs);
        let snapshot = translated(&specs);
        for namespace in ["default", "team"] {
            let Some(view) = plan.namespaces.get(namespace) else { continue };
            for id in view.models.keys() {
                let load: ClusterLoadAssignment = decode(&snapshot, Kind::Endpoints, &names::model_cluster(namespace, id.as_str()));
                let weights: Vec<u32> = load.endpoints.iter().map(|l| l.load_balancing_weight.unwrap().value).collect();
                prop_assert!(weights.iter().all(|w| *w > 0));
                prop_assert!(weights.is_empty() || weights.iter().sum::<u32>() == 1_000_000);
            }
        }
    }
}
