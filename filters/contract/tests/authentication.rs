//! `AuthenticationPolicy`: what its spec accepts, and the messages for what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use headgate_contract::{AuthenticationPolicySpec, Duration, Jwks, parse_json};
use serde_json::{Value, json};

/// Public keys of RFC 7517, appendix A.1, and RFC 8037, appendix A.2.
fn rsa() -> Value {
    json!({
        "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    })
}

fn ec() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn ed25519() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

fn set(keys: Value) -> Value {
    json!({ "inline": json!({ "keys": keys }).to_string() })
}

fn with(mut key: Value, name: &str, value: &str) -> Value {
    key[name] = json!(value);
    key
}

fn policy(provider: Value) -> Value {
    let mut all = json!({ "issuer": "https://login.example.com", "jwks": set(json!([ec()])) });
    for (name, value) in provider.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({ "jwt": [all] })
}

fn parse(spec: &Value) -> Result<AuthenticationPolicySpec, String> {
    parse_json(spec.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_provider_needs_an_issuer_and_keys_and_has_defaults_for_the_rest() {
    let spec = parse(&policy(json!({}))).unwrap();
    assert!(spec.required);
    let provider = &spec.jwt[0];
    assert_eq!(provider.headers[0].name, "authorization");
    assert_eq!(provider.headers[0].prefix, "Bearer ");
    assert_eq!(provider.clock_skew, Duration::from_seconds(60));
    assert!(!provider.forward && provider.audiences.is_empty());
    let written = serde_json::to_value(&spec).unwrap();
    assert_eq!(parse(&written).as_ref(), Ok(&spec), "{written}");
}

#[test]
fn only_the_places_that_are_named_carry_tokens() {
    let spec = parse(&policy(
        json!({ "fromHeaders": [{ "name": "Authorization" }, { "name": "X-Token" }], "fromCookies": ["id"] }),
    ));
    let provider = spec.unwrap().jwt.remove(0);
    let headers = provider.headers.iter().map(|h| (&*h.name, &*h.prefix));
    let headers: Vec<_> = headers.collect();
    assert_eq!(headers, [("authorization", "Bearer "), ("x-token", "")]);
    let cookies = parse(&policy(json!({ "fromCookies": ["id"] }))).unwrap();
    assert!(cookies.jwt[0].headers.is_empty());
}

#[test]
fn keys_are_inline_or_from_an_address() {
    for (keys, what) in [
        (json!([rsa()]), "RSA"),
        (json!([ed25519()]), "Ed25519"),
        // Issuers also publish keys that verify no tokens. They are ignored.
        (
            json!([ec(), with(rsa(), "use", "enc"), with(ec(), "crv", "secp256k1"), { "kty": "new" }]),
            "a set with other keys",
        ),
    ] {
        assert!(
            parse(&policy(json!({ "jwks": set(keys) }))).is_ok(),
            "{what}"
        );
    }
    for (uri, host, port, tls) in [
        (
            "https://login.example.com/keys?x=1",
            "login.example.com",
            443,
            true,
        ),
        ("http://Dex.Auth:5556/dex/keys", "dex.auth", 5556, false),
        ("https://[::1]:8443/", "::1", 8443, true),
        ("http://10.0.0.7", "10.0.0.7", 80, false),
    ] {
        let spec = parse(&policy(json!({ "jwks": { "uri": uri } }))).unwrap();
        let Jwks::Remote {
            uri: parsed,
            refresh,
        } = &spec.jwt[0].jwks
        else {
            unreachable!("{uri}");
        };
        assert_eq!(
            (parsed.host(), parsed.port(), parsed.tls()),
            (host, port, tls)
        );
        assert_eq!((parsed.as_str(), refresh.seconds()), (uri, 300));
    }
}

#[test]
fn a_secret_is_refused_wherever_it_stands() {
    let symmetric = json!({ "kty": "oct", "k": "c2VjcmV0" });
    for (key, why) in [
        (symmetric, "symmetric key"),
        (with(ec(), "d", "AAAA"), "private key, as it has `d`"),
        (with(rsa(), "p", "AAAA"), "private key, as it has `p`"),
        (
            with(json!({ "kty": "new" }), "k", "x"),
            "private key, as it has `k`",
        ),
    ] {
        let error = parse(&policy(json!({ "jwks": set(json!([ec(), key])) }))).unwrap_err();
        assert!(
            error.contains("jwt[0].jwks.inline") && error.contains("keys[1]"),
            "{error}"
        );
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn errors_name_the_field_and_the_fix() {
    let inline = |text: &str| json!({ "jwks": { "inline": text } });
    let uri = |uri: &str| json!({ "jwks": { "uri": uri } });
    for (provider, parts) in [
        (json!({ "issuer": "" }), ["issuer", "`iss`"]),
        (json!({ "issuer": "a b" }), ["issuer", "`iss`"]),
        (json!({ "audiences": [""] }), ["audiences[0]", "visible"]),
        (json!({ "jwks": {} }), ["jwks", "exactly one"]),
        (
            json!({ "jwks": { "inline": set(json!([ec()]))["inline"], "uri": "https://a/b" } }),
            ["jwks", "exactly one"],
        ),
        (
            json!({ "jwks": { "inline": set(json!([ec()]))["inline"], "refresh": "1m" } }),
            ["jwks.refresh", "remove it"],
        ),
        (
            json!({ "jwks": { "uri": "https://a/b", "refresh": "0s" } }),
            ["jwks.refresh", "1s to 24h"],
        ),
        (inline("not json"), ["jwks.inline", "not JSON"]),
        (inline("[]"), ["jwks.inline", "no list `keys`"]),
        (
            inline("{\"keys\":[]}"),
            ["jwks.inline", "no key that verifies"],
        ),
        (inline("{\"keys\":[{}]}"), ["jwks.inline", "no text `kty`"]),
        (
            json!({ "jwks": set(json!([with(ec(), "x", "AAAA")])) }),
            ["jwks.inline", "needs 32"],
        ),
        (
            json!({ "jwks": set(json!([with(ec(), "x", "a=")])) }),
            ["jwks.inline", "base64url"],
        ),
        (
            json!({ "jwks": set(json!([with(rsa(), "n", "AAAA")])) }),
            ["jwks.inline", "2048"],
        ),
        (uri("ftp://a/b"), ["jwks.uri", "https://HOST"]),
        (uri("https://user@a/b"), ["jwks.uri", "https://HOST"]),
        (uri("https://a:0/b"), ["jwks.uri", "https://HOST"]),
        (uri("https://a:70000/b"), ["jwks.uri", "https://HOST"]),
        (uri("https://a/b#c"), ["jwks.uri", "https://HOST"]),
        (uri("https:///b"), ["jwks.uri", "https://HOST"]),
        (uri("https://a/ b"), ["jwks.uri", "https://HOST"]),
        (
            json!({ "fromHeaders": [{ "name": "a b" }] }),
            ["fromHeaders[0]", "letters"],
        ),
        (
            json!({ "fromHeaders": [{ "name": "a", "prefix": "\n" }] }),
            ["fromHeaders[0]", "printable"],
        ),
        (
            json!({ "fromCookies": ["a="] }),
            ["fromCookies[0]", "letters"],
        ),
        (json!({ "clockSkew": "0s" }), ["clockSkew", "1s to 10m"]),
        (json!({ "clockSkew": "11m" }), ["clockSkew", "1s to 10m"]),
        (json!({ "audience": ["a"] }), ["audience", "audiences"]),
    ] {
        let error = parse(&policy(provider)).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let empty = parse(&json!({ "jwt": [] })).unwrap_err();
    assert!(empty.contains("at least one issuer"), "{empty}");
    let provider = policy(json!({}))["jwt"][0].clone();
    let twice = parse(&json!({ "jwt": [provider, provider] })).unwrap_err();
    assert!(
        twice.contains("given twice") && twice.contains("jwt[1]"),
        "{twice}"
    );
}
