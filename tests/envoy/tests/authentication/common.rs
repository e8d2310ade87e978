//! A testbed whose tenants are claims, and requests with tokens.

use std::time::Duration;

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::jwt::{TokenIssuer, key_set};
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions};
use serde_json::{Value, json};

/// Deadline for most waits; generous, because other tests may load the machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// The issuer of most tokens. As of many issuers, its name ends with a slash.
pub(crate) const ISSUER: &str = "https://issuer.test/";
/// The domain of the namespace `team-b`; `default` has all others.
pub(crate) const TEAM_B: &str = "b.test";

/// The tenant is a claim, else a header. Its budget of 1 000 000 tokens needs months to refill.
const POLICIES: &str = "
apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata: { name: tenants }
spec:
  tenantFrom: ['jwtClaim:org', 'header:x-tenant-id']
  cors: { allowOrigins: ['https://chat.example'] }
---
apiVersion: headgate.dev/v1alpha1
kind: TokenBucketPolicy
metadata: { name: budget }
spec:
  models: [m]
  buckets:
  - { name: tokens, key: [tenant], profile: tokens, settleOn: reservation, tokens: { capacity: 1000000, refillPerSecond: 0.1 } }
";

/// An issuer with a new key pair.
pub(crate) fn issuer(name: &str) -> TokenIssuer {
    TokenIssuer::new(name, "k1").unwrap()
}

/// A provider with the keys of this issuer, for the audience `models`.
pub(crate) fn provider(name: &str, keys: &TokenIssuer) -> Value {
    json!({ "issuer": name, "audiences": ["models"], "jwks": { "inline": key_set(&[keys]) } })
}

/// A policy in a namespace, as a file.
pub(crate) fn policy(namespace: &str, name: &str, spec: &Value) -> String {
    let object = json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AuthenticationPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    });
    object.to_string()
}

/// Model `m` in the namespaces `default` and `team-b`, with this policy of authentication in `default`.
pub(crate) async fn start(spec: &Value, args: &[&str]) -> Testbed {
    let args = ["--domain", "team-b=b.test"].iter().chain(args);
    let options = TestbedOptions {
        models: Seed::Empty,
        workers: 2,
        serve_args: args.map(Into::into).collect(),
        ..TestbedOptions::default()
            .policy(POLICIES)
            .policy(&policy("default", "login", spec))
    };
    let mut testbed = Testbed::start(options).await.unwrap();
    for namespace in ["default", "team-b"] {
        let mock = testbed.add_mock(namespace, "v1").await.unwrap();
        let manifest = Manifest::new("m", "v1").namespace(namespace);
        let manifest = manifest.endpoints(&[mock]).render();
        let file = format!("{namespace}.yaml");
        testbed.files().write_model(&file, &manifest).unwrap();
    }
    testbed.wait_until_settled().await.unwrap();
    testbed
}

/// Replaces the policy of authentication in `default`, and waits until the proxy has it.
pub(crate) async fn change(testbed: &Testbed, spec: &Value) {
    let text = policy("default", "login", spec);
    testbed
        .files()
        .write_policy("policy-1.yaml", &text)
        .unwrap();
    testbed.wait_until_settled().await.unwrap();
}

/// A chat of 10 tokens with these headers.
pub(crate) async fn chat(testbed: &Testbed, headers: &[(&str, &str)]) -> Reply {
    let mut request = OpenAiRequest::chat("m").max_tokens(8);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let request = request.to(testbed.url());
    testbed.client().send(request).await.unwrap()
}

/// A chat with this token.
pub(crate) async fn with_token(testbed: &Testbed, token: &str) -> Reply {
    chat(testbed, &[("authorization", &bearer(token))]).await
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The headers that the model server got.
pub(crate) fn received(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json().unwrap()["mock"]["headers"].clone()
}

/// Asserts that a request was refused for this reason, in the form that the SDKs read.
#[track_caller]
pub(crate) fn refused(reply: &Reply, status: u16, reason: &str) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{reason}: {text}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let error = reply.json().unwrap()["error"].clone();
    assert_eq!(error["code"], "invalid_api_key", "{text}");
    assert_eq!(error["type"], "invalid_request_error", "{text}");
    assert_eq!(error["param"], Value::Null, "{text}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(reason), "{reason:?} is not in {message:?}");
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer realm="), "{challenge}");
}

/// Waits until a chat with this token has this status.
pub(crate) async fn until(testbed: &Testbed, token: &str, status: u16, what: &str) {
    let reached = eventually(SOON, what, async || {
        let reply = with_token(testbed, token).await;
        match reply.status == status {
            true => Ok(()),
            false => Err(format!("{}: {}", reply.status, reply.text())),
        }
    });
    reached.await.unwrap();
}

/// A statistic of the token filter of the listener.
pub(crate) async fn statistic(testbed: &Testbed, name: &str) -> u64 {
    let admin = testbed.envoys()[0].envoy.admin();
    let name = format!("http.headgate.jwt_authn.{name}");
    admin.stat(&name).await.unwrap().unwrap_or_default()
}
