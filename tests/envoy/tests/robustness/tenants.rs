//! Tenants from a verified token or an API key, on a listener of the operator's own with Envoy's `jwt_authn`.

use headgate_testkit::client::Reply;
use headgate_testkit::envoy::Envoy;
use headgate_testkit::ports::free_addr;
use serde_json::{Value, json};

use crate::common::{CAPACITY, INPUT, SOON, ask, budget, declare, empty_testbed};
use crate::missing_resources::{discovered, listener, over_ads, proxy_with};

/// The tenant is a claim, else the hash of the key.
const TAGGING: &str = "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata:\n  name: tenants\nspec:\n  \
    tenantFrom: [\"jwtClaim:CLAIM\", apiKeySha256]\n";

/// The public key of the issuer, whose private key is gone.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k1", "use": "sig", "x": "pvheSDp4_dJRH667H5N9yDxlMut5PMX2e3P_WgbBP5U", "y": "GsPEI6JtXJ_F3gqNzzHWrnsXY5D4gk8zNV-yMa9-vMg"}]}"#;

/// Signed by it with ES256, without an end: `org` is `acme`, `number` is 42, `list` is a list, `https://x.test/org` is `dotted`.
const TOKEN: &str = "eyJhbGciOiAiRVMyNTYiLCAia2lkIjogImsxIiwgInR5cCI6ICJKV1QifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAiaGVhZGdhdGUiLCAib3JnIjogImFjbWUiLCAibnVtYmVyIjogNDIsICJmbGFnIjogdHJ1ZSwgImxpc3QiOiBbImEiXSwgImh0dHBzOi8veC50ZXN0L29yZyI6ICJkb3R0ZWQifQ.LwRdDvyEj4nks1Fvxw8Bc9_BhZ8QqXMbH1pqI5D4vejBojmcbms2F-yp_fdYIDfrQIxQuSYdAsQRcfhgqGU64A";

/// The same claims, signed by somebody else.
const FORGED: &str = "eyJhbGciOiAiRVMyNTYiLCAia2lkIjogImsxIiwgInR5cCI6ICJKV1QifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1ZXIudGVzdCIsICJhdWQiOiAiaGVhZGdhdGUiLCAib3JnIjogImFjbWUifQ.I51ZbEJtHPIUcPSyq3qPkG-qw7t1MBYl4dUvs21Y_jSzPljPr8ZXINnxTyW9R47Xw1tHoex53-71zX-ECg3RhA";

/// SHA-256 of `sk-1`, as `sha256sum` prints it.
const SK_1: &str = "0f2c10bf3d128c719c6bfa4ecbae94b7fceebaea6e4438fef38a90e5acc326f3";

/// `key`: where the filter keeps the payload; a RequestAuthentication of Istio says `payload`.
fn jwt_authn(key: &str) -> Value {
    json!({
        "name": "jwt",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "issuer": {
                "issuer": "https://issuer.test",
                "audiences": ["headgate"],
                "local_jwks": { "inline_string": JWKS },
                "from_headers": [{ "name": "x-token" }],
                "payload_in_metadata": key,
            }},
            "rules": [{ "match": { "prefix": "/" }, "requires": { "requires_any": { "requirements": [
                { "provider_name": "issuer" }, { "allow_missing": {} },
            ]}}}],
        },
    })
}

fn tenant(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json().unwrap()["mock"]["headers"]["x-headgate-tenant"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_keys_name_tenants_with_their_own_budgets() {
    let policies = |claim| {
        format!(
            "{}---\n{}",
            TAGGING.replace("CLAIM", claim),
            budget("b", "settleOn: reservation")
        )
    };
    let mut testbed = empty_testbed(1, 0, &policies("org"), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let [address, of_istio] = [free_addr().unwrap(), free_addr().unwrap()];
    let routes = json!({ "config_source": over_ads(), "route_config_name": "ai-model-route" });
    let with_key = |name, address, key| {
        let filters = vec![jwt_authn(key), discovered("headgate")];
        listener(name, address, ("rds", routes.clone()), filters)
    };
    let own = with_key("own", address, "headgate");
    let istio = with_key("istio", of_istio, "payload");
    let _envoy = Envoy::start(proxy_with(&testbed, "own", &[own, istio]))
        .await
        .unwrap();
    let current = |s: &headgate_testkit::testbed::Status| s.proxy("own").is_some_and(|p| p.current);
    testbed
        .wait_for_status(SOON, "the proxy to be current", current)
        .await
        .unwrap();

    let client = testbed.client();
    let send = async |output: u64, headers: &[(&str, &str)]| {
        let mut request = ask("spoofed", output).header("x-headgate-tenant", "spoofed");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        client
            .send(request.to(&format!("http://{address}")))
            .await
            .unwrap()
    };
    let whole = CAPACITY - INPUT;
    let token = ("x-token", TOKEN);
    assert_eq!(tenant(&send(whole, &[token]).await), "acme");
    // The budget of the claim is spent, whatever else the client sends.
    let spent = send(50, &[token, ("x-api-key", "sk-2")]).await;
    assert_eq!(spent.status, 429, "{}", spent.text());
    assert_eq!(send(50, &[("x-token", FORGED)]).await.status, 401);
    // Without a token, each key has a budget of its own.
    let key = ("authorization", "Bearer sk-1");
    assert_eq!(tenant(&send(whole, &[key]).await), SK_1);
    assert_eq!(send(50, &[("api-key", "sk-1")]).await.status, 429);
    assert_eq!(
        tenant(&send(50, &[("x-api-key", "sk-2")]).await)
            .as_str()
            .unwrap()
            .len(),
        64
    );
    // None of the sources.
    assert_eq!(tenant(&send(50, &[]).await), Value::Null);

    // Numbers are tenants, and so are claims with any name; lists are not.
    for (claim, expected) in [
        ("number", json!("42")),
        ("https://x.test/org", json!("dotted")),
        ("list", Value::Null),
    ] {
        testbed
            .files()
            .write_policy("policy-0.yaml", &policies(claim))
            .unwrap();
        let told = headgate_testkit::deadline::eventually(SOON, claim, async || {
            let reply = send(50, &[token]).await;
            let found = match reply.status {
                200 => tenant(&reply),
                _ => json!(reply.text()),
            };
            (found == expected).then_some(()).ok_or(found.to_string())
        });
        told.await.unwrap();
        let request = ask("spoofed", 50).header("x-token", TOKEN);
        let request = request.to(&format!("http://{of_istio}"));
        assert_eq!(tenant(&client.send(request).await.unwrap()), expected);
    }
}
