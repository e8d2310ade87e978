//! One object → a carrier or a policy, or why not.
//!
//! Invariant: what comes out of here satisfies the contract; a refusal names the JSON path and the fix.

use std::net::SocketAddr;

use headgate_contract::{ConfigError, ModelId, Version, names, parse_json};
use headgate_model::{Carrier, CarrierKey, LabelKeys, Pod, Policy};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::metadata::{Metadata, at};
use crate::policies::{TokenBucket, TrafficTag};

/// What an object is to Headgate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Manifest {
    Carrier(Carrier),
    Buckets(Policy<headgate_contract::TokenBucketPolicySpec>),
    Tagging(Policy<headgate_contract::TrafficTagPolicySpec>),
    /// Not Headgate's, with the warning.
    Ignored(String),
}

/// What every manifest of a source is read with.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) default_namespace: String,
    pub(crate) keys: LabelKeys,
}

impl Reading {
    /// Reads one object of `file`.
    pub(crate) fn read(&self, file: &str, object: &Value) -> Result<Manifest, ConfigError> {
        let meta = Metadata::parse(object, &self.default_namespace)?;
        match (meta.api_version.as_str(), meta.kind.as_str()) {
            (names::API_VERSION, "TokenBucketPolicy") => {
                let spec: TokenBucket = spec(object)?;
                Ok(Manifest::Buckets(policy(meta, file, spec.0)))
            }
            (names::API_VERSION, "TrafficTagPolicy") => {
                let spec: TrafficTag = spec(object)?;
                Ok(Manifest::Tagging(policy(meta, file, spec.0)))
            }
            (version, kind) if version.starts_with("headgate.dev/") => Err(ConfigError::new(
                "apiVersion",
                format!(
                    "{version} has no kind {kind}: write {} with TokenBucketPolicy or TrafficTagPolicy",
                    names::API_VERSION
                ),
            )),
            _ if meta.labels.contains_key(&self.keys.model) => {
                self.carrier(meta, file, object).map(Manifest::Carrier)
            }
            _ => Ok(Manifest::Ignored(self.ignored(&meta))),
        }
    }

    fn ignored(&self, meta: &Metadata) -> String {
        format!(
            "{} {}/{} is ignored: it is no policy of headgate.dev, and no label `{}` makes it a carrier",
            meta.kind, meta.namespace, meta.name, self.keys.model
        )
    }

    /// Any kind may carry the labels. The weight is not judged here: a bad one has its own rule.
    fn carrier(&self, meta: Metadata, file: &str, object: &Value) -> Result<Carrier, ConfigError> {
        let label = |key: &String| meta.labels.get(key);
        let bad = |key: &String, e: headgate_contract::InvalidId| {
            ConfigError::new(at("labels", key), e.to_string())
        };
        if let Some(model) = label(&self.keys.model) {
            ModelId::try_from(model.as_str()).map_err(|e| bad(&self.keys.model, e))?;
        }
        if let Some(version) = label(&self.keys.version) {
            Version::try_from(version.as_str()).map_err(|e| bad(&self.keys.version, e))?;
        }
        let own = self.pod_version(object)?;
        let addresses = endpoints(&meta)?;
        let desired = match replicas(object)? {
            Some(replicas) => replicas,
            None => u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1),
        };
        let pod = |(i, address): (usize, &SocketAddr)| Pod {
            name: format!("{}-{i}", meta.name),
            version: own.clone(),
            address: *address,
            ready: true,
        };
        Ok(Carrier {
            pods: addresses.iter().enumerate().map(pod).collect(),
            key: CarrierKey {
                namespace: meta.namespace,
                kind: meta.kind.to_ascii_lowercase(),
                name: meta.name,
            },
            created: meta.created,
            labels: meta.labels,
            annotations: meta.annotations,
            desired,
            origin: file.to_owned(),
        })
    }

    /// The version its pods would carry: the pod template's own label.
    fn pod_version(&self, object: &Value) -> Result<Option<String>, ConfigError> {
        let labels = object.pointer("/spec/template/metadata/labels");
        let Some(Value::String(text)) = labels.and_then(|labels| labels.get(&self.keys.version))
        else {
            return Ok(None);
        };
        let path = format!("spec.template.{}", at("labels", &self.keys.version));
        Version::try_from(text.as_str()).map_err(|e| ConfigError::new(path, e.to_string()))?;
        Ok(Some(text.clone()))
    }
}

fn policy<S>(meta: Metadata, file: &str, spec: S) -> Policy<S> {
    Policy {
        namespace: meta.namespace,
        name: meta.name,
        created: meta.created,
        uid: String::new(),
        generation: meta.generation,
        origin: file.to_owned(),
        spec,
    }
}

fn spec<S: DeserializeOwned>(object: &Value) -> Result<S, ConfigError> {
    let spec = object
        .get("spec")
        .ok_or_else(|| ConfigError::new("spec", "is missing: a policy says what it does there"))?;
    parse_json(spec.to_string().as_bytes()).map_err(|e| e.under("spec"))
}

fn replicas(object: &Value) -> Result<Option<u32>, ConfigError> {
    match object.pointer("/spec/replicas") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| i32::try_from(*n).is_ok())
            .map(Some)
            .ok_or_else(|| {
                ConfigError::new(
                    "spec.replicas",
                    format!("is {value}: write a whole number of at least 0"),
                )
            }),
    }
}

/// `ip:port,…` of the annotation that stands for the pods.
fn endpoints(meta: &Metadata) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(list) = meta.annotations.get(names::ANNOTATION_ENDPOINTS) else {
        return Ok(Vec::new());
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        let address = text.parse::<SocketAddr>().ok().filter(|a| a.port() != 0);
        let address = address.ok_or_else(|| {
            let path = at("annotations", names::ANNOTATION_ENDPOINTS);
            ConfigError::new(
                path,
                format!("{text:?} is not ip:port: write it like 127.0.0.1:8101, or [::1]:8101"),
            )
        })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
