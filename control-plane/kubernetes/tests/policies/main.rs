//! Policies on a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod api_server;
mod generate;
mod kubectl;
mod labels;
mod served;
mod tokens;
mod values;
