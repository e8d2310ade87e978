//! The module as an OCI artifact, pulled from a registry by a proxy's agent for a WasmPlugin.

use std::path::Path;
use std::process::Output;

use headgate_demo::{Claim, ClaimResult};
use headgate_meshkit::registry::Registry;
use headgate_testkit::client::Reply;
use headgate_testkit::testbed::artifacts::{headgate_binary, packer_binary, wasm_module};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::manifests;
use crate::testbed::{CLIENTS, MeshTestbed};
use crate::traffic::MODEL;

/// The claim of [`plugin_is_pulled`].
pub const CLAIM: Claim = Claim::new(
    "a WasmPlugin pulls the module from a registry; with `bodies: never` a POST passes and is tagged by its headers",
);
/// The client whose sidecar has the plugin.
const CLIENT: &str = "plugin-client";
/// The module that tags only.
const MODULE: &str = "traffic-tag";

/// The plugin that was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The reference of the artifact.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// `x-model-version` as the model server received it.
    pub version: String,
}

/// Pushes the module to a registry, applies a WasmPlugin with the configuration that `headgate translate` prints, and sends a request
/// through a sidecar that has nothing else of Headgate.
///
/// # Errors
/// The claim does not hold.
pub async fn plugin_is_pulled(testbed: &MeshTestbed) -> ClaimResult<Pulled> {
    let registry = CLAIM.require_ok("the registry", Registry::start().await)?;
    let repository = format!("{}/headgate", registry.addr());
    let digest = push(&repository).await?;
    let reference = format!("{repository}/{MODULE}:{}", env!("CARGO_PKG_VERSION"));
    let config = configuration(testbed).await?;
    let plugin = json!({
        "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
        "metadata": { "name": "headgate-tag", "namespace": CLIENTS },
        "spec": {
            "selector": { "matchLabels": { "app": CLIENT } },
            "match": [{ "mode": "CLIENT", "ports": [{ "number": 8000 }] }],
            "url": format!("oci://{reference}"),
            "sha256": digest,
            "failStrategy": "FAIL_RELOAD",
            "pluginName": "headgate.traffic-tag",
            "pluginConfig": config,
        },
    });
    CLAIM.require_ok("the WasmPlugin", testbed.apply(&[plugin]).await)?;
    let client = manifests::client(CLIENT, false);
    CLAIM.require_ok("the client", testbed.apply(&client).await)?;
    let ready = testbed.wait(CLIENTS, &format!("app={CLIENT}")).await;
    CLAIM.require_ok("the client", ready)?;
    let chat = CLAIM.require_ok("the sidecar", testbed.chat(CLIENT))?;
    let chat = chat.header("x-model", MODEL);
    let tagged = testbed.until(
        "a tagged POST",
        || chat.clone(),
        |reply| reply.is_success() && version_at_model(reply).is_some(),
    );
    let reply = CLAIM.require_ok("a tagged POST", tagged.await)?;
    let version = CLAIM.require_some("x-model-version", version_at_model(&reply))?;
    for object in [
        "wasmplugin/headgate-tag".to_owned(),
        format!("pod/{CLIENT}"),
    ] {
        let delete = format!("kubectl delete -n {CLIENTS} {object} --wait=false");
        CLAIM.require_ok(&object, testbed.kubectl(&delete).await)?;
    }
    Ok(Pulled {
        reference,
        digest,
        version,
    })
}

/// The tag that the model server received. The answer has none: without a subset, the proxy knows the version by the workload of the
/// endpoint, and WorkloadEntries have the names of pods.
fn version_at_model(reply: &Reply) -> Option<String> {
    let body = reply.json().ok()?;
    let version = body["mock"]["headers"]["x-model-version"].as_str()?;
    Some(version.to_owned())
}

/// Packs the module as `make oci` does, and pushes it. Returns the digest of the artifact.
async fn push(repository: &str) -> ClaimResult<String> {
    let packer = CLAIM.require_ok("the packer", packer_binary())?;
    let module = CLAIM.require_ok("the modules", wasm_module())?;
    let modules = module.parent().unwrap_or(Path::new("."));
    let layout = CLAIM.require_ok("a directory", tempfile::tempdir())?;
    let mut pack = Command::new(packer);
    pack.arg("--modules")
        .arg(modules)
        .arg("--output")
        .arg(layout.path())
        .args(["--push", repository, MODULE]);
    let printed = text(CLAIM.require_ok("the packer", pack.output().await)?)?;
    let digest = printed.split("sha256:").nth(1);
    let digest = digest.and_then(|rest| rest.get(..64));
    CLAIM
        .require_some(&format!("a digest in {printed}"), digest)
        .map(str::to_owned)
}

/// The configuration of the filter for the plugin: what `headgate translate` prints, without bodies.
async fn configuration(testbed: &MeshTestbed) -> ClaimResult<Value> {
    let headgate = CLAIM.require_ok("headgate", headgate_binary())?;
    let mut translate = Command::new(headgate);
    translate
        .args(["translate", "-o", "json", "--kubeconfig"])
        .arg(testbed.kube.kubeconfig());
    let printed = text(CLAIM.require_ok("headgate translate", translate.output().await)?)?;
    let printed: Value = CLAIM.require_ok("its output", serde_json::from_str(&printed))?;
    let mut config = printed["filterConfig"].clone();
    config["bodies"] = json!("never");
    config["stages"] = json!(["tag"]);
    Ok(config)
}

/// The standard output of a command that succeeded.
fn text(output: Output) -> ClaimResult<String> {
    CLAIM.ensure(output.status.success(), || {
        String::from_utf8_lossy(&output.stderr).into_owned()
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
