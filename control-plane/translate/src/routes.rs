//! The route table: a matcher tree per virtual host, flat in the number of models.
//!
//! Paths are decided above the tree (a leaf whose `match` fails answers a bare 404); inside it, exact `x-model`, then
//! exact `x-model-version`. Health checks that name no model are answered here. A missing or unknown version goes to the
//! model's own cluster, so a proxy without the filter, or one whose filter and routes are a push apart, still splits right
//! and never routes to nothing. Weights are not here: an edit of them never sends routes.
//!
//! Where web pages may call, a request of theirs that finds no model yet has a route all the same: see [`nowhere`].

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use headgate_contract::{Cors, names};
use headgate_model::PlannedModel;
use headgate_xds::{Kind, Resource};
use prost::Message;
use serde_json::{Value, json};

use crate::cors;
use crate::endpoints::any_by_name;
use crate::leaves::{answer, nowhere, refused_preflight, to_cluster, unknown_model, unknown_path};
use crate::matching::{any_of, begins, first_of, is, is_present, nested, tree};
use crate::ordered::{Matcher, OnMatch, Predicate, append};
use crate::scope::Options;
use crate::validate::{Accepted, View};

/// Field number of `virtual_hosts` in `RouteConfiguration`.
const VIRTUAL_HOSTS_TAG: u32 = 2;
/// Field number of `matcher` in `VirtualHost`.
const MATCHER_TAG: u32 = 21;

const PATH: &str = ":path";

/// Prefixes under which models are served.
const SERVING_PREFIXES: [&str; 4] = [
    "/v1/",
    "/v2/models/",
    "/inference.GRPCInferenceService/",
    "/infer",
];

/// The route table of a scope.
pub(crate) fn table(accepted: &Accepted<'_>, options: &Options) -> Resource {
    let mut bytes = RouteConfiguration {
        name: names::ROUTE_CONFIG.to_owned(),
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
    .encode_to_vec();
    for (namespace, view) in accepted {
        let Some(domains) = options.domains.get(*namespace) else {
            continue;
        };
        let cors = cors::of(view);
        let policy = cors.map(|cors| (cors::FILTER.to_owned(), cors::policy(cors)));
        let mut host = VirtualHost {
            name: names::virtual_host(namespace),
            domains: domains.clone(),
            typed_per_filter_config: HashMap::from_iter(policy),
            ..VirtualHost::default()
        }
        .encode_to_vec();
        append(
            &mut host,
            MATCHER_TAG,
            &by_path(namespace, view, cors, options).encode_to_vec(),
        );
        append(&mut bytes, VIRTUAL_HOSTS_TAG, &host);
    }
    Resource::new(Kind::Route, names::ROUTE_CONFIG, bytes)
}

fn by_path(namespace: &str, view: &View<'_>, cors: Option<&Cors>, options: &Options) -> Matcher {
    let serving = SERVING_PREFIXES.map(|prefix| begins(PATH, prefix));
    let served = serving.into_iter().chain(health()).collect();
    let models = nested(by_model(namespace, view, cors, options));
    first_of(
        [(any_of(served), models)],
        envoys_own(404, &unknown_path(), cors),
    )
}

/// The paths of health checks, with a query or without.
fn health() -> impl Iterator<Item = Predicate> {
    let paths = names::HEALTH_PATHS.into_iter();
    paths.flat_map(|path| [is(PATH, path), begins(PATH, &format!("{path}?"))])
}

fn by_model(namespace: &str, view: &View<'_>, cors: Option<&Cors>, options: &Options) -> Matcher {
    let map = view
        .models
        .iter()
        .map(|(id, planned)| {
            let leaf = nested(by_version(namespace, id.as_str(), planned, options));
            (id.as_str().to_owned(), leaf)
        })
        .collect();
    tree(names::HEADER_MODEL, map, without_model(cors))
}

fn by_version(namespace: &str, model: &str, planned: &PlannedModel, options: &Options) -> Matcher {
    let map = planned
        .variants
        .iter()
        .map(|(version, variant)| {
            let cluster = names::variant_cluster(namespace, model, version.as_str());
            let leaf = to_cluster(cluster, variant.upstream.by_name, options);
            (version.as_str().to_owned(), leaf)
        })
        .collect();
    let own = names::model_cluster(namespace, model);
    let own = to_cluster(own, any_by_name(planned), options);
    tree(names::HEADER_VERSION, map, own)
}

/// What is asked under a served path and goes to no model. One tree of models serves all paths, or the table would have it
/// twice.
fn without_model(cors: Option<&Cors>) -> OnMatch {
    let unknown = || {
        let answer = answer(404, &unknown_model(), &[]);
        match cors {
            None => answer,
            // The filter has yet to read the model, and a refusal of the filter's is for the page to read.
            Some(_) => nested(first_of([(is_present(cors::ORIGIN), nowhere())], answer)),
        }
    };
    let healthy = envoys_own(200, &json!({ "status": "ok" }), cors);
    let cases = [
        (is_present(names::HEADER_MODEL), unknown()),
        (any_of(health().collect()), healthy),
    ];
    nested(first_of(cases, unknown()))
}

/// An answer of Envoy's own. A preflight that Envoy's CORS filter left alone is refused, whatever the path. Envoy's CORS
/// filter passes over an answer of a route, so that what a page may read of it stands here.
fn envoys_own(status: u32, body: &Value, cors: Option<&Cors>) -> OnMatch {
    let refused = answer(403, &refused_preflight(), &[]);
    let plain = preflight_or(refused, answer(status, body, &[]));
    let Some(cors) = cors else {
        return plain;
    };
    let read = answer(status, body, &cors::answers(cors));
    let of_a_page = preflight_or(nowhere(), read);
    nested(first_of([(cors::may_call(cors), of_a_page)], plain))
}

/// One for CORS preflights, the other for all other requests.
fn preflight_or(preflight: OnMatch, other: OnMatch) -> OnMatch {
    let asks = first_of([(is_present(cors::ASKED_METHOD), preflight)], other.clone());
    nested(first_of([(is(":method", "OPTIONS"), nested(asks))], other))
}
