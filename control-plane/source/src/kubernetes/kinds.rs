//! Which kinds may own pods: configuration, not code.
//!
//! Invariant: a carrier's kind in lower case names one kind only, because a carrier is known by it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kube::core::ApiResource;

/// A kind of objects that own pods, and may carry the labels for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// As in the API's paths: `deployments`.
    pub plural: String,
    /// As in manifests: `Deployment`.
    pub kind: String,
    /// JSON pointer to the replicas wanted: `/spec/replicas`. Without one the objects are read as metadata only, and want
    /// what the objects they own want.
    pub replicas: Option<String>,
}

/// The kinds that are watched where nothing else is configured, as [`Kind::from_str`] reads them.
const DEFAULTS: [&str; 10] = [
    "apps/v1/deployments/Deployment=/spec/replicas",
    "apps/v1/replicasets/ReplicaSet=/spec/replicas",
    "apps/v1/statefulsets/StatefulSet=/spec/replicas",
    "apps/v1/daemonsets/DaemonSet=/status/desiredNumberScheduled",
    "leaderworkerset.x-k8s.io/v1/leaderworkersets/LeaderWorkerSet=/spec/replicas",
    "argoproj.io/v1alpha1/rollouts/Rollout=/spec/replicas",
    "serving.kserve.io/v1beta1/inferenceservices/InferenceService",
    "serving.kserve.io/v1alpha1/llminferenceservices/LLMInferenceService",
    "ray.io/v1/rayservices/RayService",
    "ray.io/v1/rayclusters/RayCluster",
];

/// Why a kind, or a list of them, cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It cannot be read.
    #[error(
        "{0:?} is no kind: write GROUP/VERSION/PLURAL/KIND[=POINTER], as in apps/v1/deployments/Deployment=/spec/replicas"
    )]
    Malformed(String),
    /// Two kinds would be told apart by nothing.
    #[error(
        "kind {0} is given twice, or is Headgate's own: a carrier is known by its kind, so there can be one of the name"
    )]
    Twice(String),
}

impl Kind {
    /// Deployments, ReplicaSets, StatefulSets, DaemonSets, LeaderWorkerSets, Argo Rollouts, KServe and Ray.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        DEFAULTS
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect()
    }

    /// The usual kinds and these; one of a usual name takes its place.
    #[must_use]
    pub fn defaults_and(own: &[Self]) -> Vec<Self> {
        let replaced = |usual: &Self| own.iter().any(|kind| kind.lower() == usual.lower());
        let usual = Self::defaults().into_iter();
        let usual = usual.filter(|usual| !replaced(usual));
        usual.chain(own.iter().cloned()).collect()
    }

    /// Checks that a carrier's kind names one of them.
    ///
    /// # Errors
    /// [`KindError::Twice`] with the first kind that another one hides.
    pub fn distinct(kinds: &[Self]) -> Result<(), KindError> {
        let mut seen: BTreeSet<String> = ["pod", "service", "inferencepool"]
            .map(str::to_owned)
            .into();
        match kinds.iter().find(|kind| !seen.insert(kind.lower())) {
            Some(kind) => Err(KindError::Twice(kind.kind.clone())),
            None => Ok(()),
        }
    }

    /// How a carrier's key and messages spell it: `deployment`.
    pub(crate) fn lower(&self) -> String {
        self.kind.to_ascii_lowercase()
    }

    /// Whether an owner reference means it; its version says nothing.
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub(crate) fn resource(&self) -> ApiResource {
        let api_version = if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version,
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        let malformed = || KindError::Malformed(text.to_owned());
        let (path, replicas) = match text.split_once('=') {
            Some((path, pointer)) if pointer.starts_with('/') => (path, Some(pointer.to_owned())),
            Some(_) => return Err(malformed()),
            None => (text, None),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let [group, version, plural, kind] = parts[..] else {
            return Err(malformed());
        };
        let name = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c))
        };
        if !(group.is_empty() || name(group)) || ![version, plural, kind].into_iter().all(name) {
            return Err(malformed());
        }
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            replicas,
        })
    }
}

/// As [`Kind::from_str`] reads it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            version,
            plural,
            kind,
            ..
        } = self;
        write!(f, "{group}/{version}/{plural}/{kind}")?;
        match &self.replicas {
            Some(pointer) => write!(f, "={pointer}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_default_kind_is_read_and_written_as_it_is() {
        let kinds = Kind::defaults();
        let written: Vec<String> = kinds.iter().map(Kind::to_string).collect();
        assert_eq!(written, DEFAULTS);
        assert_eq!(Kind::distinct(&kinds), Ok(()));
        assert_eq!(kinds[0].resource().api_version, "apps/v1");
    }

    #[test]
    fn a_kind_that_cannot_be_told_from_another_is_refused() {
        let mut kinds = Kind::defaults();
        kinds.push("my.org/v1/deployments/Deployment".parse().unwrap());
        assert_eq!(
            Kind::distinct(&kinds),
            Err(KindError::Twice("Deployment".into()))
        );
        let service: Kind = "serving.knative.dev/v1/services/Service".parse().unwrap();
        assert!(Kind::distinct(&[service]).is_err());
    }

    #[test]
    fn what_is_no_kind_is_refused_with_an_example() {
        for text in [
            "",
            "Deployment",
            "apps/v1/Deployment",
            "a/b/c/d=spec.replicas",
            "a/b//d",
            "a/b/c/d/e",
            "a/b/c d/e",
        ] {
            let error = text.parse::<Kind>().unwrap_err().to_string();
            assert!(error.contains("apps/v1/deployments"), "{error}");
        }
    }
}
