//! The core's decisions, as tables and as whole requests against an in-memory proxy.
// proptest does not run in the wasm of a browser; `web.rs` does.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apis;
mod bad_input;
mod bodies;
mod chunking;
mod cost;
mod embeddings;
mod facts;
mod files;
mod hops;
mod keys;
mod limits;
mod mesh;
mod openinference;
mod outages;
mod overrides;
mod pick;
mod prompt;
mod proxy;
mod refusals;
mod refused;
mod requests;
mod scale;
mod schemas;
mod servers;
mod settle;
mod settlements;
mod settlements_semantic;
mod shadow;
mod statistics;
mod tag_rules;
mod tags;
mod tenants;
mod usage_requests;
mod weights;
