//! Policies that the sidecars of model servers charge (`at: inbound`).

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{HttpClient, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::artifacts::wasm_module;
use serde_json::{Value, json};

use super::bodies::image_chat;
use crate::manifests;
use crate::testbed::{CLIENT, INBOUND as NAMESPACE, MeshTestbed, PLAIN_CLIENT, SOON};

/// The claim of [`tenants_run_out`].
pub const TENANTS: Claim = Claim::new(
    "a tenant known by its SPIFFE id runs out of budget at the model server, charged once, and another service account does not",
);
/// The claim of [`large_bodies`].
pub const BODIES: Claim = Claim::new(
    "the sidecar of a model server reads a body of 3 MB, and answers a larger one than 8 MiB with a 413 that SDKs understand",
);
/// The claim of [`server_without_module`].
pub const WITHOUT_MODULE: Claim = Claim::new(
    "a model server whose pod lacks the module serves uncharged, and the policy says so",
);
/// The model whose pod has the module.
const MODEL: &str = "phi-3";
/// The model whose pod lacks it.
const PLAIN: &str = "phi-3-plain";
/// Completion tokens of each request.
const TOKENS: u64 = 40_000;
/// The budget.
const CAPACITY: u64 = 100_000;

/// The figures of a tenant that ran out of budget.
#[derive(Debug, Clone)]
pub struct Spent {
    /// `x-ratelimit-remaining-tokens` of each response with status 200.
    pub remaining: Vec<u64>,
    /// `error.message` of the 429.
    pub message: String,
    /// `x-ratelimit-remaining-tokens` of the other service account.
    pub other: u64,
}

/// Deploys the models and their policy, and waits until their budget is charged.
///
/// # Errors
/// They do not become ready, or no response says what remains of the budget.
pub async fn deploy(testbed: &MeshTestbed) -> ClaimResult<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "istio-injection": "enabled" } },
    });
    TENANTS.require_ok("the namespace", testbed.apply(&[namespace]).await)?;
    let module = TENANTS.require_ok("the module", wasm_module())?;
    let created = testbed.create_module(NAMESPACE, &module).await;
    TENANTS.require_ok("the module", created)?;
    TENANTS.require_ok("the policies", testbed.apply(&policies()).await)?;
    for (model, annotations) in [(MODEL, manifests::mounts_module()), (PLAIN, json!({}))] {
        let labels = json!({ "model-name": model, "model-version": "v1" });
        let pods = json!({ "labels": { "app": model }, "annotations": annotations });
        let args = [&*format!("--model={model}"), "--version=v1"];
        let server = manifests::server_in(NAMESPACE, model, &labels, &pods, &args);
        let objects = [manifests::service_in(NAMESPACE, model), server];
        TENANTS.require_ok(model, testbed.apply(&objects).await)?;
    }
    let models = format!("app in ({MODEL}, {PLAIN})");
    let ready = testbed.wait(NAMESPACE, &models).await;
    TENANTS.require_ok("the models", ready)?;
    let server = TENANTS.require_ok("the sidecar", testbed.outbound(CLIENT))?;
    let ask = OpenAiRequest::chat(MODEL)
        .max_tokens(1)
        .header("host", host(MODEL));
    // The sidecar of the client decides, and that of the server charges.
    let charged = testbed.until(
        "a tagged and charged response",
        || ask.to(&server),
        |reply| {
            let body = reply.json().unwrap_or_default();
            let is_tagged = body["mock"]["headers"]["x-headgate-lane"] == "base";
            reply.is_success() && is_tagged && left(reply).is_some()
        },
    );
    TENANTS.require_ok("a charged response", charged.await)?;
    Ok(())
}

/// The tenant is the SPIFFE id; the sidecars of model servers charge.
fn policies() -> [Value; 2] {
    let of = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "headgate.dev/v1alpha1", "kind": kind,
            "metadata": { "name": NAMESPACE, "namespace": NAMESPACE },
            "spec": spec,
        })
    };
    let bucket = json!({
        "name": "per-account", "key": ["tenant", "model"], "profile": "tokens",
        "tokens": { "capacity": CAPACITY, "refillPerSecond": 1 },
    });
    [
        of(
            "TrafficTagPolicy",
            json!({ "tenantFrom": ["peerSpiffeId"] }),
        ),
        of(
            "TokenBucketPolicy",
            json!({ "at": "inbound", "buckets": [bucket] }),
        ),
    ]
}

/// Spends the budget of the client whose own sidecar runs the filter, too, then sends a request of the client whose sidecar does not.
///
/// # Errors
/// The claim does not hold.
pub async fn tenants_run_out(testbed: &MeshTestbed) -> ClaimResult<Spent> {
    let mut remaining = Vec::new();
    let refusal = loop {
        let reply = send(TENANTS, testbed, CLIENT, MODEL, TOKENS).await?;
        if !reply.is_success() {
            break reply;
        }
        let left = TENANTS.require_some("x-ratelimit-remaining-tokens", left(&reply))?;
        remaining.push(left);
        TENANTS.ensure(remaining.len() < 4, || {
            format!("all admitted: {remaining:?}")
        })?;
    };
    let body = TENANTS.require_ok("the refusal", refusal.json())?;
    TENANTS.ensure(
        refusal.status == 429 && body["error"]["code"] == "rate_limit_exceeded",
        || format!("{} {}", refusal.status, refusal.text()),
    )?;
    // Charged twice, the second request would not be admitted.
    let spent: Vec<u64> = std::iter::once(CAPACITY)
        .chain(remaining.iter().copied())
        .zip(&remaining)
        .map(|(before, after)| before.saturating_sub(*after))
        .collect();
    // Requests before the first one have cost a few tokens, too.
    let once = TOKENS - 100..TOKENS + 1000;
    TENANTS.ensure(
        spent.len() == 2 && spent.iter().all(|tokens| once.contains(tokens)),
        || format!("each request cost {spent:?} tokens"),
    )?;
    // It sends the same tenant header, so only its identity tells it apart.
    let other = send(TENANTS, testbed, PLAIN_CLIENT, MODEL, TOKENS).await?;
    TENANTS.ensure(other.is_success(), || {
        format!("another account gets {} {}", other.status, other.text())
    })?;
    Ok(Spent {
        remaining,
        message: body["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        other: TENANTS.require_some("x-ratelimit-remaining-tokens", left(&other))?,
    })
}

/// Sends two bodies through a sidecar that does not read them. Returns the bytes that the model server received, and the refusal.
///
/// # Errors
/// The claim does not hold.
pub async fn large_bodies(testbed: &MeshTestbed) -> ClaimResult<(u64, String)> {
    let served = send_image(testbed, 3_000_000).await?;
    let shown = |reply: &Reply| {
        let text: String = reply.text().chars().take(300).collect();
        format!("{} {text}", reply.status)
    };
    let body = served.json().unwrap_or_default();
    let received = body["mock"]["body_bytes"].as_u64().unwrap_or_default();
    let is_charged = left(&served).is_some();
    BODIES.ensure(
        served.is_success() && is_charged && received >= 3_000_000,
        || shown(&served),
    )?;
    let refused = send_image(testbed, 9_000_000).await?;
    let body = refused.json().unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    BODIES.ensure(refused.status == 413 && !message.is_empty(), || {
        shown(&refused)
    })?;
    Ok((received, message.to_owned()))
}

/// Deletes the pod of the model without the module while the policy is in effect, and sends requests to the new one. Returns the condition
/// of the policy.
///
/// # Errors
/// The claim does not hold.
pub async fn server_without_module(testbed: &MeshTestbed) -> ClaimResult<String> {
    let delete = format!("kubectl delete pod -n {NAMESPACE} -l app={PLAIN}");
    WITHOUT_MODULE.require_ok("kubectl delete", testbed.kubectl(&delete).await)?;
    let rollout =
        format!("kubectl rollout status -n {NAMESPACE} deployment/{PLAIN} --timeout=120s");
    WITHOUT_MODULE.require_ok("a new pod", testbed.kubectl(&rollout).await)?;
    for _ in 0..4 {
        let reply = send(WITHOUT_MODULE, testbed, PLAIN_CLIENT, PLAIN, TOKENS).await?;
        WITHOUT_MODULE.ensure(reply.is_success() && left(&reply).is_none(), || {
            format!("{} {:?} {}", reply.status, reply.headers, reply.text())
        })?;
    }
    let condition = format!(
        "kubectl get tokenbucketpolicy {NAMESPACE} -n {NAMESPACE} -o \
         jsonpath={{.status.conditions[?(@.type==\"Programmed\")].message}}"
    );
    // The sidecar of the deleted pod is connected until it has drained.
    let counted = eventually(SOON, "the condition of the policy", async || {
        let got = testbed.kubectl(&condition).await;
        let got = got.map_err(|error| error.to_string())?.output;
        match got.contains("1 of 2 proxies") {
            true => Ok(got),
            false => Err(got),
        }
    });
    WITHOUT_MODULE.require_ok("the condition", counted.await)
}

fn host(model: &str) -> String {
    format!("{model}.{NAMESPACE}.svc.cluster.local:8000")
}

/// What remains of the budget.
fn left(reply: &Reply) -> Option<u64> {
    reply.header("x-ratelimit-remaining-tokens")?.parse().ok()
}

async fn send(
    claim: Claim,
    testbed: &MeshTestbed,
    client: &str,
    model: &str,
    tokens: u64,
) -> ClaimResult<Reply> {
    let server = claim.require_ok("the sidecar", testbed.outbound(client))?;
    let request = OpenAiRequest::chat(model)
        .max_tokens(tokens)
        .header("host", host(model))
        // The policy does not believe it.
        .header("x-tenant-id", "somebody-else")
        .header("x-mock-usage", format!("completion_tokens={tokens}"));
    let reply = HttpClient::new().send(request.to(&server)).await;
    claim.require_ok("a request", reply)
}

async fn send_image(testbed: &MeshTestbed, bytes: usize) -> ClaimResult<Reply> {
    let server = BODIES.require_ok("the sidecar", testbed.outbound(PLAIN_CLIENT))?;
    let request = image_chat(MODEL, bytes).header("host", host(MODEL));
    let reply = HttpClient::new().send(request.to(&server)).await;
    BODIES.require_ok("a large body", reply)
}
