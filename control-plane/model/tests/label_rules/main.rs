//! The label rules, each as a table under its number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carriers;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod max_tokens;
mod merging;
mod served_names;
mod table;
mod upstreams;
mod weights;
