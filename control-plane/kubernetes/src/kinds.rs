//! Owner kinds: the kinds that may own pods. They are configuration, not code.
//!
//! Invariant: kinds are distinct in lower case, because a carrier is identified by the lower-case kind.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kube::core::ApiResource;

/// A kind of objects that own pods and may carry the labels for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Plural, as in paths of the API: `deployments`.
    pub plural: String,
    /// Kind, as in manifests: `Deployment`.
    pub kind: String,
    /// JSON pointer to the desired replicas: `/spec/replicas`. Default kinds have a default. Without a pointer, only metadata is read, and
    /// the desired replicas are those of the owned objects.
    pub replicas: Option<String>,
    /// JSON pointer to the seconds that a pod must be ready before it is available: `/spec/minReadySeconds`. Default kinds have a
    /// default. Without a pointer, a pod is available as soon as it is ready.
    pub min_ready_seconds: Option<String>,
    /// Whether discovery decides the version; until then, the given one is assumed.
    pub discovered: bool,
}

/// The default kinds, in the format of [`Kind::from_str`].
const DEFAULTS: [&str; 10] = [
    "apps/v1/deployments/Deployment=/spec/replicas,/spec/minReadySeconds",
    "apps/v1/replicasets/ReplicaSet=/spec/replicas,/spec/minReadySeconds",
    "apps/v1/statefulsets/StatefulSet=/spec/replicas,/spec/minReadySeconds",
    "apps/v1/daemonsets/DaemonSet=/status/desiredNumberScheduled,/spec/minReadySeconds",
    "leaderworkerset.x-k8s.io/v1/leaderworkersets/LeaderWorkerSet=/spec/replicas",
    "argoproj.io/v1alpha1/rollouts/Rollout=/spec/replicas,/spec/minReadySeconds",
    "serving.kserve.io/v1beta1/inferenceservices/InferenceService",
    "serving.kserve.io/v1alpha1/llminferenceservices/LLMInferenceService",
    "ray.io/v1/rayservices/RayService",
    "ray.io/v1/rayclusters/RayCluster",
];

/// An owner kind that cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// The text is not an owner kind.
    #[error(
        "{0:?} is not an owner kind: write GROUP/VERSION/PLURAL/KIND[=REPLICAS[,MIN_READY_SECONDS]] with JSON pointers, as in \
         apps/v1/deployments/Deployment=/spec/replicas,/spec/minReadySeconds"
    )]
    Malformed(String),
    /// Two kinds have the same name.
    #[error(
        "kind {0} is given twice or is built in: kinds must have distinct names, because a carrier is identified by its kind"
    )]
    Twice(String),
    /// A kind that is to be left out is not a default kind.
    #[error("{name:?} is not a default kind: the default kinds are {defaults}")]
    NotDefault {
        /// The given name.
        name: String,
        /// The default kinds.
        defaults: String,
    },
}

/// The pointers of a default kind, in any version.
fn usual_pointers(group: &str, kind: &str) -> [Option<String>; 2] {
    let of = |text: &&str| {
        let (path, pointers) = text.split_once('=')?;
        let same =
            path.split('/').next() == Some(group) && path.split('/').next_back() == Some(kind);
        pointers_of(pointers).filter(|_| same)
    };
    DEFAULTS.iter().find_map(of).unwrap_or_default()
}

/// Parses one or two pointers: to the replicas and to the seconds.
fn pointers_of(text: &str) -> Option<[Option<String>; 2]> {
    let pointer = |text: &str| text.starts_with('/').then(|| text.to_owned());
    let Some((replicas, seconds)) = text.split_once(',') else {
        return Some([Some(pointer(text)?), None]);
    };
    Some([Some(pointer(replicas)?), Some(pointer(seconds)?)])
}

/// The names of the default kinds.
fn names() -> Vec<String> {
    Kind::defaults().into_iter().map(|kind| kind.kind).collect()
}

impl Kind {
    /// Deployments, ReplicaSets, StatefulSets, DaemonSets, LeaderWorkerSets, Argo Rollouts, KServe and Ray.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        DEFAULTS
            .iter()
            .filter_map(|text| text.parse().ok())
            .map(|kind| Self {
                discovered: true,
                ..kind
            })
            .collect()
    }

    /// The name of a default kind as manifests write it, from a name in any case.
    ///
    /// # Errors
    /// [`KindError::NotDefault`], with the default kinds.
    pub fn default_kind(name: &str) -> Result<String, KindError> {
        let all = names().into_iter();
        let mut same = all.filter(|kind| kind.eq_ignore_ascii_case(name));
        same.next().ok_or_else(|| KindError::NotDefault {
            name: name.to_owned(),
            defaults: names().join(", "),
        })
    }

    /// The default kinds without those of these names, and `own`. A kind of `own` replaces the default kind of the same name.
    #[must_use]
    pub fn defaults_without_and(without: &[String], own: &[Self]) -> Vec<Self> {
        let replaced = |default: &Self| own.iter().any(|kind| kind.lower() == default.lower());
        let left_out = |default: &Self| {
            without
                .iter()
                .any(|name| default.kind.eq_ignore_ascii_case(name))
        };
        let defaults = Self::defaults().into_iter();
        let defaults = defaults.filter(|default| !replaced(default) && !left_out(default));
        defaults.chain(own.iter().cloned()).collect()
    }

    /// Checks that the kinds have distinct names.
    ///
    /// # Errors
    /// [`KindError::Twice`] with the first duplicate.
    pub fn distinct(kinds: &[Self]) -> Result<(), KindError> {
        let mut seen: BTreeSet<String> = ["pod", "service", "inferencepool"]
            .map(str::to_owned)
            .into();
        match kinds.iter().find(|kind| !seen.insert(kind.lower())) {
            Some(kind) => Err(KindError::Twice(kind.kind.clone())),
            None => Ok(()),
        }
    }

    /// The kind in lower case, as carrier keys and messages write it: `deployment`.
    pub fn lower(&self) -> String {
        self.kind.to_ascii_lowercase()
    }

    /// Whether it has this group and kind, in any version.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// The resource at the API server.
    pub fn resource(&self) -> ApiResource {
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
        let (path, [replicas, seconds]) = match text.split_once('=') {
            Some((path, pointers)) => (path, pointers_of(pointers).ok_or_else(malformed)?),
            None => (text, Default::default()),
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
        let [usual_replicas, usual_seconds] = usual_pointers(group, kind);
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            replicas: replicas.or(usual_replicas),
            min_ready_seconds: seconds.or(usual_seconds),
            discovered: false,
        })
    }
}

/// The format of [`Kind::from_str`].
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
        match (&self.replicas, &self.min_ready_seconds) {
            (Some(replicas), Some(seconds)) => write!(f, "={replicas},{seconds}"),
            (Some(replicas), None) => write!(f, "={replicas}"),
            (None, _) => Ok(()),
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
    fn two_kinds_of_one_name_are_refused() {
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
    fn default_kinds_can_be_left_out_and_a_given_version_stays() {
        let own: Kind = "ray.io/v1alpha1/rayclusters/RayCluster".parse().unwrap();
        let without = ["rayservice", "Rollout"].map(str::to_owned);
        let kinds = Kind::defaults_without_and(&without, std::slice::from_ref(&own));
        assert_eq!(kinds.len(), DEFAULTS.len() - 2);
        assert_eq!(kinds.last(), Some(&own));
        assert!(kinds.iter().all(|kind| kind.discovered == (*kind != own)));
        assert_eq!(Kind::default_kind("rayservice").unwrap(), "RayService");
        let error = Kind::default_kind("Gang").unwrap_err().to_string();
        assert!(
            error.contains("Gang") && error.contains("LeaderWorkerSet"),
            "{error}"
        );
    }

    #[test]
    fn a_usual_kind_that_is_given_by_hand_is_read_as_it_is_by_default() {
        let usual = "/spec/minReadySeconds";
        for (text, pointers) in [
            (
                "argoproj.io/v1beta1/rollouts/Rollout",
                [Some("/spec/replicas"), Some(usual)],
            ),
            (
                "argoproj.io/v1/rollouts/Rollout=/spec/size",
                [Some("/spec/size"), Some(usual)],
            ),
            (
                "argoproj.io/v1/rollouts/Rollout=/spec/size,/spec/wait",
                [Some("/spec/size"), Some("/spec/wait")],
            ),
            (
                "apps/v1/daemonsets/DaemonSet",
                [Some("/status/desiredNumberScheduled"), Some(usual)],
            ),
            (
                "leaderworkerset.x-k8s.io/v1/leaderworkersets/LeaderWorkerSet",
                [Some("/spec/replicas"), None],
            ),
            ("ray.io/v1/rayclusters/RayCluster", [None, None]),
            ("my.org/v1/rollouts/Rollout", [None, None]),
            ("my.org/v1/gangs/Gang=/spec/n", [Some("/spec/n"), None]),
            (
                "my.org/v1/gangs/Gang=/spec/n,/spec/s",
                [Some("/spec/n"), Some("/spec/s")],
            ),
        ] {
            let kind: Kind = text.parse().unwrap();
            let read = [&kind.replicas, &kind.min_ready_seconds].map(Option::as_deref);
            assert_eq!(read, pointers, "{text}");
            assert_eq!(kind.to_string().parse::<Kind>().as_ref(), Ok(&kind));
        }
    }

    #[test]
    fn a_text_that_is_not_an_owner_kind_is_refused_with_an_example() {
        for text in [
            "",
            "Deployment",
            "apps/v1/Deployment",
            "a/b/c/d=spec.replicas",
            "a/b/c/d=/spec/replicas,",
            "a/b/c/d=,/spec/minReadySeconds",
            "a/b/c/d=/spec/replicas,minReadySeconds",
            "a/b//d",
            "a/b/c/d/e",
            "a/b/c d/e",
        ] {
            let error = text.parse::<Kind>().unwrap_err().to_string();
            assert!(error.contains("apps/v1/deployments"), "{error}");
        }
    }
}
