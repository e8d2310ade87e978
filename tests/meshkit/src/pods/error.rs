//! The reason why a container cannot run, as its status reports it.

/// A container that cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub(super) struct Unable {
    /// In `CamelCase`, as the kubelet's.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Unable {
    /// An invalid or unsupported container, or one that refers to something that does not exist.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self {
            reason: "CreateContainerConfigError",
            message: message.into(),
        }
    }

    /// A failure of this machine.
    pub(super) fn machine(message: impl std::fmt::Display) -> Self {
        Self {
            reason: "RunContainerError",
            message: message.to_string(),
        }
    }
}
