//! Objects of an API server → carriers, without an API server.

mod active_generations;
mod carriers;
mod copies;
mod event_orders;
mod external;
mod generations;
mod groups;
mod ignored;
mod mesh;
mod operators;
mod references;

mod desired_replicas;
mod fixtures;
mod roles;
mod rules;
mod serving;
mod sidecars;
