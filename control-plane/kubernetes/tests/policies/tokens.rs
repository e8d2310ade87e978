//! Generator of valid and invalid policies of authentication.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::values::{maybe, mostly, object};

/// A key set that an edit must not touch: the API server cannot check it.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Puts good keys into every text `inline` of a provider.
pub(crate) fn paste_keys(spec: &mut Value) {
    let providers = spec.get_mut("jwt").and_then(Value::as_array_mut);
    for provider in providers.into_iter().flatten() {
        let inline = provider.pointer_mut("/jwks/inline");
        if let Some(text) = inline.filter(|inline| inline.is_string()) {
            *text = json!(KEYS);
        }
    }
}

pub(crate) fn authentication() -> impl Strategy<Value = Value> {
    let uri = mostly(
        vec![
            "https://a.example/keys?x=1",
            "http://Dex.Auth:5556/k",
            "https://[::1]:65535",
            "http://10.0.0.7",
        ],
        vec![
            "https://a:65536/",
            "https://a:0/",
            "https://u@a/",
            "https://a/#f",
            "ftp://a/",
            "https://",
            "",
        ],
    );
    let inline = || ("inline", json!(KEYS));
    let jwks = prop_oneof![
        6 => (uri, maybe("refresh", skew())).prop_map(|(uri, refresh)| {
            object(std::iter::once(("uri", json!(uri))).chain(refresh).collect())
        }),
        4 => Just(object(vec![inline()])),
        1 => Just(object(vec![inline(), ("uri", json!("https://a/"))])),
        1 => Just(object(vec![inline(), ("refresh", json!("1m"))])),
        1 => Just(Map::new()),
    ];
    let header = (
        mostly(vec!["authorization", "X-Token"], vec!["a b", ""]),
        maybe(
            "prefix",
            select(vec![json!("Bearer "), json!(""), json!("\n")]),
        ),
    )
        .prop_map(|(name, prefix)| {
            let name = ("name", json!(name));
            Value::Object(object(std::iter::once(name).chain(prefix).collect()))
        });
    let cookie = || mostly(vec!["token", "a.b"], vec!["a=b", ""]).prop_map(|name| json!(name));
    let audience = mostly(vec!["models", "https://a/b"], vec!["a b", ""]);
    let list = |items: Vec<Value>| json!(items);
    let provider = (
        jwks,
        maybe(
            "audiences",
            prop::collection::vec(audience.prop_map(|a| json!(a)), 0..3).prop_map(list),
        ),
        maybe(
            "fromHeaders",
            prop::collection::vec(header, 0..2).prop_map(list),
        ),
        maybe(
            "fromCookies",
            prop::collection::vec(cookie(), 0..2).prop_map(list),
        ),
        maybe(
            "fromParams",
            prop::collection::vec(cookie(), 0..2).prop_map(list),
        ),
        maybe("clockSkew", skew()),
        maybe("forward", Just(json!(true))),
    )
        .prop_map(|(jwks, a, b, c, d, e, f)| {
            let jwks = ("jwks", Value::Object(jwks));
            let rest = [a, b, c, d, e, f].into_iter().flatten();
            object(std::iter::once(jwks).chain(rest).collect())
        });
    let providers = prop::collection::vec(provider, 0..3).prop_map(|mut providers| {
        for (i, provider) in providers.iter_mut().enumerate() {
            provider.insert(
                "issuer".into(),
                json!(format!("https://issuer-{i}.example/")),
            );
        }
        ("jwt", json!(providers))
    });
    (providers, maybe("required", Just(json!(false)))).prop_map(|(providers, required)| {
        Value::Object(object(std::iter::once(providers).chain(required).collect()))
    })
}

/// Mostly a duration from a second to ten minutes.
fn skew() -> impl Strategy<Value = Value> {
    let invalid = vec!["0s", "999ms", "25h", "99999h", "1d", "", "60"];
    mostly(vec!["1s", "1500ms", "1m30s", "10m"], invalid).prop_map(|text| json!(text))
}
