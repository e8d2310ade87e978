//! What must hold when things go wrong or change under load: swaps, kills, refusals, endings, races.
//!
//! One program for all of it, so that it is linked once. Each test has a world of its own and awaits events; nothing here
//! sleeps and hopes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;
mod bad_input;
mod browsers;
mod common;
mod contention;
mod control_plane;
mod draining;
mod embeddings;
mod endings;
mod follow;
mod hand_made;
mod held;
mod hops;
mod labels;
mod names;
mod namespaces;
mod reservations;
mod swaps;
mod trap;
mod two_envoys;
mod two_filters;
mod unreachable;
mod upstreams;
mod wire;
