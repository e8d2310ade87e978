//! A mesh with Headgate in it, installed as a user does it: by `kubectl apply -k` of the shipped overlay.
//!
//! | part | how |
//! |---|---|
//! | API server, controllers, istiod, sidecars, gateway | the real programs, on loopback |
//! | the control plane | the shipped Deployment, whose pods run as processes behind their own sidecars |
//! | model servers | the mock model of the test kit, behind sidecars |
//! | clients | pods of which only the sidecar runs; requests go to its outbound address |
//!
//! [`story`] checks the [`claims`] one after the other on one stand. The demo prints it, and a test runs it.

pub mod claims;
mod error;
mod kustomization;
mod manifests;
mod stand;
pub mod story;
mod traffic;

pub use error::StandError;
pub use stand::{
    CLIENT, CLIENTS, GATEWAYS, HEADGATE, HOST, MODELS, MeshStand, Options, PLAIN_CLIENT, SYSTEM,
};
pub use traffic::{Served, Traffic};
