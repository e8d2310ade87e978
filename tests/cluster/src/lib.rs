//! The product on a real Kubernetes API: `headgate serve --kube`, real Envoys, and pods with or without servers.
//!
//! | module | what it is |
//! |---|---|
//! | [`test_cluster`] | a cluster, a control plane on it, Envoys, and a mock model server in each pod |
//! | [`control_plane`] | the control plane alone, as a process |
//! | [`envoy`] | an Envoy of that control plane |
//! | [`model_servers`] | the mock model servers; a test can hold some of them back |
//! | [`sessions`] | load from sticky sessions |
//! | [`fleet`] | many models with many pods, and pods that are replaced continuously |
//! | [`label_latency`] | measurement: from `kubectl label` to the last Envoy's ACK |
//! | [`late_start`] | measurement: the first snapshot of a control plane that starts without an API |
//!
//! Place in the flow: outside of it. The tests of this crate and the bench use it with different sizes. Invariant: it uses only the
//! product's command line, ports and traffic, and `kubectl` and the API of the cluster.

pub mod control_plane;
pub mod envoy;
mod error;
pub mod fleet;
pub mod label_latency;
pub mod late_start;
pub mod model_servers;
pub mod sessions;
pub mod test_cluster;

pub use self::error::ClusterError;
