//! A tally as a replica publishes it, for the others to read: JSON.
//!
//! Invariant: `parse(render(t)) == t`. What a newer version adds is no error; what cannot be read is one.

use std::collections::BTreeMap;

use headgate_contract::{ModelId, PolicyKind, Version};
use headgate_model::{
    CarrierKey, PolicyId, PolicyRevision, Refusal, ReplicaCounts, Subject, WeightsHeld,
};
use serde::{Deserialize, Serialize};

/// Why a published tally cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the counts of another replica cannot be read: {0}")]
pub struct FormatError(#[from] serde_json::Error);

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    proxies: Vec<Proxies>,
    policies: Vec<Policy>,
    /// By namespace, model and revision. Older releases do not write it: the weights of their proxies are unknown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    models: BTreeMap<String, BTreeMap<ModelId, BTreeMap<String, u32>>>,
    #[serde(default)]
    refused: Vec<Refused>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreachable: Vec<Variant>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Variant {
    namespace: String,
    model: ModelId,
    version: Version,
}

#[derive(Debug, Serialize, Deserialize)]
struct Proxies {
    namespaces: Vec<String>,
    connected: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Policy {
    kind: PolicyKind,
    namespace: String,
    name: String,
    held: Vec<Held>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    /// Missing in what an older release wrote, which then holds no object that is known.
    #[serde(default)]
    uid: String,
    generation: i64,
    proxies: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    object: Object,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Object {
    Policy {
        kind: PolicyKind,
        namespace: String,
        name: String,
    },
    Carrier {
        kind: String,
        namespace: String,
        name: String,
    },
    Model {
        namespace: String,
        id: ModelId,
    },
    ControlPlane {},
}

impl From<&Subject> for Object {
    fn from(subject: &Subject) -> Self {
        match subject.clone() {
            Subject::Policy(PolicyId {
                kind,
                namespace,
                name,
            }) => Self::Policy {
                kind,
                namespace,
                name,
            },
            Subject::Carrier(CarrierKey {
                namespace,
                kind,
                name,
            }) => Self::Carrier {
                kind,
                namespace,
                name,
            },
            Subject::Model { namespace, id } => Self::Model { namespace, id },
            Subject::ControlPlane => Self::ControlPlane {},
        }
    }
}

impl From<Object> for Subject {
    fn from(object: Object) -> Self {
        match object {
            Object::Policy {
                kind,
                namespace,
                name,
            } => Self::Policy(PolicyId {
                kind,
                namespace,
                name,
            }),
            Object::Carrier {
                kind,
                namespace,
                name,
            } => Self::Carrier(CarrierKey {
                namespace,
                kind,
                name,
            }),
            Object::Model { namespace, id } => Self::Model { namespace, id },
            Object::ControlPlane {} => Self::ControlPlane,
        }
    }
}

fn by_namespace(held: &WeightsHeld) -> BTreeMap<String, BTreeMap<ModelId, BTreeMap<String, u32>>> {
    let mut all: BTreeMap<String, BTreeMap<ModelId, BTreeMap<String, u32>>> = BTreeMap::new();
    for ((namespace, id), revisions) in held {
        let models = all.entry(namespace.clone()).or_default();
        models.insert(id.clone(), revisions.clone());
    }
    all
}

/// The tally as text.
///
/// # Errors
/// Only if it has no form in JSON, which would be a bug.
pub fn render(tally: &ReplicaCounts) -> Result<String, FormatError> {
    let held = |(revision, proxies): (&PolicyRevision, &u32)| Held {
        uid: revision.uid.clone(),
        generation: revision.generation,
        proxies: *proxies,
    };
    let document = Document {
        proxies: tally
            .proxies
            .iter()
            .map(|(namespaces, connected)| Proxies {
                namespaces: namespaces.iter().cloned().collect(),
                connected: *connected,
            })
            .collect(),
        policies: tally
            .held
            .iter()
            .map(|(id, revisions)| Policy {
                kind: id.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                held: revisions.iter().map(held).collect(),
            })
            .collect(),
        models: by_namespace(&tally.models),
        refused: tally
            .refused
            .iter()
            .map(|refusal| Refused {
                object: (&refusal.object).into(),
                message: refusal.message.clone(),
            })
            .collect(),
        unreachable: tally
            .unreachable
            .iter()
            .map(|(namespace, model, version)| Variant {
                namespace: namespace.clone(),
                model: model.clone(),
                version: version.clone(),
            })
            .collect(),
    };
    Ok(serde_json::to_string(&document)?)
}

/// The tally of a text.
///
/// # Errors
/// [`FormatError`]: it is not one.
pub fn parse(text: &str) -> Result<ReplicaCounts, FormatError> {
    let document: Document = serde_json::from_str(text)?;
    let revision = |held: Held| {
        let revision = PolicyRevision {
            uid: held.uid,
            generation: held.generation,
        };
        (revision, held.proxies)
    };
    Ok(ReplicaCounts {
        proxies: document
            .proxies
            .into_iter()
            .map(|group| (group.namespaces.into_iter().collect(), group.connected))
            .collect(),
        held: document
            .policies
            .into_iter()
            .map(|policy| {
                let id = PolicyId {
                    kind: policy.kind,
                    namespace: policy.namespace,
                    name: policy.name,
                };
                (id, policy.held.into_iter().map(revision).collect())
            })
            .collect(),
        models: document
            .models
            .into_iter()
            .flat_map(|(namespace, models)| {
                let key = move |id| (namespace.clone(), id);
                models.into_iter().map(move |(id, held)| (key(id), held))
            })
            .collect(),
        refused: document
            .refused
            .into_iter()
            .map(|refused| Refusal {
                object: refused.object.into(),
                message: refused.message,
            })
            .collect(),
        unreachable: document
            .unreachable
            .into_iter()
            .map(|v| (v.namespace, v.model, v.version))
            .collect(),
    })
}
