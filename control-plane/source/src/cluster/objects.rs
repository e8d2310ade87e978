//! JSON of the API server → the few things that are kept of an object.
//!
//! Invariant: only an object without a name or UID is no object. Any other value that cannot be read is left out and
//! reported, and the rest of the object counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use headgate_contract::names;
use headgate_model::Protocol;
use headgate_model::ports::{PodPort, ServicePort, TargetPort, protocol_of_all};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::roles::{self, Generations};
use super::unready;
use crate::declared::{
    is_external_name, is_headless, list, number, pod_ports, service_ports, text,
};
use headgate_kubernetes::kinds::Kind;
use headgate_kubernetes::object::Nameless;

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The `controller: true` owner of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) uid: String,
}

/// What every object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) name: Name,
    pub(crate) uid: String,
    /// Unix seconds.
    pub(crate) created: Option<i64>,
    pub(crate) terminating: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// Headgate's only.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) controller: Option<Controller>,
}

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) meta: Metadata,
    pub(crate) body: Body,
    /// What of it cannot be read: JSON path, and why.
    pub(crate) unreadable: Vec<(String, String)>,
}

/// What is kept of an object besides its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Pod {
        /// TCP ports of its containers and native sidecars, in order.
        ports: Vec<PodPort>,
        address: Option<IpAddr>,
        ready: bool,
        /// Since when it is ready, in Unix seconds.
        ready_since: Option<i64>,
        /// Its containers ended for good; it may keep its address and stay for days.
        ended: bool,
        /// Why it is not ready, as Kubernetes says it.
        unready_reasons: Vec<String>,
    },
    Service {
        /// Empty for type ExternalName.
        selector: BTreeMap<String, String>,
        /// Its TCP ports, in order.
        ports: Vec<ServicePort>,
        /// The DNS name that it stands for, where it is of type ExternalName.
        external_name: Option<String>,
        /// Whether it has no address of its own.
        headless: bool,
    },
    /// An InferencePool.
    Pool {
        selector: BTreeMap<String, String>,
        /// Where its pods serve, in order.
        ports: Vec<ServicePort>,
    },
    Owner {
        replicas: Option<u32>,
        /// Seconds that its pods must have been ready before they count as available.
        min_ready_seconds: u32,
        /// The labels of its pod template, where it has one in the usual place.
        template: BTreeMap<String, String>,
        /// Where it runs several generations of pods side by side: which one takes traffic.
        generations: Option<Generations>,
    },
}

impl Object {
    pub(crate) fn pod(value: &Value) -> Result<Self, Nameless> {
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

    pub(crate) fn service(value: &Value) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let external = is_external_name(value);
        let external_name = text(value, "/spec/externalName").filter(|_| external);
        // `kubectl patch` leaves the selector of an earlier type. Without it no pod is led to, and the ports are only those of the
        // endpoints that an annotation may name.
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

    pub(crate) fn pool(value: &Value) -> Result<Self, Nameless> {
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

    pub(crate) fn owner(value: &Value, kind: &Kind) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let replicas = kind
            .replicas
            .as_deref()
            .and_then(|pointer| read.replicas(value, pointer));
        let template = read.texts(value, "/spec/template/metadata/labels");
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
                generations,
            },
        ))
    }
}

/// A time in Unix seconds.
fn seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// Reads values, and remembers those that it could not.
struct Reader(Vec<(String, String)>);

impl Reader {
    fn done(self, meta: Metadata, body: Body) -> Object {
        Object {
            meta,
            body,
            unreadable: self.0,
        }
    }

    fn metadata(&mut self, value: &Value) -> Result<Metadata, Nameless> {
        let needed = |pointer, what| {
            text(value, pointer)
                .filter(|text| !text.is_empty())
                .ok_or(Nameless(what))
        };
        Ok(Metadata {
            name: Name {
                namespace: needed("/metadata/namespace", "a namespace")?.to_owned(),
                name: needed("/metadata/name", "a name")?.to_owned(),
            },
            uid: needed("/metadata/uid", "a UID")?.to_owned(),
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
                "a number of replicas: it is taken from what it owns",
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
    /// What an owner says of its generations of pods.
    pub(super) fn generations(&self) -> Option<&Generations> {
        match &self.body {
            Body::Owner { generations, .. } => generations.as_ref(),
            _ => None,
        }
    }

    /// Whether it is a pod whose containers ended for good.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.body, Body::Pod { ended: true, .. })
    }
}

impl Body {
    /// How a Service says that all its ports are spoken to.
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
