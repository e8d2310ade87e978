//! Tokens of clients on the listener: an AuthenticationPolicy on a real Envoy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod edits;
mod identity_providers;
mod keys;
mod namespaces;
mod tokens;
