//! The resources of small plans, as snapshots in YAML: they document the xDS output.
//!
//! `tests/resources/snapshots` has one file per plan and type. After an intended change, write them again with
//! `INSTA_UPDATE=always cargo test -p headgate-translate --test resources`, and review the difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod debug;
mod fixtures;
mod matchers;
mod yaml;

use fixtures::{annotated, carrier, created, objects, policy, translated, unready, weighted};
use headgate_contract::{
    AuthenticationPolicySpec, TokenBucketPolicySpec, TrafficTagPolicySpec, names,
};
use headgate_model::{Objects, Protocol};
use headgate_xds::Kind;
use serde_json::json;

/// Compares the resources of these types with the snapshots `PLAN.TYPE.snap`.
#[track_caller]
fn check(plan: &str, objects: &Objects, kinds: &[Kind]) {
    let snapshot = translated(objects);
    for kind in kinds {
        let documents: Vec<String> = snapshot
            .of(*kind)
            // The filters of single stages have the same configuration.
            .filter(|r| *kind != Kind::Extension || r.name() == names::ECDS_FUSED)
            .map(|resource| yaml::resource(resource))
            .collect();
        let name = match kind {
            Kind::Cluster => "clusters",
            Kind::Endpoints => "endpoints",
            Kind::Listener => "listener",
            Kind::Route => "routes",
            Kind::Extension => "filter",
            other => panic!("{other}"),
        };
        compare(&format!("{plan}.{name}"), &documents.join("---\n"));
    }
}

#[track_caller]
fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn one_version() {
    let objects = objects([carrier("v1", &["10.0.0.1:8000", "10.0.0.2:8000"])]);
    let kinds = [
        Kind::Listener,
        Kind::Route,
        Kind::Cluster,
        Kind::Endpoints,
        Kind::Extension,
    ];
    check("one_version", &objects, &kinds);
}

#[test]
fn canary() {
    let objects = objects([
        carrier("v1", &["10.0.0.1:8000"]),
        weighted(carrier("v2", &["10.0.0.2:8000"]), "10"),
    ]);
    let kinds = [Kind::Route, Kind::Endpoints, Kind::Extension];
    check("canary", &objects, &kinds);
}

/// No endpoint of the base is ready: a held version stands in.
#[test]
fn base_lost() {
    let objects = objects([
        created(unready(carrier("v1", &["10.0.0.1:8000"])), 100),
        created(carrier("v2", &["10.0.0.2:8000"]), 200),
    ]);
    check("base_lost", &objects, &[Kind::Endpoints, Kind::Extension]);
}

/// A hosted API with a DNS name, TLS and a health check.
#[test]
fn external_host() {
    let carrier = carrier("v1", &["api.example.com:443"]);
    let carrier = annotated(carrier, names::ANNOTATION_TLS, "true");
    let carrier = annotated(carrier, names::ANNOTATION_HEALTH_CHECK, "/health");
    check(
        "external_host",
        &objects([carrier]),
        &[Kind::Cluster, Kind::Route],
    );
}

#[test]
fn grpc() {
    let mut carrier = carrier("v1", &["10.0.0.1:8001"]);
    carrier.pods[0].protocol = Protocol::Http2;
    let carrier = annotated(carrier, names::ANNOTATION_HEALTH_CHECK, "grpc");
    check("grpc", &objects([carrier]), &[Kind::Cluster]);
}

/// Names that clients write for a model.
#[test]
fn alias() {
    let carrier = carrier("v1", &["10.0.0.1:8000"]);
    let names = "meta-llama/Llama-3.1-8B, llama-latest";
    let carrier = annotated(carrier, names::ANNOTATION_MODEL_NAMES, names);
    check("alias", &objects([carrier]), &[Kind::Extension]);
}

#[test]
fn policies() {
    let mut objects = objects([
        carrier("v1", &["10.0.0.1:8000"]),
        weighted(carrier("v2", &["10.0.0.2:8000"]), "10"),
    ]);
    let buckets = json!({"buckets": [
        {"name": "per-tenant", "key": ["tenant"], "profile": "tokens",
         "tokens": {"capacity": 100_000, "refillPerSecond": 500}},
    ]});
    let canary = json!({
        "targetRefs": [{"kind": "Deployment", "name": "llama-v2", "sectionName": "v2"}],
        "buckets": [{"name": "canary", "key": [], "profile": "semantic"}],
    });
    let tags = json!({"tags": [{"name": "stage", "value": "batch"}], "baggage": false});
    objects.insert_policy(policy::<TokenBucketPolicySpec>("tenants", buckets));
    objects.insert_policy(policy::<TokenBucketPolicySpec>("canary", canary));
    objects.insert_policy(policy::<TrafficTagPolicySpec>("tags", tags));
    check("policies", &objects, &[Kind::Extension]);
}

#[test]
fn cors() {
    let mut objects = objects([carrier("v1", &["10.0.0.1:8000"])]);
    let spec =
        json!({"cors": {"allowOrigins": ["https://chat.example.com", "https://*.example.org"]}});
    objects.insert_policy(policy::<TrafficTagPolicySpec>("pages", spec));
    check("cors", &objects, &[Kind::Route]);
}

/// The paths of an API that is enabled, of which one is the root, and a prefix that stands for `/v1`.
#[test]
fn apis() {
    let mut objects = objects([carrier("v1", &["10.0.0.1:8000"])]);
    let spec = json!({"apis": {"dialects": ["tgi"], "prefixes": ["/api/v3"]}});
    objects.insert_policy(policy::<TrafficTagPolicySpec>("servers", spec));
    check("apis", &objects, &[Kind::Route]);
}

/// The filter of tokens, and the clusters for the keys.
#[test]
fn authentication() {
    let mut objects = objects([carrier("v1", &["10.0.0.1:8000"])]);
    let login = json!({"jwt": [
        {"issuer": "https://login.example.com/", "audiences": ["models"],
         "jwks": {"uri": "https://login.example.com/.well-known/jwks.json"}},
        {"issuer": "https://kubernetes.default.svc", "jwks": {"uri": "http://10.0.0.9:8080/keys", "refresh": "1m"},
         "fromHeaders": [{"name": "X-Token"}], "fromCookies": ["token"], "clockSkew": "10s", "forward": true},
    ]});
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let service = json!({"required": false, "jwt": [
        {"issuer": "batch", "jwks": {"inline": keys.to_string()}},
    ]});
    objects.insert_policy(policy::<AuthenticationPolicySpec>("login", login));
    objects.insert_policy(policy::<AuthenticationPolicySpec>("service", service));
    let snapshot = translated(&objects);
    let filter = snapshot.get(Kind::Extension, names::ECDS_JWT).unwrap();
    compare("authentication.filter", &yaml::resource(filter));
    let clusters = snapshot.of(Kind::Cluster);
    let clusters = clusters.filter(|c| c.name().starts_with(names::JWKS_CLUSTER_PREFIX));
    let clusters: Vec<String> = clusters.map(|c| yaml::resource(c)).collect();
    compare("authentication.clusters", &clusters.join("---\n"));
}
