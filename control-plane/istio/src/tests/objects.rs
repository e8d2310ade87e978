//! The desired objects.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fixtures::{deployment, options, two_versions, weighted};
use crate::manifest::IstioKind;
use crate::object::ObjectKey;
use crate::options::Options;
use crate::steps::Write;

#[test]
fn the_objects_of_one_service_with_two_versions() {
    let world = two_versions();
    let manifests = world.desired().manifests(&options());
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifests).unwrap());
}

#[test]
fn the_objects_of_proxies_select_the_pods_with_the_labels_of_the_options() {
    let label = |value: &str| [("headgate.dev/proxy".to_owned(), value.to_owned())].into();
    let chosen = Options {
        client_labels: label("client"),
        gateway_labels: label("gateway"),
        ..options()
    };
    let mut seen = BTreeSet::new();
    for manifest in two_versions().desired().manifests(&chosen) {
        let context = manifest.pointer("/spec/configPatches/0/match/context");
        let selected = manifest.pointer("/spec/workloadSelector/labels");
        let expected = context.and_then(Value::as_str).map(|context| {
            seen.insert(context.to_owned());
            match context {
                "GATEWAY" => json!({ "headgate.dev/proxy": "gateway" }),
                _ => json!({ "headgate.dev/proxy": "client" }),
            }
        });
        assert_eq!(selected, expected.as_ref(), "{manifest:#}");
    }
    let both = ["GATEWAY".to_owned(), "SIDECAR_OUTBOUND".to_owned()];
    assert_eq!(seen, both.into());
}

#[test]
fn a_weight_changes_no_object() {
    let mut world = two_versions();
    let before = world.desired();
    for weight in ["0", "50", "100"] {
        world.declare([
            deployment("v1", "v1", &["llama"]),
            weighted(deployment("v2-x", "v2.0", &["llama"]), weight),
        ]);
        let now = world.desired();
        assert_eq!(now.rules, before.rules, "{weight}");
        assert_eq!(now.routes, before.routes, "{weight}");
    }
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
