//! Sources of objects: a directory of manifests ([`files`]), or a Kubernetes API server ([`cluster`], [`policies`], [`models`]).
//!
//! ```text
//! files | cluster, policies, models ──▶ reducer (plain maps) ──▶ Observed (watch channel) ──▶ registry, plan
//! ```
//!
//! Invariant: what is published is whole and was accepted; a bad object is reported and never stalls or removes
//! another. This crate decides nothing about traffic.

pub mod cluster;
mod declared;
pub mod files;
pub mod join;
pub mod models;
pub mod policies;
