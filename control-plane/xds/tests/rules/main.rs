//! The server rules of the design, one by one, against a client that behaves like Envoy and under a clock that only the test
//! moves. (Rule 5, rule 6 and the memory bound of rule 7 are in `over_loopback.rs`; debouncing is in `debounce.rs`.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clusters;
#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod requests;
mod snapshots;
