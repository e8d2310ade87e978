//! The server rules of the design, one by one, against a client that behaves like Envoy and under a
//! clock that only the test moves. (Rule 5, the wire's half of rule 6 and rule 7's bound on memory
//! are in `over_loopback.rs`, pacing is in `pacing.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clusters;
#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod refusals;
mod worlds;
