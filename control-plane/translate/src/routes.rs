//! The route table: a matcher tree per virtual host, linear in the number of models.
//!
//! Paths are matched above the tree, because a leaf whose `match` fails answers a bare 404. Inside the tree comes exact `x-model`, then
//! exact `x-model-version`. Health checks that name no model get a direct response. A missing or unknown version goes to the model's
//! cluster, so a proxy without the filter, or with a filter of another push, still splits correctly and never routes to nothing.
//! Weights are not in the table, so an edit of them never sends routes.
//!
//! Every virtual host names the requirement of its namespace for `jwt_authn`, so an edit of an AuthenticationPolicy sends no routes.
//!
//! If web pages may call, their requests also have a route before the model is known: see [`missing_cluster`].

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use headgate_contract::{Apis, Cors, names};
use headgate_model::PlannedModel;
use headgate_xds::{Kind, Resource};
use prost::Message;

use crate::actions::{
    direct_response, healthy, missing_cluster, refused_preflight, to_cluster, unknown_model,
    unknown_path,
};
use crate::cors;
use crate::endpoints::any_by_name;
use crate::jwt;
use crate::matching::{any_of, begins, first_of, is, is_present, nested, tree};
use crate::ordered::{FilterConfigs, Matcher, OnMatch, Predicate, append};
use crate::scope::Options;
use crate::view::{Accepted, View};

/// Field number of `virtual_hosts` in `RouteConfiguration`.
const VIRTUAL_HOSTS_TAG: u32 = 2;
/// Field number of `matcher` in `VirtualHost`.
const MATCHER_TAG: u32 = 21;

const PATH: &str = ":path";

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
            ..VirtualHost::default()
        }
        .encode_to_vec();
        let requirement = (names::ECDS_JWT.to_owned(), jwt::of_namespace(namespace));
        let filters = FilterConfigs {
            typed_per_filter_config: policy.into_iter().chain([requirement]).collect(),
        };
        host.extend(filters.encode_to_vec());
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
    let serving = prefixes(view);
    let serving = serving.iter().flat_map(|prefix| under(prefix));
    let served = serving.chain(health()).collect();
    let models = nested(by_model(namespace, view, cors, options));
    first_of(
        [(any_of(served), models)],
        readable_response(
            |headers| direct_response(404, &unknown_path(), headers),
            cors,
        ),
    )
}

/// Matches the paths under a served prefix.
fn under(prefix: &str) -> Vec<Predicate> {
    match prefix {
        "/" => vec![is(PATH, prefix), begins(PATH, "/?")],
        _ => vec![begins(PATH, prefix)],
    }
}

/// The prefixes of the paths that a namespace serves, by its tagging for all models.
pub(crate) fn prefixes(view: &View<'_>) -> Vec<String> {
    let mut rules = view.tagging.iter();
    let for_all = rules.find(|rule| rule.models.is_none());
    let apis = for_all.and_then(|rule| rule.tagging.apis.as_ref());
    apis.unwrap_or(&Apis::default()).serving_prefixes()
}

/// Matches the paths of health checks, with or without a query.
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

/// The branch for requests under a served path without a known model. One tree of models serves all paths, or the table would contain it
/// twice.
fn without_model(cors: Option<&Cors>) -> OnMatch {
    let unknown = || {
        let response = direct_response(404, &unknown_model(), &[]);
        match cors {
            None => response,
            // The filter has not read the model yet, and the page must be able to read an error response of the filter.
            Some(_) => nested(first_of(
                [(is_present(cors::ORIGIN), missing_cluster())],
                response,
            )),
        }
    };
    let healthy = readable_response(healthy, cors);
    let cases = [
        (is_present(names::HEADER_MODEL), unknown()),
        (any_of(health().collect()), healthy),
    ];
    nested(first_of(cases, unknown()))
}

/// A direct response that pages of allowed origins can read. A preflight that Envoy's CORS filter did not answer is refused, whatever
/// the path. The CORS filter ignores direct responses, so the headers for the page are set here.
fn readable_response(
    response: impl Fn(&[(&str, String)]) -> OnMatch,
    cors: Option<&Cors>,
) -> OnMatch {
    let refused = direct_response(403, &refused_preflight(), &[]);
    let plain = preflight_or(refused, response(&[]));
    let Some(cors) = cors else {
        return plain;
    };
    let readable = response(&cors::response_headers(cors));
    let for_page = preflight_or(missing_cluster(), readable);
    nested(first_of([(cors::allows_origin(cors), for_page)], plain))
}

/// One branch for CORS preflights, another for all other requests.
fn preflight_or(preflight: OnMatch, other: OnMatch) -> OnMatch {
    let options = first_of(
        [(is_present(cors::REQUEST_METHOD), preflight)],
        other.clone(),
    );
    nested(first_of(
        [(is(":method", "OPTIONS"), nested(options))],
        other,
    ))
}
