//! Objects of an API server → carriers, without an API server.

mod carriers;
mod copies;
mod external;
mod generations;
mod groups;
mod ignored;
mod mentions;
mod operators;
mod orders;

mod desired_replicas;
mod roles;
mod rules;
mod serving;
mod sidecars;
mod world;
