//! A client that behaves like Envoy 1.40, without a socket, and a rig that runs it against a session.
//!
//! Like Envoy: clusters warm once their endpoints come after them, and cluster responses are answered
//! only when nothing warms; good clusters and listeners of a refused response are applied, while
//! endpoints, routes and filter configurations stop at the first bad one; endpoints are subscribed to
//! per cluster. It notes every breach of an invariant in [`Client::breaches`].

#![allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod rig;

use std::sync::Arc;

use headgate_xds::session::Protocol;
use headgate_xds::{Kind, Resource, ResourceKey, Snapshot};

pub use client::Client;
pub use rig::Rig;

pub const BOTH: [Protocol; 2] = [Protocol::StateOfTheWorld, Protocol::Delta];

/// A resource whose body says what the client needs to know: `text|bad?|cluster,cluster`.
pub fn resource(kind: Kind, name: &str, text: &str, clusters: &[&str]) -> Resource {
    let bad = if text.contains("bad") { "bad" } else { "good" };
    let body = format!("{text}|{bad}|{}", clusters.join(","));
    Resource::new(kind, name, body)
        .requiring(clusters.iter().map(|c| ResourceKey::new(Kind::Cluster, *c)))
}

pub fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources).unwrap())
}
