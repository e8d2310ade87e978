//! Claims about Headgate in a mesh, as functions: each drives a testbed and returns the measured figures.

pub mod bodies;
pub mod budget;
pub mod canary;
pub mod gateway;
pub mod inbound;
pub mod install;
pub mod metrics;
pub mod others;
pub mod outages;
pub mod plugin;
pub mod sidecars;
pub mod spans;
pub mod tags;
