//! The objects by which an ingress gateway serves a model.

use serde_json::{Value, json};

/// A Gateway for `ai.example.com` on a port of 127.0.0.1, and a VirtualService that leads to the Service `llama3-70b` in `models`. Both
/// are in the namespace `gateways`; the pods of the gateway have the label `istio: ingressgateway`.
#[must_use]
pub fn gateway_objects(port: u16) -> [Value; 2] {
    let metadata = json!({ "name": "ai", "namespace": "gateways" });
    [
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata,
            "spec": {
                "selector": { "istio": "ingressgateway" },
                "servers": [{
                    "port": { "number": port, "name": "http", "protocol": "HTTP" },
                    "bind": "127.0.0.1",
                    "hosts": ["ai.example.com"],
                }],
            },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata,
            "spec": {
                "hosts": ["ai.example.com"],
                "gateways": ["ai"],
                "http": [{ "route": [{ "destination": {
                    "host": "llama3-70b.models.svc.cluster.local", "port": { "number": 8000 },
                } }] }],
            },
        }),
    ]
}
