//! The objects of a user: namespaces, a model with its Service, another service, clients and a gateway.

use headgate_meshkit::istio::gateway_objects;
use serde_json::{Value, json};

use crate::testbed::{CLIENTS, GATEWAYS, MODELS};

/// The annotations by which a pod mounts the module of the filter, as docs/install.md has them.
pub(crate) fn mounts_module() -> Value {
    json!({
        "sidecar.istio.io/userVolume": r#"{"headgate-wasm": {"configMap": {"name": "headgate-wasm"}}}"#,
        "sidecar.istio.io/userVolumeMount": r#"{"headgate-wasm": {"mountPath": "/etc/headgate/wasm", "readOnly": true}}"#,
        // As docs/budgets.md has it.
        "sidecar.istio.io/extraStatTags": "model_namespace,model,version,lane,outcome,rule,reason,tenant,kind",
    })
}

/// The extension provider for access logs, as docs/install.md has it.
pub(crate) fn access_log() -> Value {
    let tag = |name: &str| format!("%FILTER_STATE(wasm.headgate.{name}:PLAIN)%");
    json!({
        "name": "headgate",
        "envoyFileAccessLog": {
            "path": "/dev/stdout",
            "logFormat": { "labels": {
                "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
                "status": "%RESPONSE_CODE%",
                "model": tag("model"),
                "version": tag("version"),
                "tenant": tag("tenant"),
                "rule": tag("rule"),
                "reason": tag("reason"),
            } },
        },
    })
}

/// The namespaces.
pub(crate) fn namespaces() -> Vec<Value> {
    let injected = json!({ "istio-injection": "enabled" });
    [(MODELS, injected.clone()), (CLIENTS, injected), (GATEWAYS, json!({}))]
        .into_iter()
        .map(|(name, labels)| {
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
        })
        .collect()
}

/// A Deployment of model `llama3-70b` whose labels are on the Deployment alone.
pub(crate) fn model(version: &str, weight: Option<&str>) -> Value {
    let name = format!("llama3-70b-{}", version.replace('.', "-"));
    let pods = json!({ "app": "llama3-70b", "track": name });
    let mut labels = json!({ "model-name": "llama3-70b", "model-version": version });
    if let Some(weight) = weight {
        labels["canary-weight"] = json!(weight);
    }
    server(
        &name,
        &labels,
        &pods,
        &["--model=llama3-70b", &format!("--version={version}")],
    )
}

/// A service that is no model.
pub(crate) fn other() -> Value {
    let pods = json!({ "app": "users" });
    server(
        "users",
        &json!({}),
        &pods,
        &["--model=users", "--version=plain"],
    )
}

fn server(name: &str, labels: &Value, pods: &Value, args: &[&str]) -> Value {
    server_in(MODELS, name, labels, &json!({ "labels": pods }), args)
}

/// A Deployment of one mock model server, whose pods have this metadata.
pub(crate) fn server_in(
    namespace: &str,
    name: &str,
    labels: &Value,
    pods: &Value,
    args: &[&str],
) -> Value {
    let mut arguments = vec!["--listen=0.0.0.0:8000"];
    arguments.extend(args);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": pods["labels"] },
            "template": {
                "metadata": pods,
                "spec": { "terminationGracePeriodSeconds": 10, "containers": [{
                    "name": "server",
                    "image": "headgate/mock-model",
                    "args": arguments,
                    "ports": [{ "name": "http", "containerPort": 8000 }],
                    "readinessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "periodSeconds": 1 },
                    // Until then no proxy sends requests to this pod.
                    "lifecycle": { "preStop": { "sleep": { "seconds": 3 } } },
                }] },
            },
        },
    })
}

/// A Service on port 8000.
pub(crate) fn service(name: &str) -> Value {
    service_in(MODELS, name)
}

/// A Service on port 8000 of the pods with the label `app: NAME`.
pub(crate) fn service_in(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "http", "port": 8000, "targetPort": "http" }],
        },
    })
}

/// A client: a pod with its own ServiceAccount, of which only the sidecar runs. Its sidecar runs the filter if it is `chosen`: then the
/// pod has the label and the module.
pub(crate) fn client(name: &str, chosen: bool) -> Vec<Value> {
    let mut metadata = json!({ "name": name, "namespace": CLIENTS, "labels": { "app": name } });
    if chosen {
        metadata["labels"]["headgate.dev/proxy"] = json!("true");
        metadata["annotations"] = mounts_module();
    }
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": CLIENTS } }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": { "serviceAccountName": name, "containers": [{ "name": "client", "image": "test/client" }] },
        }),
    ]
}

/// An ingress gateway for `ai.example.com` on a port of loopback.
pub(crate) fn gateway(port: u16, http_route: u16) -> Vec<Value> {
    let labels = json!({
        "istio": "ingressgateway", "sidecar.istio.io/inject": "true", "headgate.dev/proxy": "true",
    });
    let mut annotations = mounts_module();
    annotations["inject.istio.io/templates"] = json!("gateway");
    let mut objects = vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "gateway", "namespace": GATEWAYS },
            "spec": {
                "selector": { "istio": "ingressgateway" },
                "ports": [
                    { "name": "http", "port": 80, "targetPort": port },
                    { "name": "http-route", "port": HTTP_ROUTE, "targetPort": http_route },
                ],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "gateway", "namespace": GATEWAYS, "labels": labels, "annotations": annotations },
            "spec": { "containers": [{ "name": "istio-proxy", "image": "auto" }] },
        }),
    ];
    objects.extend(gateway_objects(port));
    objects
}

/// The port of the gateway's Service with an HTTPRoute.
const HTTP_ROUTE: u16 = 8080;

/// The same model by the Gateway API: a Gateway on the pods of the ingress gateway, and an HTTPRoute.
pub(crate) fn http_route(port: u16) -> Vec<Value> {
    let api = "gateway.networking.k8s.io/v1";
    vec![
        json!({
            "apiVersion": api, "kind": "GatewayClass", "metadata": { "name": "istio" },
            "spec": { "controllerName": "istio.io/gateway-controller" },
        }),
        json!({
            "apiVersion": api, "kind": "Gateway",
            "metadata": { "name": "ai-http-route", "namespace": GATEWAYS },
            "spec": {
                "gatewayClassName": "istio",
                "addresses": [{ "type": "Hostname", "value": "gateway.gateways.svc.cluster.local" }],
                "listeners": [{
                    "name": "http", "port": HTTP_ROUTE, "protocol": "HTTP",
                    "allowedRoutes": { "namespaces": { "from": "All" } },
                }],
            },
        }),
        json!({
            "apiVersion": api, "kind": "HTTPRoute",
            "metadata": { "name": "llama3-70b", "namespace": MODELS },
            "spec": {
                "parentRefs": [{ "name": "ai-http-route", "namespace": GATEWAYS }],
                "hostnames": ["ai.example.com"],
                "rules": [{ "backendRefs": [{ "name": "llama3-70b", "port": 8000 }] }],
            },
        }),
        // A Gateway of the Gateway API has no field for it: in a cluster a pod listens on all addresses, here on loopback.
        json!({
            "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": { "name": "on-loopback", "namespace": GATEWAYS },
            "spec": { "configPatches": [{
                "applyTo": "LISTENER",
                "match": { "context": "GATEWAY", "listener": { "portNumber": port } },
                "patch": { "operation": "MERGE", "value": {
                    "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
                } },
            }] },
        }),
    ]
}
