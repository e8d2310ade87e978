//! The API objects that a pod refers to: ConfigMaps, Secrets, and tokens of its ServiceAccount.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};

use super::error::Unable;

/// Name and content of each key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Lifetime of the token that every pod gets, seconds. Tokens are not renewed here, so it is longer than any test; a cluster renews one
/// that lives for an hour.
const DEFAULT_LIFETIME: i64 = 24 * 3600;

/// The API, as the kubelet reads it.
#[derive(Clone)]
pub(super) struct Objects {
    client: Client,
    api_address: SocketAddr,
    authority: Arc<str>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    pub(super) fn new(client: Client, api_address: SocketAddr, authority: &str) -> Self {
        Self {
            client,
            api_address,
            authority: authority.into(),
        }
    }

    pub(super) fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// The certificate of the API's authority, as PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The content of a ConfigMap; nothing if it is optional and missing.
    pub(super) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Data, Unable> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        let Some(map) = found.map_err(Unable::machine)? else {
            return missing("configmap", name, optional);
        };
        let text = map.data.unwrap_or_default().into_iter();
        let text = text.map(|(key, value)| (key, value.into_bytes()));
        let binary = map.binary_data.unwrap_or_default().into_iter();
        Ok(text
            .chain(binary.map(|(key, value)| (key, value.0)))
            .collect())
    }

    /// The content of a Secret; nothing if it is optional and missing.
    pub(super) async fn secret(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Data, Unable> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        let Some(secret) = found.map_err(Unable::machine)? else {
            return missing("secret", name, optional);
        };
        let data = secret.data.unwrap_or_default().into_iter();
        Ok(data.map(|(key, value)| (key, value.0)).collect())
    }

    /// Whether the pod gets a token of its ServiceAccount without asking for it.
    pub(super) async fn mounts_token(&self, pod: &Pod) -> Result<bool, Unable> {
        let spec = pod.spec.clone().unwrap_or_default();
        let name = account(pod);
        let found = self.accounts(pod).get_opt(&name).await;
        match found.map_err(Unable::machine)? {
            Some(account) => Ok(spec
                .automount_service_account_token
                .or(account.automount_service_account_token)
                .unwrap_or(true)),
            // In a cluster, a controller makes the account `default` of each namespace.
            None if name == "default" => Ok(false),
            None => Err(Unable::config(format!(
                "serviceaccount \"{name}\" not found"
            ))),
        }
    }

    /// A token of the pod's ServiceAccount that is valid as long as the pod exists. Not bound to the pod if the pod names no account: in a
    /// cluster, admission writes `default` there.
    pub(super) async fn token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        lifetime: Option<i64>,
    ) -> Result<String, Unable> {
        let spec = pod.spec.as_ref();
        let named = spec.is_some_and(|spec| spec.service_account_name.is_some());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]),
                bound_object_ref: named.then(|| BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(pod.name_any()),
                    uid: pod.uid(),
                }),
                expiration_seconds: Some(lifetime.unwrap_or(DEFAULT_LIFETIME)),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let accounts = self.accounts(pod);
        let made = accounts
            .create_token_request(&account(pod), &PostParams::default(), &request)
            .await
            .map_err(Unable::machine)?;
        Ok(made.status.and_then(|made| made.token).unwrap_or_default())
    }

    fn accounts(&self, pod: &Pod) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }
}

fn account(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.service_account_name.as_deref());
    name.filter(|name| !name.is_empty())
        .unwrap_or("default")
        .to_owned()
}

fn missing(kind: &str, name: &str, optional: bool) -> Result<Data, Unable> {
    if optional {
        return Ok(Data::new());
    }
    Err(Unable::config(format!("{kind} \"{name}\" not found")))
}
