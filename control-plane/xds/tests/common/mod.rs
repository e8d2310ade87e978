//! A client that behaves like Envoy 1.40, without a socket, and a harness that runs it against a session.
//!
//! Like Envoy: a cluster is warm once its endpoints came after it, and the client answers cluster responses only when no
//! cluster warms; it applies the valid clusters and listeners of a response that it rejects, while it stops at the first bad one
//! of endpoints, routes and filter configurations; it subscribes to endpoints for each cluster. It records every violation of
//! an invariant in [`Client::violations`].

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod harness;

use std::sync::Arc;

use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Resource, ResourceKey, Snapshot};

pub use client::Client;
pub use harness::Harness;

pub const BOTH: [Protocol; 2] = [Protocol::StateOfTheWorld, Protocol::Delta];

/// A resource with the body that the client reads: `text|good or bad|cluster,cluster`.
pub fn resource(kind: Kind, name: &str, text: &str, clusters: &[&str]) -> Resource {
    let bad = if text.contains("bad") { "bad" } else { "good" };
    let body = format!("{text}|{bad}|{}", clusters.join(","));
    Resource::new(kind, name, body)
        .requiring(clusters.iter().map(|c| ResourceKey::new(Kind::Cluster, *c)))
}

pub fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources).unwrap())
}
