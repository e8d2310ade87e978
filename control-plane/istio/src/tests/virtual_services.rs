//! `VirtualService`s of other people.

use headgate_model::reason;

use super::*;
use crate::foreign_findings::services;
use crate::virtual_service::VirtualService;

/// The reasons of the findings on a `VirtualService` of namespace `models` with these hosts and this route.
fn reasons(world: &World, hosts: &Value, http: &Value) -> Vec<&'static str> {
    let object = json!({ "spec": { "hosts": hosts, "http": [http] } });
    let key = ObjectKey {
        namespace: "models".to_owned(),
        name: "theirs".to_owned(),
    };
    let all = VirtualService::read(&object).map(|service| (key, service));
    let findings = services(
        &all.into_iter().collect(),
        &world.desired(),
        "cluster.local",
    );
    findings.iter().map(|finding| finding.reason).collect()
}

fn split() -> Value {
    json!({ "route": [
        { "destination": { "host": "llama", "subset": "a" }, "weight": 90 },
        { "destination": { "host": "llama", "subset": "b" }, "weight": 10 },
    ] })
}

#[test]
fn a_split_of_a_host_of_models_is_reported_wherever_the_host_is() {
    let mut own_service = deployment("predictor", "v1", &["predictor"]);
    own_service.key.kind = "service".to_owned();
    for (world, host, expected) in [
        (two_versions(), "llama", true),
        (two_versions(), "llama.models.svc.cluster.local", true),
        (two_versions(), "*.models.svc.cluster.local", true),
        (two_versions(), "ai.example.com", true),
        (two_versions(), "*.example.com", true),
        (two_versions(), "*", true),
        (World::with([own_service]), "predictor", true),
        (two_versions(), "other", false),
        (two_versions(), "www.example.com", false),
    ] {
        let found = reasons(&world, &json!([host]), &split());
        let split = [reason::VIRTUAL_SERVICE_SPLITS];
        assert_eq!(found, split[..usize::from(expected)], "{host}");
    }
}

#[test]
fn settings_that_version_routes_do_not_have_are_reported() {
    let world = two_versions();
    let one = || json!({ "route": [{ "destination": { "host": "llama" } }] });
    assert_eq!(reasons(&world, &json!(["llama"]), &one()), [""; 0]);
    for (field, value) in [
        ("rewrite", json!({ "uri": "/v2" })),
        (
            "headers",
            json!({ "request": { "set": { "authorization": "Bearer x" } } }),
        ),
        ("mirror", json!({ "host": "shadow" })),
        ("mirrors", json!([{ "destination": { "host": "shadow" } }])),
        ("fault", json!({ "abort": { "httpStatus": 500 } })),
        ("corsPolicy", json!({ "allowOrigins": [{ "exact": "*" }] })),
        ("timeout", json!("5s")),
        ("retries", json!({ "attempts": 5 })),
    ] {
        let mut http = one();
        http[field] = value;
        let found = reasons(&world, &json!(["ai.example.com"]), &http);
        assert_eq!(found, [reason::ROUTE_SETTINGS_BYPASSED], "{field}");
    }
    let mut of_destination = one();
    of_destination["route"][0]["headers"] = json!({ "request": { "remove": ["x"] } });
    let found = reasons(&world, &json!(["llama"]), &of_destination);
    assert_eq!(found, [reason::ROUTE_SETTINGS_BYPASSED]);
}
