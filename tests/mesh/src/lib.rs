//! A mesh with Headgate in it, installed as a user does it: by `kubectl apply -k` of the shipped overlay.
//!
//! | part | how |
//! |---|---|
//! | API server, controllers, istiod, sidecars, gateway | the real programs, on loopback |
//! | the control plane | the shipped Deployment, whose pods run as processes behind their own sidecars |
//! | model servers | the mock model of the test kit, behind sidecars |
//! | clients | pods of which only the sidecar runs; requests go to its outbound address |

mod manifests;
mod stand;

pub use stand::{CLIENTS, GATEWAYS, HOST, MODELS, MeshStand, Options, StandError};
