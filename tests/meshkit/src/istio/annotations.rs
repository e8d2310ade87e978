//! The annotations of a pod that change its proxy's container, as Istio's injection template reads them.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Volume, VolumeMount};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Volumes of the pod, as a JSON object by name.
const VOLUMES: &str = "sidecar.istio.io/userVolume";
/// Where they are mounted, as a JSON object by name.
const MOUNTS: &str = "sidecar.istio.io/userVolumeMount";
/// A ConfigMap with a bootstrap that is merged into the proxy's.
const BOOTSTRAP: &str = "sidecar.istio.io/bootstrapOverride";
/// Where it is mounted.
const BOOTSTRAP_PATH: &str = "/etc/istio/custom-bootstrap";

/// Adds what the annotations ask for.
///
/// # Errors
/// The annotation that is not what Istio expects.
pub(super) fn apply(
    pod: &Pod,
    container: &mut Container,
    volumes: &mut Vec<Volume>,
) -> Result<(), String> {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.extend(named::<VolumeMount>(pod, MOUNTS)?);
    volumes.extend(named::<Volume>(pod, VOLUMES)?);
    let Some(map) = pod.annotations().get(BOOTSTRAP) else {
        return Ok(());
    };
    let name = "custom-bootstrap-volume";
    mounts.push(VolumeMount {
        name: name.to_owned(),
        mount_path: BOOTSTRAP_PATH.to_owned(),
        ..VolumeMount::default()
    });
    let volume = json!({"name": name, "configMap": {"name": map}});
    volumes.push(serde_json::from_value(volume).map_err(|error| error.to_string())?);
    container.env.get_or_insert_default().push(EnvVar {
        name: "ISTIO_BOOTSTRAP_OVERRIDE".to_owned(),
        value: Some(format!("{BOOTSTRAP_PATH}/custom_bootstrap.json")),
        value_from: None,
    });
    Ok(())
}

/// The entries of an annotation, each with its name in it.
fn named<T: DeserializeOwned>(pod: &Pod, annotation: &str) -> Result<Vec<T>, String> {
    let Some(text) = pod.annotations().get(annotation) else {
        return Ok(Vec::new());
    };
    let failed = |error: serde_json::Error| format!("{annotation}: {error}");
    let entries: Map<String, Value> = serde_json::from_str(text).map_err(failed)?;
    entries
        .into_iter()
        .map(|(name, mut entry)| {
            entry["name"] = name.into();
            serde_json::from_value(entry).map_err(failed)
        })
        .collect()
}
