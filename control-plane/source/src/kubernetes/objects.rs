//! JSON of the API server → the few things that are kept of an object.
//!
//! Invariant: only an object without a name or UID is no object. Any other value that cannot be read is left out and
//! reported, and the rest of the object counts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use headgate_contract::names;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::kinds::Kind;
use super::picked::{Keep, Shape};

/// Where headgate's annotations begin; no other is kept.
const ANNOTATIONS: &str = "headgate.dev/";

const METADATA: Keep = Keep::Fields(&[
    ("name", Keep::Scalar),
    ("namespace", Keep::Scalar),
    ("uid", Keep::Scalar),
    ("resourceVersion", Keep::Scalar),
    ("creationTimestamp", Keep::Scalar),
    ("deletionTimestamp", Keep::Scalar),
    ("labels", Keep::Prefixed("")),
    ("annotations", Keep::Prefixed(ANNOTATIONS)),
    (
        "ownerReferences",
        Keep::Fields(&[
            ("apiVersion", Keep::Scalar),
            ("kind", Keep::Scalar),
            ("uid", Keep::Scalar),
            ("controller", Keep::Scalar),
        ]),
    ),
]);

const CONTAINERS: Keep = Keep::Fields(&[(
    "ports",
    Keep::Fields(&[
        ("name", Keep::Scalar),
        ("containerPort", Keep::Scalar),
        ("protocol", Keep::Scalar),
    ]),
)]);

/// A pod's JSON.
#[derive(Debug, Clone)]
pub(crate) struct PodShape;
impl Shape for PodShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        ("spec", Keep::Fields(&[("containers", CONTAINERS)])),
        (
            "status",
            Keep::Fields(&[
                ("phase", Keep::Scalar),
                ("podIP", Keep::Scalar),
                (
                    "conditions",
                    Keep::Fields(&[("type", Keep::Scalar), ("status", Keep::Scalar)]),
                ),
            ]),
        ),
    ]);
}

/// A Service's JSON.
#[derive(Debug, Clone)]
pub(crate) struct ServiceShape;
impl Shape for ServiceShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        ("spec", Keep::Fields(&[("selector", Keep::Prefixed(""))])),
    ]);
}

/// An InferencePool's JSON.
#[derive(Debug, Clone)]
pub(crate) struct PoolShape;
impl Shape for PoolShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Fields(&[(
                "selector",
                Keep::Fields(&[("matchLabels", Keep::Prefixed(""))]),
            )]),
        ),
    ]);
}

/// The JSON of an owner of pods, whatever its kind: its numbers lie in maps.
#[derive(Debug, Clone)]
pub(crate) struct OwnerShape;
impl Shape for OwnerShape {
    const KEEP: Keep = Keep::Fields(&[
        ("metadata", METADATA),
        ("spec", Keep::Maps(6)),
        ("status", Keep::Maps(3)),
    ]);
}

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
        /// TCP ports with a name, in order.
        ports: Vec<(String, u16)>,
        address: Option<IpAddr>,
        ready: bool,
        /// Its containers ended for good; it may keep its address and stay for days.
        ended: bool,
    },
    Service {
        selector: BTreeMap<String, String>,
    },
    /// An InferencePool.
    Pool {
        selector: BTreeMap<String, String>,
    },
    Owner {
        replicas: Option<u32>,
        /// The labels of its pod template, where it has one in the usual place.
        template: BTreeMap<String, String>,
    },
}

/// An object that has no identity, and so cannot even be reported by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object without {0} was skipped")]
pub(crate) struct Nameless(pub(crate) &'static str);

impl Object {
    pub(crate) fn pod(value: &Value) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let containers = list(value, "/spec/containers").iter();
        let ports = containers
            .flat_map(|container| list(container, "/ports"))
            .filter(|port| {
                matches!(
                    port.get("protocol").and_then(Value::as_str),
                    None | Some("TCP")
                )
            })
            .filter_map(|port| {
                let number = port.get("containerPort")?.as_u64()?;
                let number = u16::try_from(number).ok().filter(|n| *n != 0)?;
                Some((port.get("name")?.as_str()?.to_owned(), number))
            })
            .collect();
        let address = read.parsed(value, "/status/podIP", "an IP address", |text| {
            text.parse().ok()
        });
        let ready = list(value, "/status/conditions").iter().any(|condition| {
            let is = |field: &str, wanted: &str| {
                condition.get(field).and_then(Value::as_str) == Some(wanted)
            };
            is("type", "Ready") && is("status", "True")
        });
        let ended = matches!(text(value, "/status/phase"), Some("Failed" | "Succeeded"));
        Ok(read.done(
            meta,
            Body::Pod {
                ports,
                address,
                ready,
                ended,
            },
        ))
    }

    pub(crate) fn service(value: &Value) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let selector = read.texts(value, "/spec/selector");
        Ok(read.done(meta, Body::Service { selector }))
    }

    pub(crate) fn pool(value: &Value) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let selector = read.texts(value, "/spec/selector/matchLabels");
        Ok(read.done(meta, Body::Pool { selector }))
    }

    pub(crate) fn owner(value: &Value, kind: &Kind) -> Result<Self, Nameless> {
        let mut read = Reader(Vec::new());
        let meta = read.metadata(value)?;
        let replicas = kind
            .replicas
            .as_deref()
            .and_then(|pointer| read.replicas(value, pointer));
        let template = read.texts(value, "/spec/template/metadata/labels");
        Ok(read.done(meta, Body::Owner { replicas, template }))
    }
}

/// The resource version of an object; empty where it has none.
pub(crate) fn resource_version(value: &Value) -> &str {
    text(value, "/metadata/resourceVersion").unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
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
            created: self.parsed(value, "/metadata/creationTimestamp", "a time", |text| {
                text.parse::<Timestamp>().ok().map(Timestamp::as_second)
            }),
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
    /// Whether it is a pod whose containers ended for good.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.body, Body::Pod { ended: true, .. })
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
