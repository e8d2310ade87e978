//! `headgate serve` as a process, with scripted proxies at its xDS port: what replicas, scripts, scrapers and
//! supervisors rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asked;
mod common;
mod connecting;
mod dry_look;
mod ending;
mod events;
mod exposition;
mod follower;
mod following;
mod installations;
mod kubernetes;
mod kubernetes_replicas;
mod logs;
mod manifests;
mod manners;
mod metrics;
mod outages;
mod pace;
mod policies;
mod replicas;
mod rights;
mod served_models;
mod stages;
mod status_names;
mod unread;
mod waits;
mod wedged;
mod writing;
mod written;
