//! Views of the status document: text, tables, changes, and the merge of several replicas.

pub mod changes;
pub mod clock;
pub mod merge;
mod model;
pub mod near;
pub mod options;
pub mod peers;
mod table;
#[cfg(test)]
mod tests;
pub mod text;
