//! Objects of an API server → carriers, without an API server.

mod active_generations;
mod carriers;
mod copies;
mod external;
mod generations;
mod groups;
mod ignored;
mod operators;
mod orders;
mod references;

mod desired_replicas;
mod roles;
mod rules;
mod serving;
mod sidecars;
mod world;
