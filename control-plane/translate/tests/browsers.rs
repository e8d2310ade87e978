//! CORS: the policy of a virtual host, and the order of filters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use headgate_contract::{AnyPolicySpec, TrafficTagPolicySpec, names};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Policy, Registry, Scales, plan,
};
use headgate_translate::{Cache, Code, Options, ScopeSpec, snapshot_with};
use headgate_xds::{Kind, Snapshot};
use prost::Message;

/// A namespace with model `m` and tagging policies with these specs, the oldest first.
fn objects(specs: &[&str]) -> Objects {
    let mut objects = Objects::default();
    let key = CarrierKey {
        namespace: "default".to_owned(),
        kind: "deployment".to_owned(),
        name: "m-v1".to_owned(),
    };
    let carrier = Carrier {
        key: key.clone(),
        created: None,
        labels: BTreeMap::from([
            (names::LABEL_MODEL.to_owned(), "m".to_owned()),
            (names::LABEL_VERSION.to_owned(), "v1".to_owned()),
        ]),
        annotations: BTreeMap::new(),
        desired: 1,
        owner_replicas: BTreeMap::new(),
        min_ready_seconds: 0,
        unready_reasons: Vec::new(),
        mesh: CarrierMesh::default(),
        pods: Vec::new(),
        origin: String::new(),
    };
    objects.carriers.insert(key, carrier);
    for (created, spec) in (0..).zip(specs) {
        let name = format!("policy-{created}");
        let spec: TrafficTagPolicySpec = serde_json::from_str(spec).unwrap();
        let policy = Policy {
            namespace: "default".to_owned(),
            name,
            uid: String::new(),
            created: Some(created),
            generation: 1,
            origin: String::new(),
            spec: AnyPolicySpec::new(spec),
        };
        objects.insert_policy(policy);
    }
    objects
}

fn translated(cache: &mut Cache, specs: &[&str]) -> Snapshot {
    let objects = objects(specs);
    let registry = Registry::build(&objects, &LabelKeys::default());
    let plan = plan(&registry, &objects, &Scales::default());
    let module = Code::File("/modules/headgate.wasm".to_owned());
    let options = Options::new(module, [("default".to_owned(), vec!["*".to_owned()])]);
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    };
    snapshot_with(cache, &plan, &scope, &options)
        .unwrap()
        .snapshot
}

fn policy(specs: &[&str]) -> Option<CorsPolicy> {
    let snapshot = translated(&mut Cache::default(), specs);
    let table = snapshot.get(Kind::Route, names::ROUTE_CONFIG).unwrap();
    let mut table = RouteConfiguration::decode(table.body().clone()).unwrap();
    let mut host = table.virtual_hosts.remove(0);
    let any = host
        .typed_per_filter_config
        .remove("envoy.filters.http.cors")?;
    Some(CorsPolicy::decode(any.value.as_slice()).unwrap())
}

#[test]
fn an_edit_of_cors_sends_routes_and_no_listener() {
    let mut cache = Cache::default();
    let taggings: [&[&str]; 3] = [
        &[],
        &[r#"{"cors": {"allowOrigins": ["https://a.example"]}}"#],
        &[r#"{"cors": {"allowOrigins": ["https://b.example"]}}"#],
    ];
    let snapshots = taggings.map(|specs| translated(&mut cache, specs));
    for (before, after) in snapshots.iter().zip(&snapshots[1..]) {
        let changed = |kind: Kind| {
            let mut all = after.of(kind);
            all.any(|r| before.get(kind, r.name()).unwrap().version() != r.version())
        };
        assert!(changed(Kind::Route));
        assert!(!changed(Kind::Listener) && !changed(Kind::Cluster));
    }
}

#[test]
fn the_cors_filter_comes_before_headgates_so_error_responses_carry_its_headers() {
    let snapshot = translated(&mut Cache::default(), &[]);
    let listener = snapshot.get(Kind::Listener, names::LISTENER).unwrap();
    let listener = Listener::decode(listener.body().clone()).unwrap();
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type
    else {
        panic!("{listener:?}")
    };
    let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    let filters: Vec<&str> = manager
        .http_filters
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(
        filters,
        [
            "envoy.filters.http.cors",
            "headgate.jwt",
            "headgate",
            "router"
        ]
    );
    assert_eq!(policy(&[]), None, "without a policy it does nothing");
}

#[test]
fn the_first_tagging_for_the_whole_namespace_sets_the_cors_policy() {
    let cors = |origin: &str| format!(r#"{{"cors": {{"allowOrigins": ["{origin}"]}}}}"#);
    let (a, b) = (cors("https://a.example"), cors("https://b.example"));
    let exact = |specs: &[&str]| {
        let policy = policy(specs)?;
        match policy.allow_origin_string_match[0].match_pattern.clone()? {
            MatchPattern::Exact(origin) => Some(origin),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(exact(&[&a, &b]).unwrap(), "https://a.example");
    assert_eq!(exact(&["{}", &b]), None, "taggings are not merged");
    let closer = r#"{"models": ["m"]}"#;
    assert_eq!(
        exact(&[closer, &b]).unwrap(),
        "https://b.example",
        "although another tagging applies to every model"
    );
}

#[test]
fn origins_match_as_the_contract_matches_them() {
    let spec = r#"{"cors": {"allowOrigins": ["*", "https://a.example:8443", "https://*.a-b.example.com"]}}"#;
    let patterns: Vec<_> = policy(&[spec])
        .unwrap()
        .allow_origin_string_match
        .into_iter()
        .map(|m| match m.match_pattern.unwrap() {
            MatchPattern::SafeRegex(regex) => format!("regex {}", regex.regex),
            MatchPattern::Exact(text) => format!("exact {text}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        patterns,
        [
            "regex .*",
            "exact https://a.example:8443",
            r"regex https://[^/]+\.a-b\.example\.com"
        ]
    );
}

#[test]
fn allowed_headers_are_those_of_the_sdks_or_as_written() {
    let allowed = |more: &str| {
        let spec = format!(r#"{{"cors": {{"allowOrigins": ["https://a.example"]{more}}}}}"#);
        policy(&[&spec]).unwrap().allow_headers
    };
    let usual = allowed("");
    assert!(usual.starts_with("authorization, content-type, x-api-key"));
    assert!(usual.ends_with("x-stainless-helper-method, *"), "{usual}");
    // With credentials, a browser treats `*` as a header name.
    let named = allowed(r#", "allowCredentials": true"#);
    assert!(named.ends_with("x-stainless-helper-method"), "{named}");
    assert_eq!(
        allowed(r#", "allowHeaders": ["x-own", "content-type"]"#),
        "x-own, content-type"
    );
    // `*` does not include `authorization`.
    assert_eq!(allowed(r#", "allowHeaders": ["*"]"#), "*, authorization");
    let whole = policy(&[
        r#"{"cors": {"allowOrigins": ["https://a.example"], "maxAge": "1h30m", "allowCredentials": true}}"#,
    ])
    .unwrap();
    assert_eq!(whole.max_age, "5400");
    assert!(whole.allow_credentials.unwrap().value);
    assert!(whole.forward_not_matching_preflights.unwrap().value);
    assert_eq!(whole.allow_methods, "GET, HEAD, POST, OPTIONS");
    for header in [
        "retry-after",
        "x-should-retry",
        "x-ratelimit-remaining-tokens",
        "x-model-version",
    ] {
        assert!(
            whole.expose_headers.split(", ").any(|h| h == header),
            "{header}"
        );
    }
}
