//! What is written to an API server, and who writes it: the decisions, without one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counts;
mod election;
mod event_queue;
