//! The kinds that are watched for carriers.

use crate::health::KeepsBack;

/// What a watch watches. Kinds go by their place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    /// Pods.
    Pods,
    /// Services.
    Services,
    /// InferencePools of the group `inference.networking.k8s.io`.
    Pools,
    /// Those of `inference.networking.x-k8s.io`, which came before.
    ExperimentalPools,
    /// The owner kind at this place in the configuration.
    Owners(usize),
}

impl WatchedKind {
    /// Whether it is an InferencePool, of either group.
    pub fn is_pool(self) -> bool {
        matches!(self, Self::Pools | Self::ExperimentalPools)
    }

    /// What is not served before this is read.
    pub fn keeps_back(self) -> KeepsBack {
        match self {
            Self::Pods | Self::Services => KeepsBack::Everything,
            Self::Pools | Self::ExperimentalPools => KeepsBack::Nothing,
            Self::Owners(_) => KeepsBack::OwnedPods,
        }
    }

    /// Whether the rest can be served while this is not read.
    pub fn is_optional(self) -> bool {
        self.keeps_back() != KeepsBack::Everything
    }
}
