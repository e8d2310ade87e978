//! Objects of an API server → carriers, without an API server.

mod groups;
mod orders;
mod rules;
mod serving;
mod world;
