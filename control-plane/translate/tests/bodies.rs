//! Sizes of direct responses: Envoy rejects a whole route table for one body above 4096 bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteConfiguration};
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::TreeType;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, on_match};
use headgate_contract::names;
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Registry, Scales, plan,
};
use headgate_translate::{Code, Options, ScopeSpec, snapshot};
use headgate_xds::Kind;
use proptest::prelude::*;
use prost::Message;

/// Envoy's default for `max_direct_response_body_size_bytes`.
const LARGEST: usize = 4096;

fn table(namespace: &str, names_by_model: &[(String, String)]) -> RouteConfiguration {
    let mut objects = Objects::default();
    for (i, (model, client_names)) in names_by_model.iter().enumerate() {
        let key = CarrierKey {
            namespace: namespace.to_owned(),
            kind: "deployment".to_owned(),
            name: format!("d{i}"),
        };
        let carrier = Carrier {
            key: key.clone(),
            created: None,
            labels: BTreeMap::from([
                (names::LABEL_MODEL.to_owned(), model.clone()),
                (names::LABEL_VERSION.to_owned(), format!("v{i}")),
            ]),
            annotations: BTreeMap::from([(
                names::ANNOTATION_MODEL_NAMES.to_owned(),
                client_names.clone(),
            )]),
            desired: 1,
            owner_replicas: BTreeMap::new(),
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            mesh: CarrierMesh::default(),
            pods: Vec::new(),
            origin: String::new(),
        };
        objects.carriers.insert(key, carrier);
    }
    let module = Code::File("/modules/headgate.wasm".to_owned());
    let domains = [(namespace.to_owned(), vec!["*".to_owned()])];
    let options = Options::new(module, domains);
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec![namespace.to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    };
    let registry = Registry::build(&objects, &LabelKeys::default());
    let plan = plan(&registry, &objects, &Scales::default());
    let snapshot = snapshot(&plan, &scope, &options).unwrap().snapshot;
    let table = snapshot.get(Kind::Route, names::ROUTE_CONFIG).unwrap();
    RouteConfiguration::decode(table.body().clone()).unwrap()
}

/// The sizes of all bodies in the direct responses of a matcher.
fn bodies(matcher: &Matcher, found: &mut Vec<usize>) {
    let mut next: Vec<&OnMatch> = matcher.on_no_match.as_deref().into_iter().collect();
    match &matcher.matcher_type {
        Some(MatcherType::MatcherList(list)) => {
            next.extend(list.matchers.iter().filter_map(|m| m.on_match.as_ref()));
        }
        Some(MatcherType::MatcherTree(tree)) => {
            if let Some(TreeType::ExactMatchMap(map)) = &tree.tree_type {
                next.extend(map.map.values());
            }
        }
        None => {}
    }
    for on_match in next {
        match on_match.on_match.as_ref().unwrap() {
            on_match::OnMatch::Matcher(inner) => bodies(inner, found),
            on_match::OnMatch::Action(action) => {
                let any = action.typed_config.as_ref().unwrap();
                let route = Route::decode(any.value.as_slice()).unwrap();
                if let Some(Action::DirectResponse(answer)) = route.action {
                    let Some(Specifier::InlineString(text)) = answer.body.unwrap().specifier else {
                        panic!("not an inline body")
                    };
                    found.push(text.len());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_body_exceeds_envoys_limit_whatever_the_names(
        namespace in "[a-z]{1,63}",
        models in prop::collection::vec(("[A-Za-z0-9]{1,63}", "[^,\\x00-\\x1f]{0,256}(,[a-z]{256}){0,40}"), 0..60),
    ) {
        let table = table(&namespace, &models);
        let mut found = Vec::new();
        for host in &table.virtual_hosts {
            bodies(host.matcher.as_ref().unwrap(), &mut found);
        }
        prop_assert!(!found.is_empty());
        prop_assert!(found.iter().all(|size| *size <= LARGEST), "{:?}", found);
    }
}
