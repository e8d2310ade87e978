//! The shipped modules against a real Envoy: what the tests of this package share.
//!
//! Place in the flow: outside of it. The modules are those in `dist/` (`HEADGATE_WASM` names another directory);
//! they are loaded one at a time, with no control plane, on a bootstrap written here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bootstrap;
pub mod config;
pub mod module;
pub mod testbed;
