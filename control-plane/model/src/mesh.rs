//! The facts about a carrier that a service mesh needs: how its pods are selected, and by which Services clients reach them.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// The pods and Services of a carrier as a service mesh sees them. Empty for carriers from files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CarrierMesh {
    /// The labels by which the carrier selects its pods: `spec.selector.matchLabels` of a workload, the selector of a Service. Empty if
    /// the source does not know them.
    pub selector: Labels,
    /// The different labels of its pods that serve, without those that name one pod; the labels of its template while there is no pod.
    pub pods: BTreeSet<Labels>,
    /// Whether all its pods have the model label.
    pub labels_model: bool,
    /// The Services that select any of its pods, sorted by name.
    pub services: Vec<MeshService>,
}

/// A Service in front of a carrier's pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeshService {
    /// Its name; its namespace is the carrier's.
    pub name: String,
    /// The ports that lead to the port on which the pods serve, by number.
    pub ports: Vec<MeshPort>,
    /// Whether it is headless: it has no address of its own, so a proxy does not choose the pod.
    pub headless: bool,
    /// Whether it selects every pod of the carrier.
    pub selects_all: bool,
}

/// A port of a Service that leads to the pods' serving port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeshPort {
    /// The number of the Service's port.
    pub number: u16,
    /// The serving port of the pods.
    pub target: u16,
    /// Whether a mesh reads HTTP there: the port is not declared as another protocol.
    pub http: bool,
}
