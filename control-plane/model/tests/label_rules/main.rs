//! The label rules, each as a table under its number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carriers;
mod max_tokens;
mod merging;
mod table;
mod upstreams;
mod weights;
#[path = "../world/mod.rs"]
mod world;
