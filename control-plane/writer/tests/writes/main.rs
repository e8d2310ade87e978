//! Decisions of the writer: counts, election and the queue of Events, without an API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counts;
mod election;
mod event_queue;
