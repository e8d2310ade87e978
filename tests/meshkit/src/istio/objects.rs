//! Requests for objects of Istio.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

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
