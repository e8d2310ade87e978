//! `headgate serve` as a process, with scripted proxies at its xDS port, as replicas, scripts, scrapers and
//! supervisors use it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin_access;
mod admin_tls;
mod canary_readiness;
mod cluster;
mod common;
mod connection;
mod events;
mod exposition;
mod file_faults;
mod follower;
mod identity;
mod installations;
mod kubernetes;
mod kubernetes_replicas;
mod logs;
mod manifests;
mod metrics;
mod outages;
mod policies;
mod replicas;
mod rights;
mod secrets;
mod served_models;
mod shutdown;
mod stages;
mod status_and_wait;
mod status_names;
mod status_of_replicas;
mod status_watch;
mod translate_kube;
mod unreadable_kinds;
mod write_rate;
mod writes;
