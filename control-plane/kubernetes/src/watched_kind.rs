//! The kinds that are watched for carriers.

use crate::blocks::Blocks;

/// A kind that is watched for carriers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    /// Pods.
    Pods,
    /// Services.
    Services,
    /// InferencePools of the group `inference.networking.k8s.io`.
    Pools,
    /// InferencePools of the earlier group `inference.networking.x-k8s.io`.
    ExperimentalPools,
    /// The owner kind at this index of the configuration.
    Owners(usize),
}

impl WatchedKind {
    /// Whether it is an InferencePool, of either group.
    pub fn is_pool(self) -> bool {
        matches!(self, Self::Pools | Self::ExperimentalPools)
    }

    /// The part of the traffic that is not served until the kind has been listed.
    pub fn blocks(self) -> Blocks {
        match self {
            Self::Pods | Self::Services => Blocks::Everything,
            Self::Pools | Self::ExperimentalPools => Blocks::Nothing,
            Self::Owners(_) => Blocks::OwnedPods,
        }
    }

    /// Whether the rest is served while the kind is not listed.
    pub fn is_optional(self) -> bool {
        self.blocks() != Blocks::Everything
    }
}
