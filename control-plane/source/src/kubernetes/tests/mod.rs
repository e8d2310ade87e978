//! Objects of an API server → carriers, without an API server.

mod orders;
mod rules;
mod world;
