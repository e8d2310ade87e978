//! Real Envoys with certificates at the xDS port: rotation under load, refusals, and identities that a sidecar forwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod forwarded;
mod mutual_tls;
mod reconnect;
mod spire;
mod spire_admin;
