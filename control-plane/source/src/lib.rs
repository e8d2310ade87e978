//! Sources of objects: a directory of manifests ([`files`]), or a Kubernetes API server ([`cluster`], [`own_kinds`]).
//!
//! ```text
//! files | cluster, own_kinds ──▶ reducer (plain maps) ──▶ Observed (watch channel) ──▶ registry, plan
//! ```
//!
//! Invariant: published objects are complete and were accepted. An invalid object is reported, and never delays or removes another
//! one. This crate decides nothing about traffic.

pub mod cluster;
mod declared;
pub mod files;
pub mod join;
pub mod own_kinds;
