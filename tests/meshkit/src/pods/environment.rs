//! The variables of a container: its own, those of ConfigMaps and Secrets, and what Kubernetes adds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt as _;

use super::error::Unable;
use super::expansion::{PodAddress, expand, on_pod_address};
use super::objects::Objects;

/// Directories of programs, for commands without a slash.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/";

/// All variables of a container, expanded.
pub(super) async fn environment(
    pod: &Pod,
    container: &Container,
    address: PodAddress,
    objects: &Objects,
) -> Result<BTreeMap<String, String>, Unable> {
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), pod.name_any()),
        ("HOME".to_owned(), "/".to_owned()),
    ]);
    // Variables of Services are not made, except for the API's own, which client libraries read.
    let api = objects.api_address();
    variables.insert("KUBERNETES_SERVICE_HOST".into(), api.ip().to_string());
    variables.insert("KUBERNETES_SERVICE_PORT".into(), api.port().to_string());
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let namespace = pod.namespace().unwrap_or_default();
        let found = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => {
                let optional = map.optional.unwrap_or(false);
                objects.config_map(&namespace, &map.name, optional).await?
            }
            (None, Some(secret)) => {
                let optional = secret.optional.unwrap_or(false);
                objects.secret(&namespace, &secret.name, optional).await?
            }
            (None, None) => continue,
        };
        for (name, value) in found {
            let value = String::from_utf8_lossy(&value).into_owned();
            variables.insert(format!("{prefix}{name}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(pod, container, variable, address, objects, &variables).await? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

async fn value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    address: PodAddress,
    objects: &Objects,
    known: &BTreeMap<String, String>,
) -> Result<Option<String>, Unable> {
    let Some(source) = &variable.value_from else {
        let text = variable.value.as_deref().unwrap_or_default();
        let value = expand(text, |name| known.get(name).cloned());
        return Ok(Some(on_pod_address(&value, address)));
    };
    if let Some(field) = &source.field_ref {
        return field_of(pod, field, address.ip).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return Ok(Some(resource_of(container, &resource.resource)));
    }
    keyed(pod, source, objects).await
}

/// The value of a key of a ConfigMap or Secret; `None` if it is optional and missing.
async fn keyed(
    pod: &Pod,
    source: &EnvVarSource,
    objects: &Objects,
) -> Result<Option<String>, Unable> {
    let namespace = pod.namespace().unwrap_or_default();
    let (name, key, optional, data) = if let Some(map) = &source.config_map_key_ref {
        let optional = map.optional.unwrap_or(false);
        let data = objects.config_map(&namespace, &map.name, optional).await?;
        (&map.name, &map.key, optional, data)
    } else if let Some(secret) = &source.secret_key_ref {
        let optional = secret.optional.unwrap_or(false);
        let data = objects.secret(&namespace, &secret.name, optional).await?;
        (&secret.name, &secret.key, optional, data)
    } else {
        return Err(Unable::config("valueFrom has no supported source"));
    };
    match data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(Unable::config(format!("{name} has no key {key}"))),
    }
}

/// The value of a field of the pod, as the downward API gives it.
pub(super) fn field_of(
    pod: &Pod,
    field: &ObjectFieldSelector,
    ip: IpAddr,
) -> Result<String, Unable> {
    let spec = pod.spec.clone().unwrap_or_default();
    let ip = ip.to_string();
    let path = field.field_path.as_str();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => listed(pod.labels()),
        "metadata.annotations" => listed(pod.annotations()),
        "spec.nodeName" => spec.node_name.unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.unwrap_or_default(),
        "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => ip,
        _ => {
            let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
            let label = keyed("metadata.labels['").map(|key| pod.labels().get(key));
            let annotation = || keyed("metadata.annotations['").map(|k| pod.annotations().get(k));
            let found = label.or_else(annotation);
            let unknown = || Unable::config(format!("fieldPath {path} is not supported"));
            found.ok_or_else(unknown)?.cloned().unwrap_or_default()
        }
    })
}

/// `key="value"` lines, as in files of the downward API.
fn listed(entries: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

/// A limit or request, as it is written. `limits.cpu` and `limits.memory` without a limit are those of the machine in a cluster, and
/// empty here.
fn resource_of(container: &Container, resource: &str) -> String {
    let resources = container.resources.clone().unwrap_or_default();
    let (kind, name) = resource.split_once('.').unwrap_or_default();
    let quantities = match kind {
        "limits" => resources.limits,
        _ => resources.requests,
    };
    let quantity = quantities.unwrap_or_default().remove(name);
    quantity.map(|quantity| quantity.0).unwrap_or_default()
}
