//! The label rules of the design, each as a table under its number and words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carriers;
mod max_tokens;
mod merging;
mod table;
mod upstreams;
mod weights;
#[path = "../world/mod.rs"]
mod world;
