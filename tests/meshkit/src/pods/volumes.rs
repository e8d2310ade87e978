//! The volumes of a pod, in directories of this machine.
//!
//! Invariant: a change of a ConfigMap or Secret reaches the pod within seconds, as in a cluster within a minute; tokens, and volumes that
//! contain one, are not renewed. Every user of the pod may read its files and write to its empty directories.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Volume,
};
use kube::ResourceExt as _;

use super::atomic;
use super::environment::field_of;
use super::error::Unable;
use super::objects::{Data, Objects};

/// Where clients find the credentials of their pod.
pub(super) const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Name of the volume with these credentials; no volume of a manifest can have it.
pub(super) const CREDENTIALS_VOLUME: &str = "kube-api-access.";

/// The directory of each volume, by name.
pub(super) type Volumes = BTreeMap<String, PathBuf>;

/// Writes the volumes of a pod below `dir`.
pub(super) async fn write(
    pod: &Pod,
    ip: IpAddr,
    objects: &Objects,
    dir: &Path,
) -> Result<Volumes, Unable> {
    let mut volumes = Volumes::new();
    let spec = pod.spec.clone().unwrap_or_default();
    for volume in spec.volumes.iter().flatten() {
        let path = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => {
                let path = dir.join(&volume.name);
                std::fs::create_dir_all(&path).map_err(Unable::machine)?;
                if volume.empty_dir.is_some() {
                    let mode = Permissions::from_mode(0o777);
                    std::fs::set_permissions(&path, mode).map_err(Unable::machine)?;
                } else {
                    let content = content(pod, volume, ip, objects).await?;
                    atomic::write(&path, &content).map_err(Unable::machine)?;
                }
                path
            }
        };
        volumes.insert(volume.name.clone(), path);
    }
    if objects.mounts_token(pod).await? {
        let path = dir.join(CREDENTIALS_VOLUME);
        std::fs::create_dir_all(&path).map_err(Unable::machine)?;
        let content = credentials(pod, objects).await?;
        atomic::write(&path, &content).map_err(Unable::machine)?;
        volumes.insert(CREDENTIALS_VOLUME.to_owned(), path);
    }
    Ok(volumes)
}

/// The volumes whose content can change, with it.
pub(super) async fn changeable(pod: &Pod, ip: IpAddr, objects: &Objects) -> Vec<(String, Data)> {
    let mut found = Vec::new();
    let spec = pod.spec.clone().unwrap_or_default();
    for volume in spec.volumes.iter().flatten() {
        let has_token = volume.projected.as_ref().is_some_and(|projected| {
            let mut sources = projected.sources.iter().flatten();
            sources.any(|source| source.service_account_token.is_some())
        });
        let is_read = volume.config_map.is_some() || volume.secret.is_some();
        let is_projected = volume.projected.is_some() && !has_token;
        // A volume that cannot be read now keeps its content.
        if (is_read || is_projected)
            && let Ok(data) = content(pod, volume, ip, objects).await
        {
            found.push((volume.name.clone(), data));
        }
    }
    found
}

async fn credentials(pod: &Pod, objects: &Objects) -> Result<Data, Unable> {
    let token = objects.token(pod, None, None).await?;
    let namespace = pod.namespace().unwrap_or_default();
    Ok(Data::from([
        ("token".to_owned(), token.into_bytes()),
        ("ca.crt".to_owned(), objects.authority().as_bytes().to_vec()),
        ("namespace".to_owned(), namespace.into_bytes()),
    ]))
}

async fn content(
    pod: &Pod,
    volume: &Volume,
    ip: IpAddr,
    objects: &Objects,
) -> Result<Data, Unable> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(map) = &volume.config_map {
        let optional = map.optional.unwrap_or(false);
        let data = objects.config_map(&namespace, &map.name, optional).await?;
        return selected(&map.name, data, map.items.as_deref(), optional);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let optional = secret.optional.unwrap_or(false);
        let data = objects.secret(&namespace, name, optional).await?;
        return selected(name, data, secret.items.as_deref(), optional);
    }
    if let Some(fields) = &volume.downward_api {
        return downward(pod, fields.items.as_deref().unwrap_or_default(), ip);
    }
    if let Some(projected) = &volume.projected {
        return self::projected(pod, projected, ip, objects).await;
    }
    let name = &volume.name;
    Err(Unable::config(format!(
        "volume {name} is of a kind that is not supported here"
    )))
}

async fn projected(
    pod: &Pod,
    projected: &ProjectedVolumeSource,
    ip: IpAddr,
    objects: &Objects,
) -> Result<Data, Unable> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut all = Data::new();
    for source in projected.sources.iter().flatten() {
        if let Some(token) = &source.service_account_token {
            let audience = token.audience.as_deref();
            let made = objects.token(pod, audience, token.expiration_seconds);
            all.insert(token.path.clone(), made.await?.into_bytes());
        }
        if let Some(map) = &source.config_map {
            let optional = map.optional.unwrap_or(false);
            // A controller publishes this one in each namespace of a cluster.
            let data = if map.name == "kube-root-ca.crt" {
                Data::from([("ca.crt".to_owned(), objects.authority().as_bytes().to_vec())])
            } else {
                objects.config_map(&namespace, &map.name, optional).await?
            };
            all.extend(selected(&map.name, data, map.items.as_deref(), optional)?);
        }
        if let Some(secret) = &source.secret {
            let optional = secret.optional.unwrap_or(false);
            let data = objects.secret(&namespace, &secret.name, optional).await?;
            all.extend(selected(
                &secret.name,
                data,
                secret.items.as_deref(),
                optional,
            )?);
        }
        if let Some(fields) = &source.downward_api {
            let items = fields.items.as_deref().unwrap_or_default();
            all.extend(downward(pod, items, ip)?);
        }
    }
    Ok(all)
}

/// The keys that `items` names, under its paths; all of them if there are no items.
fn selected(
    name: &str,
    mut data: Data,
    items: Option<&[KeyToPath]>,
    optional: bool,
) -> Result<Data, Unable> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data);
    };
    let mut chosen = Data::new();
    for item in items {
        match data.remove(&item.key) {
            Some(content) => {
                chosen.insert(item.path.clone(), content);
            }
            None if optional => {}
            None => return Err(Unable::config(format!("{name} has no key {}", item.key))),
        }
    }
    Ok(chosen)
}

fn downward(pod: &Pod, items: &[DownwardAPIVolumeFile], ip: IpAddr) -> Result<Data, Unable> {
    let mut files = Data::new();
    for item in items {
        if let Some(field) = &item.field_ref {
            let value = field_of(pod, field, ip)?;
            files.insert(item.path.clone(), value.into_bytes());
        }
    }
    Ok(files)
}
