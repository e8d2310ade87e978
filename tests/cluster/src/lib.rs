//! The product on a real Kubernetes API: `headgate serve --kube`, real Envoys, and whatever runs in the pods.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | a cluster, a control plane over it, Envoys, and a mock model server in each pod |
//! | [`plane`] | the control plane alone, as a process |
//! | [`edge`] | an Envoy of that control plane |
//! | [`machine`] | the mock model servers, of which some can be kept from starting |
//! | [`sessions`] | load from sticky sessions |
//! | [`fleet`] | many models of many pods, and pods that come and go |
//! | [`labels`] | from `kubectl label` to the last Envoy's ACK |
//! | [`start`] | what a proxy gets of a control plane that starts late |
//!
//! Place in the flow: outside of it. The tests of this crate and the bench stand on it: they differ in size alone.
//! Invariant: the product is known by its command line, its ports and its traffic; the cluster by `kubectl` and the API.

pub mod edge;
mod error;
pub mod fleet;
pub mod labels;
pub mod machine;
pub mod plane;
pub mod sessions;
pub mod start;
pub mod world;

pub use self::error::ClusterError;
