//! Objects of Istio, and requests for them.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// Owner of the fields.
const MANAGER: &str = "headgate-meshkit";

/// A kind of `networking.istio.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sidecar,
    WorkloadEntry,
}

impl Kind {
    pub(super) fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let (kind, plural) = match self {
            Self::Sidecar => ("Sidecar", "sidecars"),
            Self::WorkloadEntry => ("WorkloadEntry", "workloadentries"),
        };
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// Applies an object on the server.
pub(super) async fn apply(client: &Client, kind: Kind, object: &Value) -> Result<(), kube::Error> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let api = kind.api(client, text("namespace"));
    let params = PatchParams::apply(MANAGER).force();
    api.patch(text("name"), &params, &Patch::Apply(object))
        .await?;
    Ok(())
}

/// A Gateway on a port of loopback for the pods with the label `istio: ingressgateway` in namespace `gateways`, and a VirtualService from
/// its host `ai.example.com` to port 8000 of Service `llama3-70b` in namespace `models`.
#[must_use]
pub fn gateway_objects(port: u16) -> [Value; 2] {
    let metadata = json!({ "name": "ai", "namespace": "gateways" });
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata,
        "spec": {
            "selector": { "istio": "ingressgateway" },
            "servers": [{
                "port": { "number": port, "name": "http", "protocol": "HTTP" },
                "bind": "127.0.0.1",
                "hosts": ["ai.example.com"],
            }],
        },
    });
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata,
        "spec": {
            "hosts": ["ai.example.com"],
            "gateways": ["ai"],
            "http": [{ "route": [{ "destination": {
                "host": "llama3-70b.models.svc.cluster.local", "port": { "number": 8000 },
            } }] }],
        },
    });
    [gateway, route]
}
