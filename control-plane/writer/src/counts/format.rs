//! JSON format of the published counts of a replica.
//!
//! Invariant: `parse(render(c)) == c`. During a rolling upgrade, replicas of different versions read each other's counts: unknown
//! fields, and rows about unknown kinds of objects, are skipped; policies of unknown kinds are kept by the name of the kind. Anything
//! else that cannot be parsed is an error.

use std::collections::BTreeMap;

use headgate_contract::{ChargeAt, ModelId, PolicyKind, Version};
use headgate_model::{
    CarrierKey, PolicyId, PolicyRevision, ProxyGroup, Refusal, ReplicaCounts, Subject, WeightsHeld,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Published counts that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("the counts of another replica cannot be parsed: {0}")]
pub struct FormatError(#[from] serde_json::Error);

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    proxies: Vec<Proxies>,
    policies: Vec<Policy>,
    /// Proxies by namespace, model and revision of the weights.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    models: BTreeMap<String, BTreeMap<ModelId, BTreeMap<String, u32>>>,
    #[serde(default)]
    refused: Vec<RefusedRow>,
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
    /// The buckets that they charge.
    charge: Vec<ChargeAt>,
    /// Whether they verify tokens.
    #[serde(default)]
    authenticates: bool,
    connected: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Policy {
    kind: PolicyKind,
    namespace: String,
    name: String,
    revisions: Vec<RevisionRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RevisionRow {
    uid: String,
    generation: i64,
    proxies: u32,
}

/// A rejected resource. A newer replica may know further types of objects.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum RefusedRow {
    Known(Refused),
    Unknown { object: BTreeMap<String, Value> },
}

impl RefusedRow {
    /// The refusal; `None` if its object is of an unknown kind.
    fn known(self) -> Option<Refusal> {
        let Self::Known(refused) = self else {
            return None;
        };
        Some(Refusal {
            object: refused.object.into(),
            message: refused.message,
        })
    }
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

/// The counts as JSON.
///
/// # Errors
/// The counts cannot be serialized, which would be a bug.
pub fn render(counts: &ReplicaCounts) -> Result<String, FormatError> {
    let row = |(revision, proxies): (&PolicyRevision, &u32)| RevisionRow {
        uid: revision.uid.clone(),
        generation: revision.generation,
        proxies: *proxies,
    };
    let document = Document {
        proxies: counts
            .proxies
            .iter()
            .map(|(group, connected)| Proxies {
                namespaces: group.namespaces.iter().cloned().collect(),
                charge: group.charges_at.iter().copied().collect(),
                authenticates: group.authenticates,
                connected: *connected,
            })
            .collect(),
        policies: counts
            .held
            .iter()
            .map(|(id, revisions)| Policy {
                kind: id.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                revisions: revisions.iter().map(row).collect(),
            })
            .collect(),
        models: by_namespace(&counts.models),
        refused: counts
            .refused
            .iter()
            .map(|refusal| {
                RefusedRow::Known(Refused {
                    object: (&refusal.object).into(),
                    message: refusal.message.clone(),
                })
            })
            .collect(),
        unreachable: counts
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

/// Parses published counts.
///
/// # Errors
/// [`FormatError`]: the text is not a document of counts.
pub fn parse(text: &str) -> Result<ReplicaCounts, FormatError> {
    let document: Document = serde_json::from_str(text)?;
    let revision = |row: RevisionRow| {
        let revision = PolicyRevision {
            uid: row.uid,
            generation: row.generation,
        };
        (revision, row.proxies)
    };
    Ok(ReplicaCounts {
        proxies: document
            .proxies
            .into_iter()
            .map(|row| {
                let group = ProxyGroup {
                    namespaces: row.namespaces.into_iter().collect(),
                    charges_at: row.charge.into_iter().collect(),
                    authenticates: row.authenticates,
                };
                (group, row.connected)
            })
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
                (id, policy.revisions.into_iter().map(revision).collect())
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
            .filter_map(RefusedRow::known)
            .collect(),
        unreachable: document
            .unreachable
            .into_iter()
            .map(|v| (v.namespace, v.model, v.version))
            .collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_unknown_kinds_are_kept_and_rows_about_unknown_objects_are_skipped() {
        let text = r#"{
            "proxies": [{"namespaces": ["default"], "charge": ["decide"], "connected": 3}],
            "policies": [
                {"kind": "TokenBucketPolicy", "namespace": "default", "name": "p", "revisions": [{"uid": "u", "generation": 2, "proxies": 3}]},
                {"kind": "FleetPolicy", "namespace": "default", "name": "f", "revisions": [{"uid": "u", "generation": 1, "proxies": 3}]}
            ],
            "models": {"default": {"m": {"r": 3}}},
            "refused": [
                {"object": {"policy": {"kind": "FleetPolicy", "namespace": "default", "name": "f"}}, "message": "unknown policy"},
                {"object": {"gateway": {"namespace": "default", "name": "g"}}, "message": "unknown object"},
                {"object": {"model": {"namespace": "default", "id": "m"}}, "message": "known"}
            ],
            "added": {"by": "a newer version"}
        }"#;
        let counts = parse(text).unwrap();
        assert_eq!(counts.proxies.values().sum::<u32>(), 3);
        let policies: Vec<&str> = counts.held.keys().map(|id| id.name.as_str()).collect();
        assert_eq!(policies, ["f", "p"]);
        assert_eq!(counts.models.len(), 1);
        let refused: Vec<&str> = counts.refused.iter().map(|r| r.message.as_str()).collect();
        assert_eq!(refused.len(), 2);
        assert!(!refused.contains(&"unknown object"), "{refused:?}");
        assert_eq!(parse(&render(&counts).unwrap()).unwrap(), counts);
    }

    #[test]
    fn a_malformed_row_of_a_known_kind_is_an_error() {
        let text = r#"{"proxies": [], "policies": [{"kind": "TokenBucketPolicy", "namespace": "default"}]}"#;
        assert!(parse(text).is_err());
        assert!(parse("").is_err());
    }
}
