//! A mesh with Headgate in it, installed as a user does it: by `kubectl apply -k` of the shipped overlay.
//!
//! | part | how |
//! |---|---|
//! | API server, controllers, istiod, sidecars, gateway | the real programs, on loopback |
//! | the control plane | the shipped Deployment, whose pods run as processes behind their own sidecars |
//! | model servers | the mock model of the test kit, behind sidecars |
//! | clients | pods of which only the sidecar runs; requests go to its outbound address |
//!
//! [`sequence`] checks the [`claims`] one after the other on one testbed. The demo prints the results, and a test runs the sequence.

pub mod claims;
mod collector;
mod error;
mod kustomization;
mod manifests;
pub mod sequence;
mod testbed;
mod traffic;

pub use error::MeshTestbedError;
pub use testbed::{
    CLIENT, CLIENTS, GATEWAYS, HEADGATE, HOST, MODELS, MeshTestbed, Options, PLAIN_CLIENT, SYSTEM,
};
pub use traffic::{Served, Traffic};
