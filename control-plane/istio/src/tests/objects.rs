//! The objects that a plan needs.

use super::*;

#[test]
fn the_objects_of_one_service_with_two_versions() {
    let world = two_versions();
    let manifests = world.desired().manifests(&world.stored, &options());
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
    for manifest in two_versions()
        .desired()
        .manifests(&Stored::default(), &chosen)
    {
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
