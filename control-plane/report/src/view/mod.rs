//! The document for people: text, tables, and what changed between two documents.

pub mod changes;
pub mod clock;
pub mod merge;
mod model;
pub mod near;
pub mod peers;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
