//! Uses of a carrier's pods, and the facts that decide them.

use std::collections::{BTreeMap, BTreeSet};

use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::kinds::Kind;
use headgate_model::ports::ChosenPort;

use super::identity::Key;
use super::objects::Object;
use super::roles::{self, Role};

/// The use of a pod for its carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PodUse {
    /// It answers requests on this port.
    Serves(ChosenPort),
    /// It helps other pods that serve.
    Helper,
    /// Several of its ports may serve, and none is preferred.
    Ambiguous(AmbiguousPort),
    /// None of its ports can serve.
    Portless,
}

/// Candidate ports: any one of them may serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AmbiguousPort {
    /// The ports, for messages.
    pub(super) candidates: String,
    /// Services; an annotation may name one of them to decide it.
    pub(super) deciding_services: Vec<String>,
}

/// The pods of a carrier that serve, now or once they are ready: they have a port that serves, and are not terminating.
#[derive(Debug, Default)]
pub(super) struct ServingPods<'a> {
    pub(super) serving: BTreeSet<&'a Key>,
    pub(super) chosen: BTreeMap<&'a Key, ChosenPort>,
    /// Whether every pod belongs to a generation without traffic, according to an owner above the carrier. The desired replicas are 0 then.
    pub(super) standby: bool,
}

/// A pod of a carrier, with its role and its use.
pub(super) struct Member<'a> {
    pub(super) key: &'a Key,
    pub(super) role: Role,
    pub(super) pod_use: PodUse,
}

/// The facts that decide the use of a carrier's pods.
pub(super) struct PodClassifier<'a> {
    pub(super) at: &'a Key,
    pub(super) carrier: &'a Object,
    /// Its live pods.
    pub(super) pods: Vec<(&'a Key, &'a Object)>,
    /// The kind of the carrier, if it is an owner.
    pub(super) kind: Option<&'a Kind>,
    /// Whether its pods may differ: it has no replica count.
    pub(super) parts: bool,
    /// The best rank among its serving parts; pods of other ranks are helpers.
    pub(super) rank: Option<u8>,
}

impl PodClassifier<'_> {
    /// The role of a pod.
    pub(super) fn role(&self, object: &Object) -> Role {
        let labels = object.pod_labels();
        let carries_by_selector = self.at.0 == WatchedKind::Services;
        let role = labels
            .filter(|_| !carries_by_selector)
            .map_or(Role::Unspecified, |labels| roles::role(self.kind, labels));
        match (role, self.rank) {
            (Role::Serves(rank), Some(best)) if rank > best => Role::Helper,
            // The operator labels the pods that serve, and this one has no such label.
            (Role::Unspecified, Some(_)) if self.parts => Role::Helper,
            _ => role,
        }
    }

    /// Whether the kind of the carrier never serves on this port.
    pub(super) fn refuses(&self, chosen: &ChosenPort) -> bool {
        chosen.class.is_grpc() && roles::serves_http_only(self.kind)
    }
}
