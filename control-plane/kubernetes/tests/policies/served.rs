//! Generated `spec`s of `ServedModel`, valid and invalid, and the field that is immutable.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::api_server::{runtime, start};

/// A kind and a spec of it; one in six fields is invalid.
pub(crate) fn served() -> impl Strategy<Value = (&'static str, Value)> {
    let fields: Vec<(&str, Vec<Value>, Vec<Value>)> = vec![
        (
            "modelName",
            vec![json!("Llama_3.1"), json!("m")],
            vec![json!("a b"), json!(""), json!(1)],
        ),
        (
            "names",
            vec![json!([]), json!(["gpt-x", "a/b"]), json!(["x".repeat(256)])],
            vec![json!([""]), json!(["x".repeat(257)]), json!(vec!["x"; 33])],
        ),
        (
            "minReadyPercent",
            vec![json!(0), json!(100)],
            vec![json!(-1), json!(101), json!("50")],
        ),
        (
            "baseGrace",
            vec![json!("5m"), json!("0s")],
            vec![json!("5"), json!("1d")],
        ),
        ("aliasGrace", vec![json!("24h")], vec![json!("-1h")]),
        (
            "onBaseLost",
            vec![json!("hold"), json!("release")],
            vec![json!("Hold"), json!(true)],
        ),
        (
            "contextLength",
            vec![json!(1), json!(10_000_000)],
            vec![json!(0), json!(10_000_001)],
        ),
        (
            "defaultMaxTokens",
            vec![json!(1), json!("512"), json!("context"), json!("10000000")],
            vec![
                json!(0),
                json!(10_000_001),
                json!("0"),
                json!("+5"),
                json!("window"),
                json!(true),
                json!(1.5),
            ],
        ),
        (
            "controllerName",
            vec![json!("example.com/own")],
            vec![json!(""), json!("x".repeat(254))],
        ),
        ("weight", vec![], vec![json!(10)]),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, valid, invalid)| {
            let value = match valid.is_empty() {
                true => select(vec![Value::Null]).boxed(),
                false => select(valid).boxed(),
            };
            let value = prop_oneof![40 => Just(Value::Null), 30 => value, 4 => select(invalid)];
            value.prop_map(move |value| (name, value))
        })
        .collect();
    fields.prop_map(|fields| {
        let given = fields.into_iter().filter(|(_, value)| !value.is_null());
        let spec: Map<String, Value> = given.map(|(name, v)| (name.to_owned(), v)).collect();
        ("ServedModel", Value::Object(spec))
    })
}

#[test]
fn the_model_of_an_object_is_immutable() {
    runtime().block_on(async {
        let kube = start().await;
        let kubectl = kube.kubectl();
        let object = |spec: &str| {
            format!(
                "{{apiVersion: headgate.dev/v1alpha1, kind: ServedModel, metadata: {{name: m}}, spec: {spec}}}"
            )
        };
        for (first, second) in [
            ("{modelName: M}", "{modelName: Other}"),
            ("{modelName: M}", "{names: [x]}"),
            ("{names: [x]}", "{modelName: M}"),
        ] {
            kubectl.apply(&object(first)).await.unwrap();
            let refused = kubectl.apply(&object(second)).await.unwrap_err();
            assert!(refused.to_string().contains("immutable"), "{refused}");
            kubectl.run(["delete", "smdl", "m"]).await.unwrap();
        }
        kubectl.apply(&object("{modelName: M}")).await.unwrap();
        let more = object("{modelName: M, minReadyPercent: 80}");
        kubectl.apply(&more).await.unwrap();
    });
}
