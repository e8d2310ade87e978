//! The Kubernetes source against a real API server, with real controllers and a real `kubectl`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carriers;
mod cluster;
mod endpoints;
mod kinds;
mod labels;
mod network_faults;
mod outages;
mod owners;
mod policies;
mod recovery;
mod restored;
mod targets;
