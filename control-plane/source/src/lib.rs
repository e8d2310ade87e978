//! Where the control plane's objects come from: a directory of manifests ([`files`]), or a Kubernetes API server
//! ([`kubernetes`]).
//!
//! ```text
//! files | kubernetes ──▶ reducer (plain maps) ──▶ Observed (watch channel) ──▶ registry, plan
//! ```
//!
//! Invariant: what is published is whole and was accepted; a bad object is reported and never stalls or removes
//! another. This crate knows kube and the file system; it decides nothing about traffic.

pub mod access;
pub mod change;
mod clock;
mod conditions;
mod declared;
pub mod files;
pub mod join;
pub mod kubernetes;
pub mod models;
pub mod policies;
pub mod reference;
pub mod writes;
