//! Behaviour under faults and under changes with load: live updates, kills, refusals, stream endings, races.
//!
//! One program, so that it is linked once. Each test has its own testbed and waits for conditions; no test relies on a fixed sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod browsers;
mod buffered_requests;
mod common;
mod contention;
mod control_plane;
mod custom_snapshots;
mod draining;
mod embeddings;
mod follow_role;
mod hops;
mod live_updates;
mod missing_resources;
mod namespaces;
mod occupied_port;
mod raw_http;
mod request_claims;
mod reservations;
mod split_filters;
mod stat_labels;
mod stream_endings;
mod tenants;
mod trap;
mod two_envoys;
mod unreachable;
mod upstreams;
