//! The parser of objects that are watched for carriers: JSON of the API server → the data that carriers are built from.
//!
//! Invariant: only an object without a namespace, a name or a UID is refused. Any other value that cannot be read is left out and
//! reported, and the rest of the object is used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use headgate_contract::names;
use headgate_model::Protocol;
use headgate_model::ports::{PodPort, ServicePort, TargetPort, protocol_of_all};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::identity::{Controller, Labels, Name};
use super::roles::{self, Generations};
use super::unready;
use crate::declared::{
    is_external_name, is_headless, list, number, pod_ports, service_ports, text,
};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::object::MissingIdentity;

/// Metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) name: Name,
    pub(crate) uid: String,
    /// Unix seconds.
    pub(crate) created: Option<i64>,
    pub(crate) terminating: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// Headgate's annotations only.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) controller: Option<Controller>,
}

/// An object: its metadata and the data of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) meta: Metadata,
    pub(crate) body: Body,
    /// Values that cannot be read: JSON path and error.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// The data of an object's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Pod {
        /// TCP ports of its containers and native sidecars, in order.
        ports: Vec<PodPort>,
        address: Option<IpAddr>,
        ready: bool,
        /// Since when it is ready, in Unix seconds.
        ready_since: Option<i64>,
        /// Whether its containers ended for good. The pod may stay for days and keep its address.
        ended: bool,
        /// Reasons why it is not ready, in the terms of Kubernetes.
        unready_reasons: Vec<String>,
    },
    Service {
        /// Empty for type ExternalName.
        selector: BTreeMap<String, String>,
        /// Its TCP ports, in order.
        ports: Vec<ServicePort>,
        /// The DNS name of a Service of type ExternalName.
        external_name: Option<String>,
        /// Whether it is headless: it has no address of its own.
        headless: bool,
    },
    /// An InferencePool.
    Pool {
        selector: BTreeMap<String, String>,
        /// The ports of its pods, in order.
        ports: Vec<ServicePort>,
    },
    Owner {
        replicas: Option<u32>,
        /// Seconds that its pods must be ready before they are available.
        min_ready_seconds: u32,
        /// The labels of its pod template at `spec.template`.
        template: BTreeMap<String, String>,
        /// The labels by which it selects its pods: `spec.selector.matchLabels`.
        selector: BTreeMap<String, String>,
        /// Its generations of pods, if it runs several side by side.
        generations: Option<Generations>,
    },
}

impl Object {
    pub(crate) fn pod(value: &Value) -> Result<Self, MissingIdentity> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let ports = value.get("spec").map(pod_ports).unwrap_or_default();
        let address = read.parsed(value, "/status/podIP", "an IP address", |text| {
            text.parse().ok()
        });
        let ready = list(value, "/status/conditions").iter().find(|condition| {
            text(condition, "/type") == Some("Ready") && text(condition, "/status") == Some("True")
        });
        let since = ready.and_then(|condition| text(condition, "/lastTransitionTime"));
        let ended = matches!(text(value, "/status/phase"), Some("Failed" | "Succeeded"));
        let unready_reasons = if ready.is_some() {
            Vec::new()
        } else {
            unready::of_pod(value)
        };
        Ok(read.done(
            meta,
            Body::Pod {
                ports,
                address,
                ready: ready.is_some(),
                ready_since: since.and_then(seconds),
                ended,
                unready_reasons,
            },
        ))
    }

    pub(crate) fn service(value: &Value) -> Result<Self, MissingIdentity> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let external = is_external_name(value);
        let external_name = text(value, "/spec/externalName").filter(|_| external);
        // `kubectl patch` keeps the selector of an earlier type. ExternalName ignores it; the ports belong to endpoints that an
        // annotation may list.
        let selector = match external {
            true => BTreeMap::new(),
            false => read.texts(value, "/spec/selector"),
        };
        Ok(read.done(
            meta,
            Body::Service {
                selector,
                ports: service_ports(value),
                external_name: external_name.map(str::to_owned),
                headless: is_headless(value),
            },
        ))
    }

    pub(crate) fn pool(value: &Value) -> Result<Self, MissingIdentity> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let newer = "/spec/selector/matchLabels";
        let selector = match value.pointer(newer).is_some_and(Value::is_object) {
            true => read.texts(value, newer),
            false => read.texts(value, "/spec/selector"),
        };
        let app_protocol = text(value, "/spec/appProtocol");
        let ports = list(value, "/spec/targetPorts").iter();
        let ports = ports.filter_map(|port| port.get("number"));
        let ports = ports.chain(value.pointer("/spec/targetPortNumber"));
        let ports = ports.filter_map(|port| {
            Some(ServicePort {
                name: String::new(),
                number: number(port)?,
                target: TargetPort::Number(number(port)?),
                app_protocol: app_protocol.map(str::to_owned),
            })
        });
        Ok(read.done(
            meta,
            Body::Pool {
                selector,
                ports: ports.collect(),
            },
        ))
    }

    pub(crate) fn owner(value: &Value, kind: &Kind) -> Result<Self, MissingIdentity> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let replicas = kind
            .replicas
            .as_deref()
            .and_then(|pointer| read.replicas(value, pointer));
        let template = read.texts(value, "/spec/template/metadata/labels");
        let selector = read.texts(value, "/spec/selector/matchLabels");
        let min_ready_seconds = kind
            .min_ready_seconds
            .as_deref()
            .and_then(|pointer| value.pointer(pointer)?.as_u64())
            .and_then(|seconds| u32::try_from(seconds).ok())
            .unwrap_or(0);
        let generations = roles::generations(kind, &meta.name.name, value);
        Ok(read.done(
            meta,
            Body::Owner {
                replicas,
                min_ready_seconds,
                template,
                selector,
                generations,
            },
        ))
    }
}

/// A time in Unix seconds.
fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// Reads values and collects those that it cannot read.
struct Reader(Vec<(String, String)>);

impl Reader {
    fn done(self, meta: Metadata, body: Body) -> Object {
        Object {
            meta,
            body,
            unreadable: self.0,
        }
    }

    fn metadata(&mut self, value: &Value) -> Result<Metadata, MissingIdentity> {
        let needed = |pointer, what| {
            text(value, pointer)
                .filter(|text| !text.is_empty())
                .ok_or(MissingIdentity(what))
        };
        Ok(Metadata {
            name: Name {
                namespace: needed("/metadata/namespace", "namespace")?.to_owned(),
                name: needed("/metadata/name", "name")?.to_owned(),
            },
            uid: needed("/metadata/uid", "UID")?.to_owned(),
            created: self.parsed(value, "/metadata/creationTimestamp", "a time", seconds),
            terminating: value
                .pointer("/metadata/deletionTimestamp")
                .is_some_and(|time| !time.is_null()),
            labels: self.texts(value, "/metadata/labels"),
            annotations: self.texts(value, "/metadata/annotations"),
            controller: controller(value),
        })
    }

    fn wrong(&mut self, pointer: &str, value: &Value, wanted: &str) {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        self.0
            .push((path, format!("is {value}, which is not {wanted}")));
    }

    fn parsed<T>(
        &mut self,
        value: &Value,
        pointer: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let found = value
            .pointer(pointer)
            .filter(|found| !found.is_null() && found.as_str() != Some(""))?;
        let parsed = found.as_str().and_then(parse);
        if parsed.is_none() {
            self.wrong(pointer, found, wanted);
        }
        parsed
    }

    fn replicas(&mut self, value: &Value, pointer: &str) -> Option<u32> {
        let found = value.pointer(pointer).filter(|found| !found.is_null())?;
        let number = found.as_u64().and_then(|n| u32::try_from(n).ok());
        if number.is_none() {
            self.wrong(
                pointer,
                found,
                "a number of replicas. The replicas of the owned objects are used",
            );
        }
        number
    }

    fn texts(&mut self, value: &Value, pointer: &str) -> BTreeMap<String, String> {
        let Some(found) = value.pointer(pointer).and_then(Value::as_object) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (key, value) in found {
            match value.as_str() {
                Some(text) => {
                    texts.insert(key.clone(), text.to_owned());
                }
                None => self.wrong(&format!("{pointer}/{key}"), value, "text"),
            }
        }
        texts
    }
}

fn controller(value: &Value) -> Option<Controller> {
    let references = list(value, "/metadata/ownerReferences");
    let of =
        |reference: &&Value| reference.get("controller").and_then(Value::as_bool) == Some(true);
    let reference = references.iter().find(of)?;
    let text = |field: &str| reference.get(field).and_then(Value::as_str);
    Some(Controller {
        // The core group has no name.
        group: text("apiVersion")?
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: text("kind")?.to_owned(),
        uid: text("uid")?.to_owned(),
    })
}

impl Object {
    /// The generations of an owner's pods.
    pub(super) fn generations(&self) -> Option<&Generations> {
        match &self.body {
            Body::Owner { generations, .. } => generations.as_ref(),
            _ => None,
        }
    }

    /// The labels of the pods that the object is or makes.
    pub(super) fn pod_labels(&self) -> Option<&Labels> {
        match &self.body {
            Body::Pod { .. } => Some(&self.meta.labels),
            Body::Owner { template, .. } => Some(template),
            Body::Service { .. } | Body::Pool { .. } => None,
        }
    }

    /// The TCP ports that a pod declares; empty for other kinds.
    pub(super) fn ports(&self) -> &[PodPort] {
        match &self.body {
            Body::Pod { ports, .. } => ports,
            _ => &[],
        }
    }

    /// Whether it is neither terminating nor a pod whose containers ended for good.
    pub(super) fn is_live(&self) -> bool {
        !self.meta.terminating && !self.has_ended()
    }

    /// Whether it is a pod whose containers ended for good.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.body, Body::Pod { ended: true, .. })
    }
}

impl Body {
    /// The protocol that a Service declares for all its ports.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Service { ports, .. } => protocol_of_all(ports),
            _ => Protocol::default(),
        }
    }
}

impl Metadata {
    /// The port annotation.
    pub(crate) fn port(&self) -> Option<&str> {
        self.annotations
            .get(names::ANNOTATION_PORT)
            .map(|text| text.trim())
    }
}
