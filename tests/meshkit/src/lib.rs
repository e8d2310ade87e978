//! Launchers of what surrounds Headgate in a mesh: identities, sidecars, and pods that run as processes.
//!
//! Place in the flow: outside of it, like `headgate-testkit`, on which it builds. Nothing that ships depends on this crate, and it
//! depends on no crate that ships.
//!
//! | to get | use | module |
//! |---|---|---|
//! | a real SPIRE: identities for programs, federated trust domains | `Spire::start` | [`spire`] |
//! | a real Istio mesh: istiod, sidecars and gateways with their own certificates | `Mesh::start` | [`istio`] |
//! | a real OCI registry | `Registry::start` | [`registry`] |
//! | a kubelet that runs the containers of pods as processes | `ProcessRunner::start` | [`pods`] |

pub mod command;
pub mod istio;
pub mod pods;
pub mod registry;
pub mod spire;
