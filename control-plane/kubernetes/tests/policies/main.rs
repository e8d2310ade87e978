//! Policies on a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod generate;
mod kubectl;
mod labels;
mod served;
mod world;
