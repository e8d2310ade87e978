//! Plans → objects → steps, against an API server that stores what is written.

mod fixtures;
mod objects;
mod steps;
mod targets;
