//! The shipped overlay `istio-gateway`, which replaces `istio-sidecar` for this claim.

use headgate_demo::{Claim, ClaimResult};
use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_port;
use headgate_testkit::testbed::artifacts::wasm_module;
use serde_json::json;

use crate::kustomization::Kustomization;
use crate::testbed::{MODELS, MeshTestbed, SOON};
use crate::traffic::MODEL;

/// The claim of [`overlay`].
pub const CLAIM: Claim = Claim::new(
    "the gateway of the shipped overlay tags requests from outside, once a domain contains the host of the VirtualService",
);
/// Namespace of the gateway.
const NAMESPACE: &str = "headgate-gateway";
/// The host of the VirtualService.
const HOST: &str = "chat.example.com";

/// What the claim shows.
#[derive(Debug, Clone)]
pub struct Served {
    /// The finding while no domain contains the host.
    pub finding: String,
    /// The tag of a request.
    pub version: String,
    /// What the model server received as the tenant.
    pub tenant: String,
}

/// Applies the overlay with a VirtualService, first without a domain, then with a wildcard that contains the host, and sends requests to the
/// gateway.
///
/// # Errors
/// The claim does not hold.
pub async fn overlay(testbed: &MeshTestbed) -> ClaimResult<Served> {
    let port = CLAIM.require_ok("a port", free_port())?;
    apply(testbed, port, &["--linger=5"]).await?;
    let module = CLAIM.require_ok("the module", wasm_module())?;
    let created = testbed.create_module(NAMESPACE, &module).await;
    CLAIM.require_ok("the module", created)?;
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "chat", "namespace": MODELS },
        "spec": {
            "hosts": [HOST],
            "gateways": [format!("{NAMESPACE}/headgate")],
            "http": [{ "route": [{ "destination": { "host": MODEL, "port": { "number": 8000 } } }] }],
        },
    });
    CLAIM.require_ok("the VirtualService", testbed.apply(&[route]).await)?;
    let ready = testbed
        .wait(NAMESPACE, "app.kubernetes.io/component=gateway")
        .await;
    CLAIM.require_ok("the gateway", ready)?;
    let flag = format!("--domain {MODELS}={HOST}");
    let finding = eventually(SOON, "the finding", async || {
        let status = testbed.status().await.map_err(|error| error.to_string())?;
        let line = status.lines().find(|line| line.contains(&flag));
        line.map(|line| line.trim().to_owned()).ok_or(status)
    });
    let finding = CLAIM.require_ok("the finding", finding.await)?;
    let chat = OpenAiRequest::chat(MODEL)
        .header("host", HOST)
        .header("x-tenant-id", "outside")
        .to(&format!("http://127.0.0.1:{port}"));
    let untagged = testbed.until("a response", || chat.clone(), Reply::is_success);
    let untagged = CLAIM.require_ok("a response", untagged.await)?;
    CLAIM.ensure(untagged.header("x-model-version").is_none(), || {
        format!("tagged without a domain: {:?}", untagged.headers)
    })?;

    let domain = format!("--domain={MODELS}=*.example.com");
    apply(testbed, port, &["--linger=5", &domain]).await?;
    let tagged = testbed.until(
        "a tagged response",
        || chat.clone(),
        |reply| reply.is_success() && reply.header("x-model-version").is_some(),
    );
    let tagged = CLAIM.require_ok("a tagged response", tagged.await)?;
    let body = CLAIM.require_ok("the answer", tagged.json())?;
    let tenant = body["mock"]["headers"]["x-headgate-tenant"].as_str();
    let tenant = CLAIM.require_some("x-headgate-tenant", tenant)?;
    let version = tagged.header("x-model-version").unwrap_or_default();
    Ok(Served {
        finding,
        version: version.to_owned(),
        tenant: tenant.to_owned(),
    })
}

/// The overlay as it ships, except that one pod listens on loopback.
async fn apply(testbed: &MeshTestbed, port: u16, args: &[&str]) -> ClaimResult<()> {
    let patches = format!(
        "- target: {{ kind: Gateway, name: headgate }}\n  patch: |-\n\
         \x20   - {{ op: replace, path: /spec/servers/0/port/number, value: {port} }}\n\
         \x20   - {{ op: add, path: /spec/servers/0/bind, value: 127.0.0.1 }}\n\
         - target: {{ kind: Deployment, name: headgate-gateway }}\n  patch: |-\n\
         \x20   - {{ op: replace, path: /spec/replicas, value: 1 }}\n\
         \x20   - {{ op: replace, path: /spec/template/spec/containers/0/ports/0/containerPort, value: {port} }}\n"
    );
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let own = Kustomization {
        overlay: "istio-gateway",
        components: &[],
        args: &args,
        patches: &patches,
    };
    let applied = testbed.apply_kustomization(&own).await;
    CLAIM.require_ok("kubectl apply -k", applied)?;
    let rollout = "kubectl rollout status -n headgate-system deployment/headgate --timeout=120s";
    CLAIM.require_ok("Headgate", testbed.kubectl(rollout).await)?;
    Ok(())
}
